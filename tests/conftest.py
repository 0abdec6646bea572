"""Every test starts from the same environment and with an EdgeQ home of its own."""

import os

import pytest

KEPT = {f"EDGEQ_{what}" for what in ("LIBRARY", "EXECUTORCH", "LITERT", "AGENT", "ISA", "DATA", "TEST_MINILM")}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path_factory):
    for name in set(os.environ) - KEPT:
        if name.startswith(("EDGEQ_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EDGEQ_HOME", str(tmp_path_factory.mktemp("home") / "edgeq"))
