"""Serial lines as they are: bytes lost, doubled and altered, cables pulled, devices that are slow or not there."""

import hashlib
import os
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from remote_line import RemoteLine
from serial.tools import list_ports
from serial_line import Line, build

from edgeq import cli, device
from edgeq._errors import DeviceError, NoReplyError
from edgeq.device import agent

FILE_BYTES = 20_000


@pytest.fixture(scope="module")
def firmware_program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("host"), Path(__file__).with_name("host_board.c"))


@pytest.fixture
def line(firmware_program, tmp_path):
    return lambda **faults: Line(firmware_program, tmp_path / "flash", **faults)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.pte"
    path.write_bytes(random.Random(7).randbytes(FILE_BYTES))
    return path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def impatient(monkeypatch):
    """Waits of seconds for each lost answer would make a slow test."""
    monkeypatch.setattr(agent, "_LOSSY_TIMEOUT_S", 0.6)


@pytest.mark.parametrize("seed", range(3))
def test_lost_doubled_and_altered_bytes(line, file, impatient, seed):
    with line(every=20, seed=seed) as bad:
        with device.connect(bad.url) as board:
            board.put(file)
            assert [(entry.name, entry.sha256) for entry in board.list()] == [("model.pte", digest(file))]
        assert bad.damaged > 3


def test_a_network_over_a_bad_line(line, network, impatient):
    known = network("pokebnn-fashion")
    with line(every=60, seed=1) as bad, device.connect(bad.url) as board:
        logits = board.deploy(known.path).evaluate((known.x[:2],)).outputs[0]
        np.testing.assert_array_equal(logits, known.outputs[0][:2])
        assert bad.damaged > 0


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")  # pyserial's
def test_a_port_of_another_machine(line, file):
    with (
        line() as here,
        RemoteLine(here.url.removeprefix("serial://")) as there,
        device.connect(f"{there.url}?baud=230400") as board,
    ):
        assert there.port.baudrate == 230400
        assert board.info.kind == "mcu"
        assert b"\xff" in file.read_bytes()  # which RFC 2217 has to escape
        board.put(file)
        assert [(entry.name, entry.sha256) for entry in board.list()] == [("model.pte", digest(file))]
        there.stop()
        with pytest.raises(DeviceError):
            board.list()


def test_a_pulled_cable_is_one_line_and_the_transfer_goes_on(line, file):
    with (
        line(unplug_after=FILE_BYTES // 2) as pulled,
        device.connect(pulled.url) as board,
        pytest.raises(DeviceError, match="unplugged") as error,
    ):
        board.put(file)
    assert "\n" not in str(error.value)
    begun_at = []
    with line() as good, device.connect(good.url) as board:
        board.put(file, progress=lambda stage, done, total: begun_at.append(done))
        assert [entry.sha256 for entry in board.list()] == [digest(file)]
    assert 0 < begun_at[0] < FILE_BYTES


def test_a_slow_device_is_asked_again_but_does_it_once(line, file, monkeypatch):
    monkeypatch.setattr(agent, "_LOSSY_TIMEOUT_S", 0.1)
    with line(slow_ms=250) as slow, device.connect(slow.url) as board:
        board.put(file)
        board.erase("model.pte")  # done twice, it would be refused
        assert board.list() == []


def test_noise_before_and_between_frames_is_skipped(line):
    with line() as noisy, device.connect(noisy.url) as board:
        rest = board.info.max_payload
        board._agent._stream.write(b"boot: hello\r\n\xa5\x5a\x01", 1.0)  # the last three begin a frame
        board._agent._stream.write(bytes(rest), 1.0)
        assert board.list() == []


def test_nobody_there_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(agent, "_HELLO_TIMEOUT_S", 0.3)
    master, slave = os.openpty()
    try:
        with pytest.raises(NoReplyError, match=r"no EdgeQ agent there"):
            device.connect(f"serial://{os.ttyname(slave)}")
        assert os.read(master, 100)  # it did ask
    finally:
        os.close(master)
        os.close(slave)


def test_ports_are_named_and_only_a_probe_writes(line, monkeypatch, capsys):
    with line() as board:
        port = SimpleNamespace(
            device=board.url.removeprefix("serial://"), hwid="USB VID:PID=0483:374B", manufacturer="STMicro",
            product="STLink", description="", vid=0x0483, pid=0x374B,
        )  # fmt: skip
        monkeypatch.setattr(list_ports, "comports", lambda: [port])
        monkeypatch.setenv("EDGEQ_AGENT", "/does/not/exist")
        assert cli.run(["devices"]) == 0
        said = capsys.readouterr().out
        assert board.url in said and "STMicro STLink (0483:374b)" in said and "unknown" in said
        assert board.written == 0
        assert cli.run(["devices", "--probe"]) == 0
        assert "host board, host, takes micro:cortex-m4" in capsys.readouterr().out
        assert board.written > 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("serial:", "expected serial:///dev/PORT"),
        ("serial:///dev/ttyX?baud=fast", "expected serial:///dev/PORT"),
        ("serial:///dev/ttyX?speed=9", "expected serial:///dev/PORT"),
        ("serial:///dev/nothing-here", "is the board plugged in"),
        ("rfc2217://", "expected rfc2217://host:port"),
        ("rfc2217://127.0.0.1:1", "cannot connect"),
        ("sim:", "fits several devices: .*sim:cortex-m4"),
        ("sim:z80", "no such simulator"),
    ],
)
def test_bad_urls_say_what_to_write(url, message):
    with pytest.raises(Exception, match=message) as error:
        device.connect(url)
    assert "\n" not in str(error.value)


def test_a_missing_emulator_names_its_package(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Exception, match=r"qemu-system-arm is not installed: apt-get install qemu-system-arm"):
        device.connect("sim:cortex-m55")
    states = {found.url: found for found in device.discover() if found.kind == "simulator"}
    assert states["sim:rv32"].state == "no-runtime"
    assert states["sim:rv32"].detail == "apt-get install qemu-system-misc gcc-riscv64-unknown-elf"
