"""What a page is given, and tables of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from edgeq.dashboard import labels, queries
from edgeq.dashboard.figures import Figure
from edgeq.results import Row, Store


@dataclass(frozen=True)
class View:
    """The store's path and its figures, loaded once per change of the file.

    filled    there is a store with runs
    readonly  for sharing: nothing can be started
    """

    path: Path
    figures: list[Figure]
    filled: bool = True
    readonly: bool = False

    def open(self) -> Store:
        return Store.open(self.path, readonly=True)


def recent_runs(view: View, limit: int) -> None:
    """A table of the newest runs, each with the way to its page."""
    with view.open() as store:
        recent = queries.recent(store, limit)
    link = st.column_config.LinkColumn("run", display_text=r"run=(\d+)", help="Open the page of the run")
    st.dataframe([run_row(run) for run in recent], hide_index=True, key="recent", column_config={"run": link})


def figure_text(figure: Figure) -> str:
    """A value with interval, mark and count, e.g. "1.50 ms (1.40 ms to 1.60 ms) ● measured, n = 100"."""
    span = labels.interval(figure.low, figure.high, figure.unit)
    count = "" if figure.n is None else f", n = {figure.n}"
    shown = labels.quantity(figure.value, figure.unit)
    return f"{shown}{f' ({span})' if span else ''} {labels.marked(figure.source)}{count}"


def run_row(run: Row) -> dict[str, object]:
    """A run of `queries.recent` as a table row: headline values as text, each with its mark."""
    row: dict[str, object] = {
        "run": f"./run?run={run['run_id']}",
        "model": run["model"],
        "device": run["device"],
        "verb": run["verb"],
    }
    values = run["values"]
    assert isinstance(values, list)
    for name in labels.HEADLINE:
        cells = [
            f"{labels.quantity(v['value'], v['unit'])} {labels.MARKS[v['source']]}"
            for v in values
            if v["metric"] == name
        ]
        row[labels.metric(name)] = "  ".join(cells) or "-"
    return row | {"threads": run["threads"], "started (UTC)": run["started_utc"]}
