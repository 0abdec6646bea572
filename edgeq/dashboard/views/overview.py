"""Overview: how much was measured, the best model for each task and device, devices seen, newest runs."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from edgeq.dashboard import labels, queries
from edgeq.dashboard.figures import Best, Figure, bests
from edgeq.dashboard.views._shared import View, figure_text, recent_runs

MAX_BESTS = 50
RECENT = 20


def draw(view: View) -> None:
    with view.open() as store:
        counts, devices = queries.counts(store), queries.devices(store)
    cells = st.columns(4)
    cells[0].metric("Devices", counts.devices)
    cells[1].metric("Models", counts.models)
    cells[2].metric("Runs", f"{counts.runs:,}")
    cells[3].metric("Newest run (UTC)", (counts.newest or "-")[:16].replace("T", " "))
    st.caption(labels.LEGEND)

    st.subheader("Best model for each task and device")
    found = bests(view.figures)
    if found:
        st.dataframe([_best(best, view.figures) for best in found[:MAX_BESTS]], hide_index=True, key="bests")
        st.caption(
            "A model whose 95 % interval reaches that of the first one is named beside it: they are level. "
            "Of what is wrong, less is better; of all else, more."
        )
    else:
        st.info("No accuracy was measured yet; `edgeq eval MODEL` or `edgeq deploy MODEL` does.")

    st.subheader("Devices")
    st.dataframe([_device(row) for row in devices], hide_index=True, key="devices")

    st.subheader("Newest runs")
    recent_runs(view, RECENT)


def _best(best: Best, figures: Sequence[Figure]) -> dict[str, object]:
    first = best.first
    level = list(dict.fromkeys(f.model for f in best.level if f.model != first.model))
    return {
        "task": f"{labels.metric(first.metric)}, {first.split}",
        "device": first.device,
        "model": first.model,
        "level with it": ", ".join(level) or "-",
        "score": figure_text(first),
        "latency, median": _cost(first, figures, "latency_p50"),
        "instructions": _cost(first, figures, "instructions"),
        "size": _cost(first, figures, "model_size"),
    }


def _cost(best: Figure, figures: Sequence[Figure], metric: str) -> str:
    """The newest cost of the same file on the same device, with its mark."""
    same = (f for f in figures if f.metric == metric and (f.device, f.sha256) == (best.device, best.sha256))
    newest = max(same, key=lambda f: f.run, default=None)
    return "-" if newest is None else f"{labels.quantity(newest.value, newest.unit)} {labels.MARKS[newest.source]}"


def _device(row: dict[str, object]) -> dict[str, object]:
    def shown(key: str, unit: str, scale: float = 1) -> str:
        value = row[key]
        return labels.quantity(value / scale, unit) if isinstance(value, int | float) else "-"

    return {
        "device": row["device"],
        "kind": row["kind"],
        "ISA": row["isa"],
        "clock": shown("clock_hz", "MHz", 1e6),
        "RAM": shown("ram_bytes", "B"),
        "flash": shown("flash_bytes", "B"),
        "runs": row["runs"],
        "models": row["models"],
        "newest run (UTC)": row["newest"],
    }
