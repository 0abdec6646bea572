"""The pages and what they share: navigation, the open store, and what is said when there is nothing to show.

Runs inside Streamlit: `streamlit run dashboard.py`, or `edgeq dashboard`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from edgeq import results
from edgeq._errors import EdgeQError
from edgeq.dashboard import figures, labels, queries
from edgeq.dashboard.server import READONLY
from edgeq.dashboard.views import compare, finetune, live, overview, run, zoo
from edgeq.dashboard.views._shared import View

Stamp = tuple[int, int]
VIEWS: dict[str, tuple[str, Callable[[View], None]]] = {
    "overview": ("Overview", overview.draw),
    "compare": ("Compare", compare.draw),
    "run": ("Run", run.draw),
    "live": ("Live", live.draw),
    "finetune": ("Fine-tune", finetune.draw),
    "zoo": ("Zoo", zoo.draw),
}
WITHOUT_RUNS = ("live", "finetune", "zoo")  # pages that have something to show all the same
STARTING = ("live",)  # pages that only start something: not there when read-only
HOW_TO_FILL = (
    "Nothing was measured yet. Measure the bundled model on this machine, then reload this page:\n\n"
    "```\nedgeq deploy pokebnn-fashion --device local\n```"
)


def main() -> None:
    """Every page, with the navigation on top."""
    st.set_page_config(page_title="EdgeQ", layout="wide")
    pages = [
        st.Page(partial(show, name), title=title, url_path=name, default=name == "overview")
        for name, (title, _) in VIEWS.items()
        if not (is_readonly() and name in STARTING)
    ]
    st.navigation(pages, position="top").run()


def is_readonly() -> bool:
    """Is this server for looking only (`edgeq dashboard --read-only`)?"""
    return os.environ.get(READONLY, "") not in ("", "0")


def show(name: str) -> None:
    """One page; an error of EdgeQ becomes its one line, whatever else fails is Streamlit's to show."""
    path = results.default_path()
    title, draw = VIEWS[name]
    st.title(title)
    try:
        stamp = _stamp(path)
        if stamp is None and name not in WITHOUT_RUNS:
            st.info(HOW_TO_FILL)
        else:
            found = [] if stamp is None else _figures(path, stamp)
            draw(View(path, found, filled=stamp is not None, readonly=is_readonly()))
    except EdgeQError as error:
        st.error(labels.literal(error))
    st.caption(f"Results store: {labels.literal(path)}")


def _stamp(path: Path) -> Stamp | None:
    """Which file, and its newest run: runs are added, never changed. None for a store without runs."""
    if not path.is_file():
        return None
    with results.Store.open(path, readonly=True) as store:
        newest = queries.newest_run(store)
    return None if newest is None else (path.stat().st_ino, newest)


def _load(path: Path, stamp: Stamp) -> list[figures.Figure]:
    with results.Store.open(path, readonly=True) as store:
        return figures.load(store)


_figures: Callable[[Path, Stamp], list[figures.Figure]] = st.cache_data(max_entries=4, show_spinner=False)(_load)

if __name__ == "__main__":
    main()
