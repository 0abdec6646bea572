"""Energy providers on fake sysfs trees: arithmetic, wraps, silence. No sensor is needed."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeq._errors import EnergyError, UsageError
from edgeq.bench import energy
from edgeq.bench.energy import estimate, hwmon, rapl
from edgeq.bench.energy._types import integrate

RANGE_UJ = 262_143_328_850


def powercap(root: Path, **counters: int) -> Path:
    """intel-rapl:0, :1, ... packages with these counters, each with a core subzone, and one psys zone."""
    for i, (name, counter) in enumerate(counters.items()):
        for zone, label in ((f"intel-rapl:{i}", name.replace("_", "-")), (f"intel-rapl:{i}:0", "core")):
            folder = root / zone
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "name").write_text(f"{label}\n")
            (folder / "energy_uj").write_text(f"{counter}\n")
            (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return root


def clock(*seconds: float) -> Iterator[float]:
    return iter(seconds).__next__


def test_rapl_sums_packages_and_nothing_else(tmp_path: Path) -> None:
    powercap(tmp_path, package_0=1_000_000, package_1=5_000_000, psys=7)
    sensor = rapl.Rapl(tmp_path, clock=clock(10.0, 12.0))
    token = sensor.start()
    powercap(tmp_path, package_0=7_000_000, package_1=9_000_000, psys=999_000_000)
    sample = sensor.stop(token)
    assert (sample.joules, sample.seconds, sample.avg_w) == pytest.approx((10.0, 2.0, 5.0))
    assert sample.n_samples == 2000 and sample.uncertainty == pytest.approx(10.0 / 2000)
    assert (sensor.kind, sensor.scope) == ("measured", "package")
    assert sample.net_joules is None
    net = replace(sample, idle_w=3.0, idle_uncertainty_w=0.1, uncertainty=0.15)
    assert (net.net_joules, net.net_uncertainty) == pytest.approx((4.0, 0.25))  # 0.15 J and 0.1 W for 2 s


def test_rapl_counter_that_wrapped(tmp_path: Path) -> None:
    powercap(tmp_path, package_0=RANGE_UJ - 2_000_000)
    sensor = rapl.Rapl(tmp_path, clock=clock(0.0, 1.0))
    token = sensor.start()
    powercap(tmp_path, package_0=3_000_000)
    assert sensor.stop(token).joules == pytest.approx(5.0)


def test_rapl_window_too_short_or_too_long(tmp_path: Path) -> None:
    powercap(tmp_path, package_0=0)
    for end, message in ((0.005, "5.0 ms holds 5 counter updates"), (300.0, "may wrap twice")):
        sensor = rapl.Rapl(tmp_path, clock=clock(0.0, end))
        with pytest.raises(EnergyError, match=message):
            sensor.stop(sensor.start())


def test_rapl_absent_or_nonsense(tmp_path: Path) -> None:
    with pytest.raises(EnergyError, match="no RAPL package zone"):
        rapl.Rapl(tmp_path / "none")
    powercap(tmp_path, package_0=0)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("-5\n")
    with pytest.raises(EnergyError, match="'-5' is not a count"):
        rapl.Rapl(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(EnergyError, match="cannot be read"):
        rapl.Rapl(tmp_path)


def test_rapl_not_readable_says_how_to_make_it_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    powercap(tmp_path, package_0=0)
    if os.geteuid() == 0:  # root reads everything, so let the file system refuse by hand
        real = Path.read_text

        def refuse(self: Path) -> str:
            if self.name == "energy_uj":
                raise PermissionError(13, "Permission denied", str(self))
            return real(self)

        monkeypatch.setattr(Path, "read_text", refuse)
    else:
        (tmp_path / "intel-rapl:0" / "energy_uj").chmod(0)
    with pytest.raises(EnergyError, match=r"energy_uj: not readable by this user; run as root, or: sudo chmod"):
        rapl.Rapl(tmp_path)


def chip(root: Path, name: str, **files: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    for file, text in {"name": "ina219", **files}.items():
        (folder / file).write_text(text + "\n")
    return folder


def test_hwmon_reads_power_or_current_times_voltage(tmp_path: Path) -> None:
    chip(tmp_path / "a", "hwmon0", temp1_input="40000")
    chip(tmp_path / "a", "hwmon1", power1_input="2500000", curr1_input="1", in1_input="1")
    assert hwmon.Hwmon(tmp_path / "a").read_w() == 2.5
    chip(tmp_path / "b", "hwmon0", curr1_input="500", in1_input="5000")
    assert hwmon.Hwmon(tmp_path / "b").read_w() == 2.5


def test_hwmon_window_is_sampled_and_integrated(tmp_path: Path) -> None:
    chip(tmp_path, "hwmon0", power1_input="4000000")
    taken, enough = [], threading.Event()

    def tick() -> float:
        taken.append(0.5 * len(taken))
        if len(taken) >= 12:
            enough.set()
        return taken[-1]

    sensor = hwmon.Hwmon(tmp_path, clock=tick, period_s=1e-4)
    token = sensor.start()
    assert enough.wait(30)
    sample = sensor.stop(token)
    assert sample.n_samples == len(taken) >= 12
    assert sample.avg_w == pytest.approx(4.0) and sample.joules == pytest.approx(4.0 * taken[-1])
    assert (sensor.kind, sensor.scope, sample.source) == ("measured", "rail", "hwmon ina219")


def test_hwmon_that_falls_silent_raises(tmp_path: Path) -> None:
    with pytest.raises(EnergyError, match="no sensor with power1_input"):
        hwmon.Hwmon(tmp_path)
    folder = chip(tmp_path, "hwmon0", power1_input="1")
    failing = threading.Event()

    def tick() -> float:
        (folder / "power1_input").write_text("n/a")
        failing.set()
        return 0.0

    sensor = hwmon.Hwmon(tmp_path, clock=tick, period_s=1e-4)
    token = sensor.start()
    assert failing.wait(30)
    with pytest.raises(EnergyError, match="'n/a' is not an integer"):
        sensor.stop(token)


def test_integral_uses_the_time_stamps() -> None:
    points = [(0.0, 1.0), (1.0, 1.0), (3.0, 3.0), *((3.0 + 0.5 * i, 3.0) for i in range(1, 9))]
    sample = integrate(points, "s", scope="rail")
    assert sample.joules == pytest.approx(1 + 4 + 4 * 3)
    assert sample.seconds == 7.0


def test_integral_refuses_too_few_and_backward_samples() -> None:
    with pytest.raises(EnergyError, match="9 samples"):
        integrate([(float(i), 1.0) for i in range(9)], "s", scope="rail")
    with pytest.raises(EnergyError, match=r"go back from 5.0 s to 4.0 s"):
        integrate([(float(t), 1.0) for t in (0, 1, 2, 3, 5, 4, 6, 7, 8, 9)], "s", scope="rail")
    with pytest.raises(EnergyError, match="one time stamp"):
        integrate([(1.0, 1.0)] * 10, "s", scope="rail")


def test_estimate_is_power_times_time_and_says_so() -> None:
    model = estimate.for_cpu("x86_avx512", threads=2)
    sample = model.of(0.010)
    assert sample.joules == pytest.approx(2 * 5.7 * 0.010)
    assert sample.uncertainty == pytest.approx(2 * 1.3 * 0.010)
    assert (model.kind, model.scope) == ("estimated", "model")
    assert "11 W" in sample.source and "2 thread" in sample.source
    timed = estimate.CpuEstimate("aarch64", 1, clock=clock(1.0, 2.0))
    assert timed.stop(timed.start()).joules == pytest.approx(1.8)


def test_no_estimate_for_an_unknown_core() -> None:
    with pytest.raises(EnergyError, match="no power model for ISA 'armv7e-m'"):
        estimate.for_cpu("armv7e-m", 1)


def test_the_registry_knows_the_files() -> None:
    assert {"estimate", "hwmon", "rapl"} <= set(energy.names())
    with pytest.raises(UsageError, match=r"no energy provider 'dream'; there are: .*rapl"):
        energy.get("dream")


def test_best_available_prefers_a_readable_sensor_of_the_same_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    powercap(tmp_path, package_0=0)
    monkeypatch.setattr(rapl, "provider", lambda: rapl.Rapl(tmp_path))
    assert energy.best_available(on_this_host=True, isa="x86_avx2", threads=1).name == "rapl"
    assert energy.best_available(on_this_host=False, isa="neon", threads=1).kind == "estimated"
    monkeypatch.setattr(rapl, "provider", lambda: rapl.Rapl(tmp_path / "none"))
    assert energy.best_available(on_this_host=True, isa="x86_avx2", threads=1).kind == "estimated"
    with pytest.raises(EnergyError, match="no RAPL"):
        energy.get("rapl")


def test_energy_of_instructions_spans_what_is_not_known():
    sample = estimate.of_instructions(1e6)
    assert sample.joules - sample.uncertainty == pytest.approx(66e-6)  # the best cycle, one for each instruction
    assert sample.joules + sample.uncertainty == pytest.approx(860e-6)  # the worst, two for each
    assert "per instruction" in sample.source
