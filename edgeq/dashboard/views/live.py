"""Live: choose a device and a model, deploy or time it, watch the samples arrive, stop it."""

from __future__ import annotations

import streamlit as st

from edgeq.dashboard.jobs import Job
from edgeq.dashboard.views import _jobs
from edgeq.dashboard.views._shared import View, recent_runs

PAGE = "live"
VERBS = {
    "deploy": "deploy: everything, accuracy included",
    "bench": "bench: latency, memory, energy",
    "eval": "eval: accuracy",
}


def draw(view: View) -> None:
    left, right = st.columns(2)
    with left:
        device = _jobs.choose_device(PAGE)
    with right:
        model = _jobs.choose_model(PAGE)
    verb = str(st.radio("What", list(VERBS), format_func=VERBS.__getitem__, horizontal=True, key="live-verb"))
    cells = st.columns(2)
    runs = int(cells[0].number_input("Timed runs", 20, 100_000, 100, step=100, key="live-runs"))
    limit = int(cells[1].number_input("Items to evaluate (0: all)", 0, 100_000, 0, step=100, key="live-limit"))
    if st.button("Start", type="primary", key="live-start", disabled=_jobs.jobs().running is not None):
        words = [verb, model, "--device", device, "--follow"]
        words += [f"--runs={runs}"] if verb != "eval" else []
        words += [f"--limit={limit}"] if limit and verb != "bench" else []
        _jobs.start(PAGE, words, [model, device])
    _jobs.watch(PAGE, _job)
    if view.filled:
        st.subheader("Newest runs")
        recent_runs(view, 10)


def _job(job: Job) -> None:
    _jobs.samples(job)
