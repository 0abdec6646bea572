"""Every test has an EdgeQ home of its own; the programs to deploy are made once per session."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeq import _paths
from edgeq._errors import UnsupportedError

KEPT = {"EDGEQ_LIBRARY", "EDGEQ_AGENT", "EDGEQ_ISA"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in set(os.environ) - KEPT:
        if name.startswith(("EDGEQ_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EDGEQ_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def agent_path():
    try:
        return _paths.native("edgeq-agent", "EDGEQ_AGENT")
    except UnsupportedError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """The function that finds a program by name: path, inputs, outputs as PyTorch computes them."""
    folder = tmp_path_factory.mktemp("programs")
    script = Path(__file__).parent / "local" / "programs.py"
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    def find(name):
        with np.load(folder / f"{name}.npz") as arrays:
            x, y = ([arrays[k] for k in sorted(arrays, key=lambda k: int(k[1:])) if k[0] == c] for c in "xy")
        return SimpleNamespace(path=folder / f"{name}.pte", inputs=x, outputs=y)

    return find
