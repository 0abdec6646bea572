"""`edgeq deploy` to a simulated microcontroller: every figure and its label, in the report and in the store."""

import json

import numpy as np
import pytest

from edgeq import _paths, cli
from edgeq.results import Store


@pytest.fixture(autouse=True)
def tools(network, needs):
    needs("cortex-m4")
    network("pokebnn-fashion")  # compiled once for all tests


def test_deploy_reports_counts_memory_flash_and_energy(capsys):
    assert cli.run(["deploy", "pokebnn-fashion", "-d", "sim:cortex-m4", "--limit", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["target"], report["isa"], report["source"]) == ("micro", "armv7em", "simulated")
    assert 0 <= report["accuracy"] <= 1 and report["n"] == 2
    assert report["instructions"] > 1e6
    assert report["latency_ms"]["p50"] is None  # instructions are not time
    assert report["energy_mj"]["kind"] == "estimated" and report["energy_mj"]["value"] > 0
    assert report["size_bytes"] < report["flash_bytes"] < report["size_bytes"] + 64 * 1024
    assert report["memory"]["planned_bytes"] < report["peak_memory_bytes"] < 256 * 1024
    with Store.open(_paths.store(), readonly=True) as store:
        run = store.run(report["run_id"])
    sources = {value["metric"]: value["source"] for value in run["values"]}
    assert (run["device"], run["verb"]) == ("sim:cortex-m4", "deploy")
    assert sources["instructions"] == sources["ram_peak"] == sources["flash"] == sources["top1"] == "simulated"
    assert sources["energy"] == "estimated"


def test_a_target_that_the_device_does_not_take_is_named(capsys):
    assert cli.run(["deploy", "pokebnn-fashion", "-d", "sim:cortex-m4", "--target", "executorch"]) == 7
    message = capsys.readouterr().err.splitlines()[-1]
    assert message == "edgeq: sim:cortex-m4: takes micro:cortex-m4, not executorch; leave --target out"


def test_what_was_learned_elsewhere_runs_on_a_simulator(tmp_path, monkeypatch, capsys):
    """Only a firmware with the feature `tune` has the operators that a delta needs."""
    monkeypatch.setenv("EDGEQ_HOME", str(tmp_path))
    x = np.random.default_rng(1).integers(0, 256, (24, 28, 28), np.uint8)
    np.savez(tmp_path / "noise.npz", x=x)
    learning = ["finetune", "pokebnn-fashion", "--data", str(tmp_path / "noise.npz"), "--method", "stats"]
    assert cli.run([*learning, "--flag", "unguarded"]) == 0
    capsys.readouterr()
    reports = []
    for device in ("local", "sim:cortex-m4"):
        assert cli.run(["eval", "pokebnn-fashion", "-d", device, "--limit", "8", "--json"]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    here, there = reports
    assert there["accuracy"] == here["accuracy"] and there["device"] == "sim:cortex-m4"
    assert all("with delta" in warning for report in reports for warning in report["warnings"][:1])
