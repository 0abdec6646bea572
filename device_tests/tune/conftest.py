"""Firmware is built once per session."""

import pytest


@pytest.fixture(scope="session")
def tune_home(tmp_path_factory):
    return tmp_path_factory.mktemp("tune_home")


@pytest.fixture(autouse=True)
def one_home(clean_environment, tune_home, monkeypatch):
    monkeypatch.setenv("EDGEQ_HOME", str(tune_home))
