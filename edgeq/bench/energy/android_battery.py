"""Energy of a phone from its battery gauge, over adb: everything the device draws, screen and radio included.

A loop on the phone prints its own clock with the gauge's current and voltage, some ten times a second; gauges move
every 10 ms to 40 s, so a window shorter than half a minute says little. The sign and the unit of the current differ
by vendor, and so does the unit of the voltage:

    voltage  2.0 .. 6.0 -> V, 2000 .. 6000 -> mV, 2.0e6 .. 6.0e6 -> uV   (a lithium cell is at 3.0 to 4.5 V)
    current  20,000 or more -> uA, else mA   (no running phone draws less than 20 mA or more than 20 A)
    sign     either, but the same throughout: a phone on its charger is refused

Unplug the cable (adb over Wi-Fi), leave the screen alone, subtract idle. `android_battery:SERIAL` names the phone.
"""

from __future__ import annotations

import statistics
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from edgeq._errors import EnergyError
from edgeq.bench.energy._types import MIN_SAMPLES, EnergySample, integrate

GAUGE = "/sys/class/power_supply/battery"
PERIOD_S = 0.1
STOP_S = 5.0
_LOOP = (
    f"while :; do read up rest < /proc/uptime; echo $up $(cat {GAUGE}/current_now {GAUGE}/voltage_now) "
    f"$(cat {GAUGE}/status); sleep {PERIOD_S}; done"
)
_MICRO_FROM = 20_000.0
_VOLTS = ((2.0, 6.0, 1.0), (2e3, 6e3, 1e-3), (2e6, 6e6, 1e-6))
_ON_MAINS = ("Charging", "Full", "Not charging")


@dataclass
class _Window:
    process: subprocess.Popen[str]
    lines: list[str]
    thread: threading.Thread


class AndroidBattery:
    """The gauge of the phone with this adb serial; "" is the only one."""

    name = "android_battery"
    kind: Literal["measured"] = "measured"
    scope: Literal["device"] = "device"
    watches: Literal["phone"] = "phone"
    window_s = 30.0

    def __init__(self, serial: str = "", *, adb: str = "adb") -> None:
        self._command = [adb, *(["-s", serial] if serial else []), "shell", _LOOP]

    def start(self) -> _Window:
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise EnergyError(
                f"android_battery: adb cannot be started: {error.strerror}; apt-get install adb"
            ) from None
        lines: list[str] = []
        thread = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
        thread.start()
        return _Window(process, lines, thread)

    def stop(self, token: object, /) -> EnergySample:
        if not isinstance(token, _Window):
            raise EnergyError(f"android_battery: not a token of start(): {token!r}")
        ended = token.process.poll()
        token.process.terminate()
        try:
            token.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            token.process.kill()
            token.process.wait()
        token.thread.join(STOP_S)
        if token.process.stdout is not None:
            token.process.stdout.close()
        text = "".join(token.lines)
        if ended is not None:
            said = (text.strip().splitlines() or ["no word"])[-1]
            raise EnergyError(f"android_battery: adb ended with {ended}: {said}")
        return of_readings(parse(text))


@dataclass(frozen=True)
class Reading:
    """One line of the loop: the phone's clock, and the gauge in its own units."""

    seconds: float
    current: float
    voltage: float
    status: str


def parse(text: str) -> list[Reading]:
    """The complete lines of the loop; lines that are none (a cut last one, remarks of the shell) are left out."""
    found = []
    for line in text.splitlines():
        words = line.split(maxsplit=3)
        try:
            seconds, current, voltage = map(float, words[:3])
        except ValueError:
            continue
        if len(words) > 3:
            found.append(Reading(seconds, current, voltage, words[3].strip()))
    if not found and text.strip():
        raise EnergyError(f"android_battery: the phone's gauge cannot be read: {text.strip().splitlines()[-1][:120]}")
    return found


def of_readings(readings: Sequence[Reading]) -> EnergySample:
    """Energy between the first and the last reading.

    raises  EnergyError on a charger, for a gauge that moved fewer than 10 times, or units that nothing explains
    """
    if mains := next((r.status for r in readings if r.status in _ON_MAINS), None):
        raise EnergyError(f'android_battery: the phone says "{mains}"; unplug it and use adb over Wi-Fi')
    pairs = [(r.current, r.voltage) for r in readings]
    moved = sum(a != b for a, b in pairwise(pairs)) + 1
    if moved < MIN_SAMPLES:
        raise EnergyError(f"android_battery: the gauge moved {moved} times, at least {MIN_SAMPLES} needed; run longer")
    amperes = 1e-6 if statistics.median(abs(r.current) for r in readings) >= _MICRO_FROM else 1e-3
    typical = statistics.median(r.voltage for r in readings)
    volts = next((unit for low, high, unit in _VOLTS if low <= typical < high), None)
    if volts is None:
        raise EnergyError(f"android_battery: a battery voltage of {typical:g} is in no known unit")
    negative = sum(r.current < 0 for r in readings)
    if 0.05 * len(readings) < negative < 0.95 * len(readings):
        raise EnergyError("android_battery: the current changes its sign: something charges the phone now and then")
    sign = -1.0 if negative > len(readings) / 2 else 1.0
    points = [(r.seconds, sign * r.current * amperes * r.voltage * volts) for r in readings]
    unit = {1e-6: "uA", 1e-3: "mA"}[amperes], {1.0: "V", 1e-3: "mV", 1e-6: "uV"}[volts]
    source = f"battery gauge ({unit[0]}, {unit[1]}, {moved} updates)"
    sample = integrate(points, source, scope="device")
    half = max(sample.uncertainty, sample.joules / moved)  # an edge of the window is known to one update
    return EnergySample(
        sample.joules, sample.seconds, sample.avg_w, moved, half, sample.source, kind="measured", scope="device"
    )


def provider(serial: str = "") -> AndroidBattery:
    return AndroidBattery(serial)
