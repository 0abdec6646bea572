"""Every test has an EdgeQ home of its own; the programs to deploy are made once."""

import hashlib
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeq import _paths

ROOT = Path(__file__).parents[1]
KEPT = {"EDGEQ_LIBRARY", "EDGEQ_AGENT", "EDGEQ_AGENT_AARCH64", "EDGEQ_ISA", "EDGEQ_TEST_MINILM"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in set(os.environ) - KEPT:
        if name.startswith(("EDGEQ_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EDGEQ_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def agent_path():
    return _paths.native("edgeq-agent", "EDGEQ_AGENT")


@pytest.fixture(scope="session")
def programs():
    """The function that finds a program by name: path, inputs, outputs as PyTorch computes them."""
    folder = _made_programs()

    def find(name):
        with np.load(folder / f"{name}.npz") as arrays:
            x, y = ([arrays[k] for k in sorted(arrays, key=lambda k: int(k[1:])) if k[0] == c] for c in "xy")
        return SimpleNamespace(path=folder / f"{name}.pte", inputs=x, outputs=y)

    return find


def _made_programs():
    """Lowering is slow: the programs are kept until what they are made from or computed with changes."""
    script = ROOT / "device_tests" / "local" / "programs.py"
    sources = [script, *sorted((ROOT / "edgeq" / "ops").glob("*.py")), _paths.native("libedgeq.so", "EDGEQ_LIBRARY")]
    digest = hashlib.sha256(version("executorch").encode())
    for source in sources:
        digest.update(source.read_bytes())
    folder = ROOT / ".cache" / "device_tests" / digest.hexdigest()[:16]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            done = subprocess.run([sys.executable, script, fresh], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            os.rename(fresh, folder)
            os.mkdir(fresh)  # for TemporaryDirectory to remove
    return folder
