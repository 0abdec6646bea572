"""Every test starts from the same environment and with an EdgeQ home of its own."""

import os

import pytest

KEPT = {"EDGEQ_LIBRARY", "EDGEQ_EXECUTORCH", "EDGEQ_LITERT", "EDGEQ_AGENT", "EDGEQ_ISA", "EDGEQ_DATA"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path_factory):
    for name in set(os.environ) - KEPT:
        if name.startswith(("EDGEQ_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EDGEQ_HOME", str(tmp_path_factory.mktemp("home") / "edgeq"))
