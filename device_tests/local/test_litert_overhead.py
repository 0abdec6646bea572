"""What LiteRT and EdgeQ's delegate add to a run, in instructions: valgrind counts them, whatever else runs meanwhile.

`pytest -m long -rP` shows the figures. valgrind knows no AVX-512: they are those of AVX2.
"""

import re
import shutil

import pytest

from edgeq import _paths, hub
from edgeq.bench import compare
from edgeq.compile import build
from edgeq.device import Device, local

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed: pip install 'edgeq[litert]'")
pytestmark = pytest.mark.long

MOST = 1.05  # of the .pte's
RUNS = (4, 14)
START_S = 120.0


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A function: instructions of one run of a program on the local agent."""
    if not shutil.which("valgrind"):
        pytest.skip("no valgrind: apt-get install valgrind")
    agent, operators = _paths.native("edgeq-agent", "EDGEQ_AGENT"), _paths.native("libedgeq_litert.so", "EDGEQ_LITERT")
    monkeypatch.setenv("EDGEQ_LITERT", str(operators))
    script = tmp_path / "agent"
    monkeypatch.setenv("EDGEQ_AGENT", str(script))

    def total(path, runs):
        folder = tmp_path / f"{path.name}-{runs}"
        folder.mkdir()
        command = f"valgrind -q --tool=callgrind --callgrind-out-file={folder}/%p {agent}"
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv("EDGEQ_HOME", str(tmp_path / f"home-{path.name}-{runs}"))  # with nothing stored yet
        with Device(local.open_stream("local"), timeout_s=START_S) as device:
            net, inputs = compare.program_of(device, path)
            net.bench(inputs, warmup=1, runs=runs)
        found = [re.search(r"^totals: (\d+)", file.read_text(), re.M) for file in folder.iterdir()]
        return max(int(match[1]) for match in found if match)  # the other is of the child that tries the program out

    return lambda path: (total(path, RUNS[1]) - total(path, RUNS[0])) / (RUNS[1] - RUNS[0])


@pytest.mark.parametrize("name", ["pokebnn-fashion", "denseshift-kws"])
def test_a_run_of_the_tflite_costs_hardly_more_than_one_of_the_pte(name, counted):
    package = hub.pull(name, offline=True)
    tflite, pte = (counted(build(package, target).path) for target in ("litert", "executorch"))
    print(f"{name}: {tflite:,.0f} instructions as .tflite, {pte:,.0f} as .pte: {tflite / pte:.4f}")
    assert tflite <= MOST * pte
