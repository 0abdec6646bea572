"""A store of the test's own, and the pages without a browser."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import chromium
from sample_runs import copy_runs

from edgeq import data, hub
from edgeq.results import RunRecord, Store

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

__all__ = ["chromium"]  # a fixture
TIMEOUT_S = 60
SAMPLES = 60  # to learn from


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the pages look for the store; nothing is there yet."""
    place = tmp_path / "results.db"
    monkeypatch.setenv("EDGEQ_DB", str(place))
    return place


@pytest.fixture
def fill(path: Path) -> Callable[..., list[int]]:
    def add(*runs: RunRecord) -> list[int]:
        with Store.open(path) as store:
            return [store.add_run(run) for run in runs]

    return add


@pytest.fixture
def testing() -> ModuleType:
    """Streamlit's pages without a browser."""
    reason = "streamlit is not installed: pip install 'edgeq[dashboard]'"
    return pytest.importorskip("streamlit.testing.v1", reason=reason)


@pytest.fixture
def page(path: Path, testing: ModuleType) -> Callable[..., "AppTest"]:
    """Draw one page, with the parameters of its address; nothing unexpected may be raised."""

    def draw(name: str, **query: str) -> "AppTest":
        script = f"from edgeq.dashboard.app import show\nshow({name!r})"
        at = testing.AppTest.from_string(script, default_timeout=TIMEOUT_S)
        for key, value in query.items():
            at.query_params[key] = value
        at.run()
        assert not at.exception, at.exception[0].value
        return at

    return draw


@pytest.fixture
def multiply(path: Path) -> Callable[[int], None]:
    """Repeat every run of the store."""
    return lambda copies: copy_runs(path, copies)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Bundled features of spoken digits as by another microphone: fainter, and over a hum."""
    found = data.load_split(hub.pull("denseshift-kws"), dataset="fsdd")
    hum = np.linspace(80, 0, found.x.shape[2])
    place = tmp_path / "my-voice.npz"
    np.savez(place, x=(0.5 * found.x + hum)[:SAMPLES].astype(np.uint8), y=found.y[:SAMPLES])
    return place
