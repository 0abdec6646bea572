"""Power of a rail from a Linux hwmon sensor (ina2xx, ina3221 and similar on boards).

A chip folder /sys/class/hwmon/hwmonN has `name` and either power1_input (uW) or curr1_input (mA) with
in1_input (mV). Scope is the rail: whatever else the rail feeds is in the number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeq._errors import EnergyError
from edgeq.bench.energy._types import EnergySample, integrate

ROOT = Path("/sys/class/hwmon")
PERIOD_S = 0.01


@dataclass
class _Window:
    """Samples that a thread takes until `done` is set; `failed` holds what stopped it early."""

    done: threading.Event = field(default_factory=threading.Event)
    points: list[tuple[float, float]] = field(default_factory=list)
    failed: EnergyError | None = None
    thread: threading.Thread | None = None


class Hwmon:
    """The first chip under `root` that reports power."""

    name = "hwmon"
    kind: Literal["measured"] = "measured"
    scope: Literal["rail"] = "rail"

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

    def start(self) -> _Window:
        window = _Window()
        window.thread = threading.Thread(target=self._sample, args=(window,), name="edgeq-hwmon", daemon=True)
        window.thread.start()
        return window

    def stop(self, token: object, /) -> EnergySample:
        if not isinstance(token, _Window) or token.thread is None:
            raise EnergyError(f"hwmon: not a token of start(): {token!r}")
        token.done.set()
        token.thread.join()
        if token.failed is not None:
            raise token.failed
        return integrate(token.points, self._source)

    def _sample(self, window: _Window) -> None:
        try:
            window.points.append((self._clock(), self.read_w()))
            while not window.done.wait(self._period_s):
                window.points.append((self._clock(), self.read_w()))
        except EnergyError as error:
            window.failed = error


def provider() -> Hwmon:
    return Hwmon()


def _power_chip(root: Path) -> Path:
    for chip in sorted(root.glob("hwmon*")):
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
