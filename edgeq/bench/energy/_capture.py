"""Captures that an instrument's own program wrote as CSV: times, current or power, and a marker.

Known columns (any order, more may follow; a unit stands in brackets or behind an underscore):

    time     Timestamp(ms), Time(s), timestamp_us, ...      s, ms, us, ns
    current  Current(uA), Main current (A), i_mA, ...       A, mA, uA, nA
    voltage  Voltage(V), Main voltage (V), ...              V, mV
    power    Power(W), ...                                  W, mW, uW
    marker   D0 .. D7 (0 or 1), or D0-D7 (eight digits, D0 first), as the Power Profiler writes them

Power is taken as it is; else current times voltage; else current times the `volts` of the caller.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq._errors import EnergyError
from edgeq.bench.energy._types import EnergySample, Point, clip, integrate, windows

MAX_BYTES = 1 << 30
_UNITS = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "current": {"a": 1.0, "ma": 1e-3, "ua": 1e-6, "na": 1e-9},
    "voltage": {"v": 1.0, "mv": 1e-3},
    "power": {"w": 1.0, "mw": 1e-3, "uw": 1e-6},
}
_COLUMN = re.compile(
    r"^(?:main )?(?P<what>time|timestamp|current|voltage|power|i|v|p)[ _(\[]+(?P<unit>[munµ]?[savw])[)\]]?$"
)
_WHAT = {"timestamp": "time", "i": "current", "v": "voltage", "p": "power"}


@dataclass(frozen=True)
class Capture:
    """(seconds, watts) of every sample, and of each marker whether it was high there."""

    points: Sequence[Point]
    markers: dict[str, Sequence[bool]]


def read(path: Path, *, volts: float | None = None) -> Capture:
    """Read a capture.

    volts   of the supply, for a file that has current alone
    raises  EnergyError naming the line or the column that does not fit
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise EnergyError(f"{path}: {path.stat().st_size} bytes, at most {MAX_BYTES} are read")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            head = [name.strip() for name in next(rows, [])]
            table = [row for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EnergyError(f"{path}: cannot be read as CSV: {error}") from None
    columns = {known[0]: (i, known[1]) for i, name in enumerate(head) if (known := _known(name))}
    if "time" not in columns or not columns.keys() & {"current", "power"}:
        raise EnergyError(f"{path}: needs a time and a current or power with their units, has {', '.join(head)[:120]}")
    values = {what: _numbers(path, table, i) * scale for what, (i, scale) in columns.items()}
    if "power" in values:
        watts = values["power"]
    elif "voltage" in values:
        watts = values["current"] * values["voltage"]
    elif volts is not None:
        watts = values["current"] * volts
    else:
        raise EnergyError(f"{path}: has current but no voltage; say which it was, e.g. --volts 3.3")
    return Capture(list(zip(values["time"].tolist(), watts.tolist(), strict=True)), _markers(path, head, table))


def energy(capture: Capture, marker: str | None, source: str) -> tuple[EnergySample, int | None]:
    """Energy of the whole capture, or of the pulses of a marker and their number."""
    if marker is None:
        return integrate(capture.points, source, scope="rail"), None
    if marker not in capture.markers:
        raise EnergyError(f"{source}: no marker {marker}; there are: {', '.join(capture.markers) or 'none'}")
    levels = [(t, high) for (t, _), high in zip(capture.points, capture.markers[marker], strict=True)]
    return over_pulses(capture.points, windows(levels), f"{source}, {marker}")


def over_pulses(
    points: Sequence[Point], pulses: Sequence[tuple[float, float]], source: str
) -> tuple[EnergySample, int]:
    """The sum over the pulses of a marker, and how many there are. Raises EnergyError when there is none."""
    if not pulses:
        raise EnergyError(f"{source}: the marker has no whole pulse; does the firmware drive it around inferences?")
    parts = [integrate(clip(points, *pulse), source, scope="rail") for pulse in pulses]
    joules, seconds = sum(p.joules for p in parts), sum(p.seconds for p in parts)
    half = math.hypot(*(p.uncertainty for p in parts))
    said, n = f"{source}, {len(pulses)} pulses", sum(p.n_samples for p in parts)
    watts, count = joules / seconds, len(pulses)
    return EnergySample(joules, seconds, watts, n, half, said, pulses=count, kind="measured", scope="rail"), count


def _known(name: str) -> tuple[str, float] | None:
    found = _COLUMN.match(name.lower())
    if found is None:
        return None
    what = _WHAT.get(found["what"], found["what"])
    unit = found["unit"].replace("µ", "u")
    return (what, _UNITS[what][unit]) if unit in _UNITS[what] else None


def _numbers(path: Path, table: Sequence[Sequence[str]], column: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    found = np.empty(len(table))
    for i, row in enumerate(table):
        try:
            found[i] = float(row[column])
        except (ValueError, IndexError):
            raise EnergyError(f"{path}: line {i + 2}, column {column + 1} is no number") from None
    return found


def _markers(path: Path, head: Sequence[str], table: Sequence[Sequence[str]]) -> dict[str, Sequence[bool]]:
    found: dict[str, Sequence[bool]] = {}
    try:
        for i, name in enumerate(head):
            if name == "D0-D7":
                for pin in range(8):
                    found[f"D{pin}"] = [row[i][pin] == "1" for row in table]
            elif re.fullmatch(r"D[0-7]", name):
                found[name] = [row[i].strip() == "1" for row in table]
    except IndexError:
        raise EnergyError(f"{path}: a line has no marker where the others do") from None
    return found
