"""The marker pin: every board that names one compiles with it, and a simulated board moves it once per inference."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlperf_runner import Runner

from edgeq import _paths
from edgeq._errors import UsageError
from edgeq.device import Device, firmware, sim

CORPUS = Path(__file__).parents[2] / "tests/micro/corpus"
CORE, LED = "cortex-m4", "mps2_fpgaio_write"
PINNED = [name for name, board in firmware.boards().items() if board.marker]
WRITE = re.compile(r"(0x[0-9a-f]+), (0x[0-9a-f]+|\d+), (0x[0-9a-f]+|\d+)")


def test_every_real_board_names_a_pin():
    assert {name for name, board in firmware.boards().items() if not board.qemu} <= set(PINNED)


@pytest.mark.parametrize("name", PINNED)
@pytest.mark.parametrize("feature", ["marker", "mlperf-energy"])
def test_the_pin_of_a_board_compiles(name, feature, tmp_path):
    board = firmware.find(name)
    if not shutil.which(compiler := firmware.core(board.core).compiler):
        pytest.skip(f"{name} is not tested here: apt-get install {firmware.package_of(compiler)}")
    source = _paths.runtime() / "ports/mcu" / ("engine.c" if feature == "marker" else "firmware.c")
    words = [*firmware.command(board), *firmware.definitions(board, (feature,)), "-Werror", "-c", source]
    subprocess.run([*words, "-o", tmp_path / "made.o"], check=True)
    writes = [[int(n, 0) for n in WRITE.fullmatch(board.marker[level]).groups()] for level in ("high", "low")]
    assert writes[0] != writes[1] and all(address % 4 == 0 for address, *_ in writes)


def test_a_board_without_a_pin_and_one_pin_for_two_are_refused():
    with pytest.raises(UsageError, match=r"rv32: marker needs a pin, and its board.toml names none"):
        firmware.build(firmware.find("rv32"), features=("marker",))
    with pytest.raises(UsageError, match="marker and mlperf-energy both want the pin GP2"):
        firmware.build(firmware.find("rp2040"), features=("mlperf-energy", "marker"))


@pytest.fixture
def pinned(needs, monkeypatch, tmp_path):
    """The function that starts the simulated board with a feature: its stream, and the levels that its pin took."""
    trace = tmp_path / "trace"

    def start(feature):
        needs(CORE)
        board = firmware.find(CORE)
        traced = replace(board, qemu=(*board.qemu, "-d", f"trace:{LED}", "-D", str(trace)))
        monkeypatch.setattr(firmware, "find", lambda name: traced)
        return sim.open_stream(f"sim:{CORE}?with={feature}")

    def levels():
        writes = re.findall(rf"{LED} .*offset 0x0 data (0x[0-9a-f]+)", trace.read_text())
        return [int(text, 16) & 1 for text in writes]

    start.levels = levels
    return start


@pytest.mark.long
def test_the_pin_is_high_once_in_every_inference(pinned):
    with Device(pinned("marker")) as device:
        net = device.deploy(CORPUS / "tiny.pte")
        x = np.fromfile(CORPUS / "tiny.in", np.float32).reshape(net.inputs[0].shape)
        before = pinned.levels()
        assert before[-1] == 0 and 1 not in before
        for _ in range(3):
            (output,) = net.run(x).outputs
        assert np.allclose(output.ravel(), np.fromfile(CORPUS / "tiny.out", np.float32), atol=1e-5)
        assert pinned.levels()[len(before) :] == [1, 0] * 3


@pytest.mark.long
def test_in_energy_mode_the_pin_falls_at_both_ends_of_the_timed_runs(pinned):
    with Device(pinned("mlperf-energy")) as device:
        stream = device._agent._stream
        device.put(CORPUS / "tiny.pte", name="ic01")
        runner = Runner(stream.read, lambda data: stream.write(data, 30.0))
        runner.load((CORPUS / "tiny.in").read_bytes())
        before = pinned.levels()
        assert before[-1] == 1
        scores = runner.infer_between_edges(5, 1)
        assert scores == pytest.approx(np.fromfile(CORPUS / "tiny.out", np.float32).tolist(), abs=6e-4)
        assert pinned.levels()[len(before) :] == [0, 1] * 2  # five inferences between two falling edges
        assert [entry.name for entry in device.list()] == ["ic01"]
