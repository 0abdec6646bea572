"""Meters on lines and phones: simulated instruments, recorded captures, and traces whose joules are known."""

import json
import math
import socket
import stat
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from simulated_ppk2 import SimulatedPpk2, amperes_of, sample

from edgeq import cli
from edgeq._errors import EnergyError, UnsupportedError, UsageError
from edgeq.bench import energy
from edgeq.bench.energy import _capture, ace, android_battery, joulescope, otii
from edgeq.bench.energy._types import clip, integrate, windows
from edgeq.bench.joules import per_inference
from edgeq.bench.report import Energy

HALF_PERCENT = 0.005


def test_the_integral_of_known_traces() -> None:
    rng = np.random.default_rng(1)
    t = np.cumsum(rng.uniform(0.5e-3, 1.5e-3, 4000))  # an uneven clock
    for power, joules in (
        (lambda t: 2 + 0 * t, 2 * (t[-1] - t[0])),
        (lambda t: 3 * t, 1.5 * (t[-1] ** 2 - t[0] ** 2)),
        (
            lambda t: 1 + 0.5 * np.sin(40 * t),
            (t[-1] - t[0]) - 0.5 / 40 * (math.cos(40 * t[-1]) - math.cos(40 * t[0])),
        ),
    ):
        sample = integrate(list(zip(t, power(t), strict=True)), "trace", scope="rail")
        assert sample.joules == pytest.approx(joules, rel=HALF_PERCENT)
        assert (sample.kind, sample.scope) == ("measured", "rail")


def test_dropouts_keep_the_joules_and_widen_the_uncertainty() -> None:
    t = np.arange(0, 1, 1e-3)
    points = [(x, 1 + x) for x in t]
    holes = [p for i, p in enumerate(points) if i % 100 < 90]  # a tenth of the samples is gone
    whole, torn = (integrate(p, "trace", scope="rail") for p in (points, holes))
    assert torn.joules == pytest.approx(whole.joules, rel=HALF_PERCENT, abs=0.02)
    assert torn.uncertainty > 10 * whole.uncertainty and "without samples" in torn.source
    with pytest.raises(EnergyError, match=r"no samples for 0\.\d+ of 0\.999 s"):
        integrate(points[:100] + points[-100:], "trace", scope="rail")
    with pytest.raises(EnergyError, match="sample 3 is not a number"):
        integrate([*points[:3], (0.003, float("nan")), *points[4:20]], "trace", scope="rail")


def test_windows_of_a_marker_and_their_edges() -> None:
    levels = [(i * 0.1, level == "1") for i, level in enumerate("110011100110")]
    assert windows(levels) == [(pytest.approx(0.4), pytest.approx(0.7)), (pytest.approx(0.9), pytest.approx(1.1))]
    ramp = [(float(i), float(i)) for i in range(11)]
    cut = clip(ramp, 2.5, 7.25)
    assert cut[0] == (2.5, 2.5) and cut[-1] == (7.25, 7.25) and len(cut) == 7
    with pytest.raises(EnergyError, match="samples hold 0 to 10 s"):
        clip(ramp, 5, 11)


# --- PPK2

VOLTS = 3.3
IDLE_A, BUSY_A = 2e-3, 20e-3
PULSES, PULSE, PAUSE = 10, 500, 1000  # samples of 10 us


def _stream(*, lost: range = range(0)) -> list[bytes]:
    """Pauses at 2 mA, and between them pulses at 20 mA with D0 high."""
    cycle = [(IDLE_A, 0)] * PAUSE + [(BUSY_A, 1)] * PULSE
    whole = [*cycle * PULSES, *[(IDLE_A, 0)] * PAUSE]
    return [sample(i, *part) for i, part in enumerate(whole) if i not in lost]


def _measure(stream: list[bytes], options: str) -> energy.EnergySample:
    with SimulatedPpk2(stream) as instrument:
        meter = energy.get(f"ppk2:{instrument.port}?{options}")
        token = meter.start()
        assert instrument.sent.wait(30)
        found = meter.stop(token)
        assert bytes([0x0D, 3 + (3300 - 800 + 32) // 256, (3300 - 800 + 32) % 256]) in instrument.commands
        del meter
    return found


def test_ppk2_gives_the_joules_of_the_rail() -> None:
    found = _measure(_stream(), f"volts={VOLTS}")
    seconds = ((PULSE + PAUSE) * PULSES + PAUSE - 1) * 1e-5
    joules = VOLTS * 1e-5 * (BUSY_A * PULSE * PULSES + IDLE_A * (PAUSE * (PULSES + 1) - 1))
    assert found.seconds == pytest.approx(seconds) and found.joules == pytest.approx(joules, rel=HALF_PERCENT)
    assert (found.kind, found.scope, found.source) == ("measured", "rail", "PPK2, source at 3.3 V")


def test_ppk2_counts_only_while_the_marker_is_high() -> None:
    found = _measure(_stream(), f"volts={VOLTS}&marker=0")
    each = VOLTS * amperes_of(BUSY_A) * PULSE * 1e-5
    assert found.joules == pytest.approx(PULSES * each, rel=HALF_PERCENT)
    assert f"{PULSES} pulses" in found.source and "D0" in found.source


@pytest.mark.parametrize("runs", [PULSES, PULSES + 1])
def test_energy_of_an_inference_between_the_edges_of_its_pulse(runs: int) -> None:
    """The idle baseline has no pulse; the pulses must be as many as the inferences."""
    idle = [sample(i, IDLE_A, 0) for i in range(2000)]
    report = SimpleNamespace(instructions=None, latency=SimpleNamespace(p50_ms=50.0), threads=1)

    class Net:
        def bench(self, inputs: object, *, warmup: int, runs: int) -> None:
            for _ in range(2):  # of the baseline, and of this pass
                instrument.finished.get(timeout=30)

    def measure(port: str) -> Energy:
        provider = energy.get(f"ppk2:{port}?volts={VOLTS}&marker=0")
        return per_inference(Net(), (), None, report, wanted="ppk2", provider=provider, runs=runs)

    with SimulatedPpk2(_stream(), first=idle) as instrument:
        if runs != PULSES:
            with pytest.raises(EnergyError, match="10 pulses of the marker in 11 inferences"):
                measure(instrument.port)
            return
        found = measure(instrument.port)
    each = VOLTS * amperes_of(BUSY_A) * PULSE * 1e-5
    net = each - VOLTS * amperes_of(IDLE_A) * PULSE * 1e-5
    assert found.millijoules == pytest.approx(1e3 * each, rel=HALF_PERCENT)
    assert found.net_millijoules == pytest.approx(1e3 * net, rel=2 * HALF_PERCENT)


def test_ppk2_samples_lost_on_the_line_are_gaps_in_time() -> None:
    lost = range(1520, 1550)  # in a pause
    whole, torn = _measure(_stream(), f"volts={VOLTS}"), _measure(_stream(lost=lost), f"volts={VOLTS}")
    assert torn.seconds == whole.seconds and torn.n_samples == whole.n_samples - len(lost)
    assert torn.joules == pytest.approx(whole.joules, rel=HALF_PERCENT)
    assert "without samples" in torn.source


def test_ppk2_that_is_not_one() -> None:
    with SimulatedPpk2([], metadata="hello") as instrument, pytest.raises(EnergyError, match="not answer like a PPK2"):
        energy.get(f"ppk2:{instrument.port}?volts=3.3")
    with pytest.raises(EnergyError, match="cannot be opened"):
        energy.get("ppk2:/dev/no-such-port?volts=3.3")
    for wrong, message in (
        ("ppk2", r"expected ppk2:PORT\?volts"),
        ("ppk2:/dev/x?volts=9", "9 V is not between"),
        ("ppk2:/dev/x?volts=3&marker=8", "no logic input D8"),
        ("ppk2:/dev/x?volts=3&gain=2", "no option gain"),
    ):
        with pytest.raises(UsageError, match=message):
            energy.get(wrong)


def test_ppk2_that_sends_nothing() -> None:
    with SimulatedPpk2([]) as instrument:
        meter = energy.get(f"ppk2:{instrument.port}?volts=3.3")
        with pytest.raises(EnergyError, match="sent no sample"):
            meter.stop(meter.start())
        with pytest.raises(EnergyError, match="not a token"):
            meter.stop(None)
        del meter


# --- Android


def _readings(current: str, voltage: str, *, n: int = 301, status: str = "Discharging") -> str:
    """Half a minute at about 0.5 A and 4 V; the gauge moves at every reading."""
    return "".join(
        f"{100 + 0.1 * i:.2f} {current.format(500_000 + 10_000 * (i % 2), 500 + 10 * (i % 2))} {voltage} {status}\n"
        for i in range(n)
    )


@pytest.mark.parametrize(
    ("current", "voltage"),
    [("{0}", "4000000"), ("-{0}", "4000000"), ("{1}", "4000"), ("-{1}", "4.0")],
    ids=["uA uV", "negative", "mA mV", "negative mA, V"],
)
def test_android_units_and_signs(current: str, voltage: str) -> None:
    found = android_battery.of_readings(android_battery.parse(_readings(current, voltage)))
    assert found.joules == pytest.approx(0.505 * 4.0 * 30.0, rel=HALF_PERCENT)
    assert (found.kind, found.scope) == ("measured", "device")


def test_android_gauges_that_say_nothing_useful() -> None:
    still = _readings("500000", "4000000").replace("{", "")
    for text, message in (
        (still, "moved 1 times"),
        (_readings("{0}", "4000000", status="Charging"), 'the phone says "Charging"; unplug it'),
        (_readings("{0}", "41"), "41 is in no known unit"),
        (_readings("{0}", "4000000") + _readings("-{0}", "4000000"), "changes its sign"),
        ("sh: can't open /sys/class: Permission denied\n", "cannot be read: sh: can't open"),
    ):
        with pytest.raises(EnergyError, match=message):
            android_battery.of_readings(android_battery.parse(text))


def test_android_over_a_stand_in_for_adb(tmp_path: Path) -> None:
    adb, ready = tmp_path / "adb", tmp_path / "ready"
    text = tmp_path / "text"
    text.write_text(_readings("-{0}", "4000000"))
    adb.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "-s PHONE shell" ] || exit 9\ncat {text}; : > {ready}; exec sleep 60\n')
    adb.chmod(adb.stat().st_mode | stat.S_IXUSR)
    meter = android_battery.AndroidBattery("PHONE", adb=str(adb))
    token = meter.start()
    pause = threading.Event()
    while not ready.exists():
        assert token.process.poll() is None
        pause.wait(0.01)
    assert meter.stop(token).seconds == pytest.approx(30.0)
    other = android_battery.AndroidBattery("OTHER", adb=str(adb))
    gone = other.start()
    gone.process.wait(30)
    with pytest.raises(EnergyError, match="adb ended with 9"):
        other.stop(gone)
    with pytest.raises(EnergyError, match="adb cannot be started"):
        android_battery.AndroidBattery(adb=str(tmp_path / "none")).start()


# --- Joulescope, Otii, captures


class RecordedJoulescope:
    """Gives a recorded piece again and again: 1 mA at 3 V in its first half, 5 mA in its second."""

    def __init__(self, failing: bool = False) -> None:
        self.reads, self.failing, self.settings, self.enough = 0, failing, {}, threading.Event()
        self.piece = np.full((2000, 2), 3.0)
        self.piece[:1000, 0], self.piece[1000:, 0] = 1e-3, 5e-3

    def open(self) -> None: ...

    def close(self) -> None: ...

    def parameter_set(self, name: str, value: str) -> None:
        self.settings[name] = value

    def read(self, *, contiguous_duration: float) -> np.ndarray:
        if self.failing:
            raise RuntimeError("usb error")
        assert contiguous_duration == joulescope.PIECE_S
        self.reads += 1
        if self.reads >= 20:
            self.enough.set()
        return self.piece


def test_joulescope_pieces_join() -> None:
    instrument = RecordedJoulescope()
    meter = joulescope.Joulescope(instrument, clock=lambda: 0.1 * instrument.reads)
    token = meter.start()
    assert instrument.enough.wait(30)
    found = meter.stop(token)
    assert found.avg_w == pytest.approx(9e-3, rel=0.01) and instrument.settings["i_range"] == "auto"
    piece = instrument.piece.copy()
    piece[:200] = np.nan  # a lost tenth
    assert len(joulescope.condense(piece, 1.0)) == 9
    with pytest.raises(EnergyError, match=r"\(3, 2\)"):
        joulescope.condense(piece[:3], 1.0)


def test_joulescope_that_fails_or_is_not_there() -> None:
    meter = joulescope.Joulescope(RecordedJoulescope(failing=True))
    with pytest.raises(EnergyError, match="usb error"):
        meter.stop(meter.start())
    with pytest.raises(UsageError, match="takes nothing after a colon"):
        energy.get("joulescope:x")


class FakeOtiiServer(threading.Thread):
    """Speaks the server's JSON lines for one client; recorded: 10 mA at 3.3 V for 0.5 s."""

    def __init__(self, devices: int = 1) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.devices, self.seen = devices, []
        self.start()

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rw", encoding="utf-8", newline="\r\n") as lines:
            hello = {"otii_version": "3.5.5", "protocol_version": "0.1", "server": "otii-server"}
            self.say(lines, {"type": "information", "info": "connected", "data": hello})
            for line in lines:
                request = json.loads(line)
                self.seen.append(request["cmd"])
                answer = {"type": "response", "cmd": request["cmd"], "trans_id": request["trans_id"]}
                self.say(lines, answer | {"data": self.answer(request["cmd"], request.get("data", {}))})

    def say(self, lines, document) -> None:
        lines.write(json.dumps(document) + "\n")
        lines.flush()

    def answer(self, command: str, data: dict) -> dict:
        current = data.get("channel") == "mc"
        rate, value = (4000, 0.01) if current else (1000, 3.3)
        licence = {"id": 1, "type": "Automation", "available": True, "reserved_to": "", "hostname": ""}
        arc = {"device_id": "arc1", "name": "Arc 1", "type": "Arc"}
        values = [value] * int(data.get("count", 0))
        return {
            "otii_get_devices": {"devices": [arc] * self.devices},
            "otii_is_logged_in": {"logged_in": True},
            "otii_get_licenses": {"licenses": [licence]},
            "otii_get_active_project": {"project_id": 1},
            "project_get_last_recording": {"recording_id": 1, "name": "r", "start-time": "", "measurements": []},
            "recording_get_channel_data_count": {"count": rate // 2},
            "recording_get_channel_data": {
                "data_type": "analog",
                "timestamp": 0.0,
                "interval": 1 / rate,
                "values": values,
            },
        }.get(command, {})


def test_otii_records_between_start_and_stop() -> None:
    server = FakeOtiiServer()
    meter = energy.get(f"otii:127.0.0.1:{server.port}?volts=3.3")
    found = meter.stop(meter.start())
    assert found.joules == pytest.approx(0.033 * 0.5, rel=HALF_PERCENT) and found.source == "Otii Arc 1"
    assert [c for c in server.seen if c.endswith("_recording")][:2] == [
        "project_start_recording",
        "project_stop_recording",
    ]
    meter._server.connection.close_connection()
    server.join(30)
    server.listener.close()


def test_otii_without_a_server_or_with_two_instruments() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EnergyError, match="no server at"):
        otii.provider(f"127.0.0.1:{port}")
    with pytest.raises(UsageError, match="expected otii:"):
        otii.provider("127.0.0.1:many")


CAPTURES = Path(__file__).parent / "traces"


@pytest.mark.parametrize(
    ("head", "row", "volts"),
    [
        ("Timestamp(ms),Current(uA),D0-D7", "{ms},{ua},{bit}0000000", 3.0),
        ("Time (s),Main current (A),Main voltage (V),D0", "{s},{a},3.0,{bit}", None),
        ("timestamp_us,p_mW,D0", "{us},{mw},{bit}", None),
    ],
    ids=["power profiler", "otii", "power"],
)
def test_captures_of_other_programs(tmp_path: Path, head: str, row: str, volts: float | None) -> None:
    path, lines = tmp_path / "capture.csv", [head]
    for i in range(2000):  # 0.1 ms a sample; 10 mA while D0 is high, 1 mA else
        bit = int(i % 200 >= 100)
        a = 0.01 if bit else 0.001
        lines.append(row.format(ms=i / 10, s=i / 1e4, us=i * 100, a=a, ua=a * 1e6, mw=a * 3e3, bit=bit))
    path.write_text("\n".join(lines))
    capture = _capture.read(path, volts=volts)
    whole, _ = _capture.energy(capture, None, "capture")
    assert whole.joules == pytest.approx(3.0 * 0.0055 * 0.2, rel=HALF_PERCENT)
    pulses, count = _capture.energy(capture, "D0", "capture")
    assert count == 9 and pulses.joules == pytest.approx(9 * 3.0 * 0.01 * 0.01, rel=HALF_PERCENT)  # the last is cut


def test_captures_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "capture.csv"
    for text, message in (
        ("a,b\n1,2\n", "needs a time and a current or power"),
        ("Time(s),Current(A)\n0,1\n", "has current but no voltage"),
        ("Time(s),Power(W)\n0,1\n1,much\n", "line 3, column 2 is no number"),
        ("Time(s),Power(W),D0\n0,1\n", "no marker where the others do"),
    ):
        path.write_text(text)
        with pytest.raises(EnergyError, match=message):
            _capture.read(path)
    path.write_text("Time(s),Power(W)\n" + "\n".join(f"{i},1" for i in range(20)))
    with pytest.raises(EnergyError, match="no marker D3; there are: none"):
        _capture.energy(_capture.read(path), "D3", "c")


def test_the_verb_for_captures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "capture.csv"
    path.write_text("Time(s),Power(W),D0\n" + "\n".join(f"{i / 100},2,{int(i % 40 >= 20)}" for i in range(200)))
    assert cli.run(["energy", str(path), "--marker", "D0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pulses"], found["kind"], found["scope"]) == (4, "measured", "rail")
    assert found["millijoules_per_inference"] == pytest.approx(400.0, rel=HALF_PERCENT)
    assert cli.run(["energy", str(tmp_path / "none.csv")]) == 9


def test_ace_counts_products_and_what_they_leave_out() -> None:
    network = {"width": 0.25, "classes": 10, "in_channels": 1, "blocks": [1, 1, 1, 1]}
    config = {"model": "pokebnn", "network": network, "input": {"shape": [28, 28, 1]}}
    found = ace.of_config(config)
    assert found.ace > 1e6 and sum(found.elementwise.values()) > 1000 and "BatchNorm" in found.elementwise
    with pytest.raises(UnsupportedError, match="no count of products for models of the family bit"):
        ace.of_config({"model": "bit"})
    with pytest.raises(EnergyError, match="which are no joules"):
        energy.get("ace")


def test_the_ideal_datapath_knows_no_exclusive_or() -> None:
    macs = {"int8 add": 1_000_000, "int8 multiply": 1_000_000}
    assert ace.datapath_joules(macs) == pytest.approx(0.23e-6)  # 0.2 + 0.03 pJ each (energy.md, section 4)
    with pytest.raises(UsageError, match="ideal 45 nm datapath: no energy for xor"):
        ace.datapath_joules({"xor": 1})
