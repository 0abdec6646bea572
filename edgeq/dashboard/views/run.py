"""Run: everything that is known of one run, `?run=ID`."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from edgeq.dashboard import charts, labels, queries
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
        "n": value["n"],
        "warm-up": value["warmup"],
        "method": value["method"],
    }


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
    """What repeating the run needs, and who vouches for what ran."""
    st.subheader("Conditions and origin")
    signature = run["signature"]
    vouched = labels.SIGNATURES.get(None if signature is None else str(signature), str(signature))
    rows = {
        "signature of the package": vouched + (f" ({run['signed_by']})" if run["signed_by"] else ""),
        "deployed file, SHA-256": run["artefact_sha256"],
        "package, SHA-256 of the manifest": run["package_sha256"],
        "package, commit": run["package_commit"],
        "revision of the model": run["revision"],
        "weights": run["scheme"],
        "EdgeQ": f"{run['edgeq_version']} {run['edgeq_commit']}".strip(),
        "target, backend": f"{run['target']}, {run['backend']}",
        "kernels (ISA), threads": f"{run['isa']}, {run['threads']}",
        "warm-up, timed runs": f"{run['warmup']}, {run['n']}",
        "data": " ".join(str(run[key]) for key in ("dataset", "split", "items") if run[key] is not None),
        "temperature, start to end": _span(run["temp_start_c"], run["temp_end_c"], 1, "°C"),
        "clock, start to end": _span(run["freq_start_hz"], run["freq_end_hz"], 1e6, "MHz"),
    }
    st.dataframe(
        [{"what": key, "value": str(value or "-")} for key, value in rows.items()], hide_index=True, key="origin"
    )
    with st.expander("Host and device, as they described themselves"):
        st.json({"host": run["host"], "device": run["device_facts"]})


def _span(start: object, end: object, scale: float, unit: str) -> str:
    def one(value: object) -> str:
        return f"{value / scale:.4g}" if isinstance(value, int | float) else "unknown"

    return "not known" if start is None and end is None else f"{one(start)} to {one(end)} {unit}"
