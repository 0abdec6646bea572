"""The Fine-tune page with the real verb behind it: a run is watched and stopped, another kept, and rolled back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeq import _paths, deltas
from edgeq._errors import UnsupportedError
from edgeq.dashboard.jobs import Job
from edgeq.dashboard.views import _jobs
from edgeq.results import Store

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

MODEL, WAIT_S, LOOK_S = "denseshift-kws", 1200.0, 0.5


@pytest.mark.long
def test_a_run_is_watched_and_stopped_another_kept_and_rolled_back(
    page: Callable[..., AppTest], path: Path, recordings: Path
) -> None:
    try:
        _paths.native("edgeq-agent", "EDGEQ_AGENT")
    except UnsupportedError as error:
        pytest.skip(str(error))
    _jobs.jobs.clear()
    try:
        at = page("finetune")

        job = _begin(at, recordings, "t1")
        _until(lambda: len(job.curves["loss"].points) > 2 if "loss" in job.curves else False, job)
        at.run()
        assert {"loss", "held_out_top1", "memory"} <= job.curves.keys() and not at.exception
        assert {"Loss", "Held-out accuracy", "Memory, planned"} <= {m.label for m in at.metric}
        assert len(at.get("vega_lite_chart")) >= 2 and at.button(key="finetune-start").disabled
        at.button(key="finetune-stop").click().run()
        job.wait(WAIT_S)
        at.run()
        assert "run 1" in at.warning[0].value and "stopped" in at.markdown[0].value and not at.exception
        assert deltas.in_use(MODEL) is None

        job = _begin(at, recordings, "auto")
        job.wait(WAIT_S)
        assert job.code == 0, job.said
        at.run().run()
        assert "run 2" in at.success[0].value and "kept" in at.markdown[0].value and not at.exception
        with Store.open(path, readonly=True) as store:
            runs = [store.run(number) for number in (1, 2)]
        assert [run["details"]["verdict"] for run in runs] == ["stopped", "kept"]
        learned = runs[1]["details"]["delta_sha256"][:12]
        assert deltas.in_use(MODEL) == learned

        at.button(key="finetune-rollback").click().run()
        undone = _jobs.jobs().newest("rollback")
        assert undone is not None
        undone.wait(WAIT_S)
        at.run().run()
        assert deltas.in_use(MODEL) is None and not at.exception
        assert any(f"Delta {learned} is not in use: the base is." in told.value for told in at.info)
        assert not [button for button in at.button if button.key == "finetune-rollback"]
    finally:
        _jobs.jobs().stop()
        _jobs.jobs.clear()


def _begin(at: AppTest, samples: Path, method: str) -> Job:
    at.selectbox(key="finetune-device").set_value("local")
    at.selectbox(key="finetune-model").set_value(MODEL)
    at.text_input(key="finetune-data").set_value(str(samples))
    at.selectbox(key="finetune-method").set_value(method).run()
    at.button(key="finetune-start").click().run()
    assert not at.exception and not at.error
    job = _jobs.jobs().newest("finetune")
    assert job is not None
    return job


def _until(reached: Callable[[], bool], job: Job) -> None:
    """Wait for a condition while the job runs."""
    end = time.monotonic() + WAIT_S
    while not reached() and job.running and time.monotonic() < end:
        with suppress(subprocess.TimeoutExpired):
            job.wait(LOOK_S)
    assert reached(), job.said
