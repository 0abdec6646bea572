"""Zoo: the bundled models as their signed packages describe them, and what was measured of them here."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from edgeq import hub
from edgeq.dashboard import labels
from edgeq.dashboard.figures import COSTS, QUALITIES, Figure
from edgeq.dashboard.views import _jobs
from edgeq.dashboard.views._shared import View, figure_text
from edgeq.hub import ZooEntry

COLUMNS = 2
KEPT_S = 60


def draw(view: View) -> None:
    if not view.readonly:
        _pull()
    entries = _entries()
    if not entries:
        st.info("This installation carries no bundled models. `edgeq pull OWNER/NAME` fetches one from the Hub.")
        return
    cells = st.columns(COLUMNS)
    for i, entry in enumerate(entries):
        with cells[i % COLUMNS].container(border=True):
            _card(entry, [f for f in view.figures if f.model == entry.name])


def _pull() -> None:
    """Fetch a package from the Hub."""
    cells = st.columns([4, 1], vertical_alignment="bottom")
    name = str(cells[0].text_input("From the Hub", placeholder="OWNER/NAME or OWNER/NAME@REVISION", key="zoo-name"))
    if cells[1].button("Pull", key="zoo-pull", disabled=_jobs.jobs().running is not None):
        _jobs.start("zoo", ["pull", name], [name])
    _jobs.watch("zoo", lambda job: None)


def _card(entry: ZooEntry, figures: list[Figure]) -> None:
    st.subheader(labels.literal(entry.name))
    signed = f"✔ signed by {entry.signed_by}" if entry.signed_by else labels.SIGNATURES["unsigned"]
    st.markdown(
        labels.literal(f"{entry.task}, {entry.scheme} weights, {labels.quantity(entry.size_bytes, 'B')}")
        + f"  \n{labels.literal(f'version {entry.version}, {entry.licence}, {signed}')}"
        + f"  \n{labels.literal('compiles to ' + ', '.join(entry.targets))}"
    )
    if entry.accuracy is not None:
        metric = dict(entry.accuracy)
        value, unit, source = metric.pop("value"), str(metric.pop("unit")), str(metric.pop("source"))
        number = float(value) if isinstance(value, int | float) else None
        mark = labels.marked(source) if source in labels.MARKS else source
        conditions = ", ".join(f"{key} {text}" for key, text in metric.items() if key != "name")
        percent = number * 100 if number is not None and unit != "%" else number
        st.metric(f"Accuracy, from the package ({labels.literal(mark)})", labels.quantity(percent, "%"))
        st.caption(labels.literal(conditions))
    st.code(f"edgeq deploy {entry.name} --device local", language="sh")
    with st.expander(f"Measured here: {len({f.device for f in figures})} device(s)"):
        rows = [_row(f) for f in figures if f.metric in (*COSTS, *QUALITIES)]
        if rows:
            st.dataframe(rows, hide_index=True, key=f"figures-{entry.name}")
        else:
            st.text("Nothing yet.")
    with st.expander("Model card"):
        st.code((entry.path / "README.md").read_text("utf-8", "replace"), language="markdown", wrap_lines=True)


def _row(figure: Figure) -> dict[str, object]:
    return {"device": figure.device, "figure": labels.metric(figure.metric), "value": figure_text(figure)}


_entries: Callable[[], list[ZooEntry]] = st.cache_data(ttl=KEPT_S, show_spinner=False)(hub.list_zoo)
