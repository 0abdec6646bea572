"""Power of a rail from a Linux hwmon sensor (ina2xx, ina3221 and similar on boards).

A chip folder /sys/class/hwmon/hwmonN has `name` and either power1_input (uW) or curr1_input (mA) with
in1_input (mV). Scope is the rail: whatever else the rail feeds is in the number. `hwmon:/sys/class/hwmon/hwmon3`
chooses among several.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from edgeq._errors import EnergyError
from edgeq.bench.energy import _sampler
from edgeq.bench.energy._types import EnergySample, integrate

ROOT = Path("/sys/class/hwmon")
PERIOD_S = 0.01


class Hwmon:
    """The first chip under `root` that reports power."""

    name = "hwmon"
    kind: Literal["measured"] = "measured"
    scope: Literal["rail"] = "rail"
    watches: Literal["host"] = "host"
    window_s = 0.5

    def __init__(
        self, root: Path = ROOT, *, clock: Callable[[], float] = time.monotonic, period_s: float = PERIOD_S
    ) -> None:
        self._chip = _power_chip(root)
        self._source = f"hwmon {_text(self._chip / 'name')}"
        self._clock, self._period_s = clock, period_s
        self.read_w()

    def read_w(self) -> float:
        """Watts now; EnergyError when the sensor does not answer with a number."""
        if (self._chip / "power1_input").exists():
            return _integer(self._chip / "power1_input") / 1e6
        return _integer(self._chip / "curr1_input") * _integer(self._chip / "in1_input") / 1e6

    def start(self) -> _sampler.Window:
        return _sampler.begin(self.name, _sampler.one(self._clock, self.read_w), self._period_s)

    def stop(self, token: object, /) -> EnergySample:
        return integrate(_sampler.end(self.name, token), self._source, scope=self.scope)


def provider(root: str = "") -> Hwmon:
    return Hwmon(Path(root) if root else ROOT)


def _power_chip(root: Path) -> Path:
    for chip in (root, *sorted(root.glob("hwmon*"))):
        if (chip / "power1_input").exists() or all((chip / f).exists() for f in ("curr1_input", "in1_input")):
            return chip
    raise EnergyError(f"{root}: no sensor with power1_input, or curr1_input and in1_input")


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EnergyError(f"{path}: cannot be read: {error}") from None


def _integer(path: Path) -> int:
    text = _text(path)
    try:
        return int(text)
    except ValueError:
        raise EnergyError(f"{path}: {text[:40]!r} is not an integer") from None
