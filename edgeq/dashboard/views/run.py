"""Run: everything that is known of one run, `?run=ID`."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from edgeq.dashboard import charts, conditions, labels, queries
from edgeq.dashboard.views._shared import View
from edgeq.results import Row

OFFERED = 200
NS_PER_MS = 1e6


def draw(view: View) -> None:
    with view.open() as store:
        offered = {int(str(row["run_id"])): row for row in store.runs(limit=OFFERED)}
        chosen = _choose(offered)
        if chosen is None:
            return
        run, timings = store.run(chosen), queries.timings(store, chosen)
    values, layers = run["values"], run["layers"]
    assert isinstance(values, list) and isinstance(layers, list)
    st.markdown(
        f"**{labels.literal(run['model'])}** on **{labels.literal(run['device'])}**, "
        f"`edgeq {run['verb']}`, {labels.literal(run['started_utc'])}"
    )
    warnings = run["warnings"]
    for warning in warnings if isinstance(warnings, list) else []:
        st.warning(labels.literal(warning))
    _headline(values)
    st.subheader("Values")
    st.dataframe([_value(v) for v in values], hide_index=True, key="values")
    st.caption(labels.LEGEND)
    if timings is not None:
        _timings(timings, values)
    _curves(run["series"])
    _layers(layers)
    _conditions(run)


def _choose(offered: dict[int, Row]) -> int | None:
    """The run of the address, or one of the newest; None after saying what is wrong with the address."""
    wanted = st.query_params.get("run")
    if wanted is not None and not (wanted.isascii() and wanted.isdecimal() and len(wanted) < 16):
        st.error(f"{labels.literal(wanted)[:80]}: not the number of a run")
        return None
    ids = list(offered)
    if wanted is not None and int(wanted) not in offered:
        ids.insert(0, int(wanted))
    index = 0 if wanted is None else ids.index(int(wanted))

    def name(run: int) -> str:
        row = offered.get(run)
        return (
            f"{run}"
            if row is None
            else f"{run}: {row['model']} on {row['device']}, {row['verb']}, {row['started_utc']}"
        )

    chosen: int = st.selectbox(
        f"Run (the newest {OFFERED}; any other by ?run=ID)", ids, index, format_func=name, key="run"
    )
    return chosen


def _headline(values: Sequence[Row]) -> None:
    by_name = {str(v["metric"]): v for v in values}
    shown = [name for name in ("latency_p50", "instructions", "top1", "ram_peak", "energy") if name in by_name]
    for cell, name in zip(st.columns(max(len(shown), 1)), shown, strict=False):
        value = by_name[name]
        mark = labels.marked(str(value["source"]))
        cell.metric(f"{labels.metric(name)} ({mark})", _shown(value), help=labels.literal(value["method"]))


def _shown(value: Row) -> str:
    return labels.quantity(float(str(value["value"])), str(value["unit"]))


def _value(value: Row) -> dict[str, object]:
    low, high = (end if isinstance(end := value[key], float) else None for key in ("low", "high"))
    return {
        "figure": labels.metric(str(value["metric"])),
        "value": _shown(value),
        "95 % interval": labels.interval(low, high, str(value["unit"])) or "-",
        "source": labels.marked(str(value["source"])),
        "scope": value["scope"] or "-",
        "n": _count(value["n"]),
        "warm-up": _count(value["warmup"]),
        "method": value["method"],
    }


def _count(value: object) -> str:
    return "-" if value is None else str(value)


def _timings(timings: queries.Timings, values: Sequence[Row]) -> None:
    """Distribution and course; a simulator's samples are instruction counts, not times."""
    metrics = {str(v["metric"]): float(str(v["value"])) for v in values}
    counted = "instructions" in metrics and "latency_p50" not in metrics
    scale, unit = (1.0, "instructions") if counted else (NS_PER_MS, "ms")
    names = [("median", "instructions")] if counted else [(q, f"latency_{q}") for q in ("p50", "p90", "p99")]
    quantiles = [(name, metrics[key]) for name, key in names if key in metrics]
    st.subheader("Instruction counts" if counted else "Latency")
    cells = st.columns(2)
    with cells[0]:
        st.vega_lite_chart(charts.distribution(timings, quantiles, scale, unit))
    with cells[1]:
        st.vega_lite_chart(charts.course(timings, scale, unit))
    beyond = f"; {timings.beyond} above the drawn range, the largest {timings.largest / scale:,.4g} {unit}"
    mark = labels.marked("simulated" if counted else "measured")
    st.caption(f"{timings.count:,} timed runs, {mark}{beyond if timings.beyond else ''}")


def _curves(series: object) -> None:
    """Temperature, clock, loss: whatever was noted along the way."""
    curves = [curve for curve in series if len(curve["points"]) > 1] if isinstance(series, list) else []
    if not curves:
        return
    st.subheader("Along the way")
    cells = st.columns(min(len(curves), 2))
    for i, curve in enumerate(curves):
        with cells[i % len(cells)]:
            st.caption(f"{labels.metric(curve['name'])}, {labels.marked(curve['source'])}")
            st.vega_lite_chart(charts.line(curve["points"], curve["name"], curve["unit"], curve["x_unit"]))


def _layers(layers: Sequence[Row]) -> None:
    if not layers:
        return
    st.subheader("Operators")
    for source in labels.SOURCES:
        if timed := [row for row in layers if row["source"] == source and row["ns"] is not None]:
            st.caption(f"Time of each operator, {labels.marked(source)}")
            st.vega_lite_chart(charts.profile(timed))
            if len(timed) > charts.MAX_LAYERS:
                st.caption(f"The first {charts.MAX_LAYERS} of {len(timed)} are drawn.")
    rows = [row | {"source": labels.marked(str(row["source"]))} for row in layers]
    st.dataframe(rows, hide_index=True, key="layers")


def _conditions(run: Row) -> None:
    st.subheader("Conditions and origin")
    rows = [{"what": key, "value": text} for key, text in conditions.conditions(run).items()]
    st.dataframe(rows, hide_index=True, key="origin")
    with st.expander("Host and device, as they described themselves"):
        st.json({"host": run["host"], "device": run["device_facts"], "verb": run["details"]})
