"""Compare: quality against cost and cost alone, a panel per device; energies of different kinds stay apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import streamlit as st

from edgeq.dashboard import charts, labels
from edgeq.dashboard.figures import COSTS, RECENT, SCHEMES, Figure, Point, points, tasks
from edgeq.dashboard.views._shared import View, figure_text

MAX_PANELS = 12
MAX_POINTS = 60
MAX_ROWS = 1000
COLUMNS = 2


def draw(view: View) -> None:
    present = {f.metric for f in view.figures}
    costs = [name for name in COSTS if name in present]
    if not costs:
        st.info("No costs were measured yet; `edgeq bench MODEL` measures latency, memory, size and energy.")
        return
    judged = tasks(view.figures)
    side = st.sidebar
    cost = str(side.selectbox("Cost", costs, format_func=labels.metric, key="cost"))
    task = side.selectbox("Quality", judged, format_func=_task, key="task") if judged else None
    chosen = _filtered(points(view.figures, cost, task))
    if not chosen:
        st.warning("No run matches this filter. Widen it in the side bar.")
        return
    st.caption(labels.LEGEND)
    if cost.startswith("energy"):
        _apart(chosen, cost)
    else:
        _panels(chosen)
    st.subheader("Every number")
    st.dataframe([_row(p) for p in chosen[:MAX_ROWS]], hide_index=True, key="numbers")
    if len(chosen) > MAX_ROWS:
        st.caption(f"{MAX_ROWS} of {len(chosen)} configurations; the filters narrow it.")
    st.caption(
        "Each row is the newest run of a device, file, backend, ISA and thread count; its range is that of the "
        f"{RECENT} newest. Two values whose intervals or ranges overlap are not a ranking. Times of `eval` and "
        "`profile` runs are not costs and are left out."
    )


def _apart(found: Sequence[Point], cost: str) -> None:
    """Charts for each kind of energy, under a heading that names it."""
    kinds = sorted({p.cost.kind for p in found}, key=lambda kind: (labels.SOURCES.index(kind[0]), str(kind[1])))
    if len(kinds) > 1:
        st.warning("Energies of different kinds or scopes follow one below the other; they cannot be compared.")
    for source, scope in kinds:
        st.subheader(f"{labels.metric(cost)}: {labels.marked(source)}, scope {scope}")
        _panels([p for p in found if p.cost.kind == (source, scope)])


def _filtered(found: Sequence[Point]) -> list[Point]:
    """The points that the side bar's filters let through; it offers what is there."""
    side = st.sidebar
    devices = sorted({p.cost.device for p in found})
    schemes = sorted({p.cost.scheme for p in found}, key=SCHEMES.index)
    models = sorted({p.cost.model for p in found})
    sources = sorted({p.source for p in found}, key=labels.SOURCES.index)
    device = side.multiselect("Devices", devices, placeholder="all", key="devices")
    scheme = side.multiselect("Weights", schemes, placeholder="all", key="schemes")
    model = side.multiselect("Models", models, placeholder="all", key="models")
    source = side.multiselect("Source", sources, placeholder="all", format_func=labels.marked, key="sources")
    return [
        p
        for p in found
        if (not device or p.cost.device in device)
        and (not scheme or p.cost.scheme in scheme)
        and (not model or p.cost.model in model)
        and (not source or p.source in source)
    ]


def _panels(found: Sequence[Point]) -> None:
    """Two charts for each device: quality against cost where both are known, then cost alone."""
    devices: dict[str, list[Point]] = {}
    for p in found:
        devices.setdefault(p.cost.device, []).append(p)
    y_domain = _domain([p.quality for p in found if p.quality is not None])
    for device, of_device in islice(devices.items(), MAX_PANELS):
        st.markdown(f"**{labels.literal(device)}**")
        shown = of_device[:MAX_POINTS]
        cells = st.columns(COLUMNS)
        with cells[0]:
            if any(p.quality is not None for p in shown):
                st.vega_lite_chart(charts.pareto(shown, y_domain))
            else:
                st.info("No accuracy was measured for these runs.")
        with cells[1]:
            st.vega_lite_chart(charts.dots(shown))
        if len(of_device) > MAX_POINTS:
            st.caption(f"{MAX_POINTS} of {len(of_device)} configurations are drawn; the table below has more.")
    if len(devices) > MAX_PANELS:
        st.caption(f"{MAX_PANELS} of {len(devices)} devices are drawn; choose others in the side bar.")


def _domain(qualities: Sequence[Figure]) -> tuple[float, float]:
    """One quality axis for all panels, so that they can be read side by side."""
    if not qualities:
        return (0.0, 100.0)
    low = min(q.value if q.low is None else q.low for q in qualities)
    high = max(q.value if q.high is None else q.high for q in qualities)
    margin = max(0.1 * (high - low), 0.005 * abs(high))
    return (low - margin, high + margin)


def _task(task: object) -> str:
    metric, _, split = str(task).partition(" on ")
    return f"{labels.metric(metric)}, {split}"


def _row(p: Point) -> dict[str, object]:
    f = p.cost
    return {
        "device": f.device,
        "model": f.model,
        "weights": f.scheme,
        labels.metric(f.metric): labels.quantity(f.value, f.unit),
        "source": labels.marked(f.source) + ("" if f.scope is None else f", scope {f.scope}"),
        "95 % interval": labels.interval(f.low, f.high, f.unit) or "-",
        "n": f.n,
        "quality": "-" if p.quality is None else figure_text(p.quality),
        "recent runs": f.runs,
        "range of recent runs": f"{labels.quantity(f.smallest, f.unit)} to {labels.quantity(f.largest, f.unit)}",
        "method": f.method,
        "target": f.target,
        "backend": f.backend,
        "ISA": f.isa,
        "threads": f.threads,
        "revision": f.revision,
        "file": f.sha256[:12],
        "run": f.run,
    }
