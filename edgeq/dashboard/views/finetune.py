"""Fine-tune: start a run on a device or look at an earlier one; loss, held-out accuracy, memory, and the way back."""

from __future__ import annotations

from importlib.util import find_spec

import streamlit as st

from edgeq import deltas
from edgeq.dashboard import charts, labels
from edgeq.dashboard.jobs import Job
from edgeq.dashboard.views import _jobs
from edgeq.dashboard.views._shared import View
from edgeq.results import Row

PAGE = "finetune"
OFFERED = 100
METHODS = ("auto", "stats", "solve", "head", "t0", "t1", "t2", "t3", "zeroqat", "mezo")
SHOWN = ("top1_before", "top1", "delta_size", "ram_peak", "seconds")
VERDICTS = {
    "kept": "✔ kept: the held-out data agreed",
    "rolled back": "↩ rolled back: the model is what it was",
    "refused": "⚠ refused: the held-out data did not improve, the model is what it was",
    "stopped": "■ stopped: the same command goes on where it was",
    "failed": "⚠ failed: the model is what it was",
}


def draw(view: View) -> None:
    if find_spec("edgeq.cli.finetune") is None:
        st.info("This installation has no `edgeq finetune`; runs that another one stored are shown below.")
    elif view.readonly:
        st.caption("Read-only: runs are shown, none can be started.")
    else:
        _form()
        _jobs.watch(PAGE, _jobs.curves)
    st.subheader("Runs")
    if not view.filled:
        st.info("None yet. `edgeq finetune MODEL --device DEVICE --data FILE` personalises a model on its device.")
        return
    with view.open() as store:
        runs = store.runs(verb="finetune", limit=OFFERED)
        if not runs:
            st.info("None yet. `edgeq finetune MODEL --device DEVICE --data FILE` personalises a model on its device.")
            return
        chosen = st.selectbox("Run", range(len(runs)), format_func=lambda i: _name(runs[i]), key="finetune-run")
        run = store.run(int(str(runs[chosen or 0]["run_id"])))
    _stored(run, readonly=view.readonly)


def _form() -> None:
    left, right = st.columns(2)
    with left:
        device = _jobs.choose_device(PAGE)
    with right:
        model = _jobs.choose_model(PAGE)
    left, right = st.columns([3, 1])
    data = str(left.text_input("Labelled samples (.npz with x and y, on this machine)", key="finetune-data"))
    method = str(right.selectbox("Method", METHODS, key="finetune-method"))
    if st.button("Start", type="primary", key="finetune-start", disabled=_jobs.jobs().running is not None):
        words = ["finetune", model, "--device", device, "--data", data, "--method", method, "--follow"]
        _jobs.start(PAGE, words, [model, device, data])


def _name(run: Row) -> str:
    return f"{run['run_id']}: {run['model']} on {run['device']}, {run['started_utc']}"


def _stored(run: Row, *, readonly: bool) -> None:
    details, values, series = run["details"], run["values"], run["series"]
    assert isinstance(details, dict) and isinstance(values, list) and isinstance(series, list)
    verdict = str(details.get("verdict", "not known"))
    st.markdown(
        f"**{labels.literal(VERDICTS.get(verdict, verdict))}**  \n[Everything about it](./run?run={run['run_id']})"
    )
    by_name = {str(v["metric"]): v for v in values}
    shown = [name for name in SHOWN if name in by_name]
    for cell, name in zip(st.columns(max(len(shown), 1)), shown, strict=False):
        value = by_name[name]
        text = labels.quantity(float(str(value["value"])), str(value["unit"]))
        cell.metric(f"{labels.metric(name)} ({labels.marked(str(value['source']))})", text, help=str(value["method"]))
    cells = st.columns(2)
    for i, curve in enumerate(c for c in series if len(c["points"]) > 1):
        with cells[i % 2]:
            st.caption(f"{labels.metric(curve['name'])}, {labels.marked(curve['source'])}")
            st.vega_lite_chart(charts.line(curve["points"], curve["name"], curve["unit"], curve["x_unit"]))
    st.dataframe([{"what": k, "value": str(v)} for k, v in details.items()], hide_index=True, key="finetune-details")
    if verdict != "kept":
        return
    learned = str(details.get("delta_sha256", ""))[:12]
    used = deltas.in_use(str(run["model"]))
    if used != learned:
        st.info(f"Delta {learned} is not in use: " + ("the base is." if used is None else f"delta {used} is."))
    elif not readonly and st.button("Roll back", key="finetune-rollback", help="Use the base again."):
        _jobs.start("rollback", ["finetune", "--rollback", str(run["run_id"])])
    if not readonly:
        _jobs.watch("rollback", _nothing)


def _nothing(job: Job) -> None:
    """A rollback has no curves."""
