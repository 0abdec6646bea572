"""A run stops before it empties a battery or heats a device; the same command goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edgeq._errors import UnsupportedError
from edgeq.device import Condition

EVERY_S = 10.0  # between two looks: asking a board takes a shell


@dataclass(frozen=True)
class Limits:
    """battery: percent, below which a device that is not being charged stops; celsius: above which; None: whatever."""

    battery: float | None = None
    celsius: float | None = None

    def check(self, url: str, now: Condition | None) -> None:
        """raises  UnsupportedError for a device that does not tell what is to be watched"""
        now = now or Condition()
        if self.battery is not None and now.battery_percent is None:
            raise UnsupportedError(f"{url}: tells of no battery; learn without --min-battery")
        if self.celsius is not None and now.temperature_c is None:
            raise UnsupportedError(f"{url}: tells no temperature; learn without --max-celsius")

    def passed(self, now: Condition) -> str:
        """Which limit is passed; empty: none."""
        charge, heat = now.battery_percent, now.temperature_c
        if self.battery is not None and charge is not None and charge < self.battery and not now.charging:
            return f"battery at {charge:g} %, below {self.battery:g}"
        if self.celsius is not None and heat is not None and heat > self.celsius:
            return f"{heat:.0f} degrees, above {self.celsius:g}"
        return ""


class Care:
    """Looks at a device every now and then, and stops its run when a limit is passed: `why` says which."""

    def __init__(
        self,
        limits: Limits,
        ask: Callable[[], Condition | None],
        stop: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.why = ""
        self._limits, self._ask, self._stop, self._clock = limits, ask, stop, clock
        self._next = clock()

    def look(self) -> None:
        if self.why or self._limits == Limits() or self._clock() < self._next:
            return
        self._next = self._clock() + EVERY_S
        self.why = self._limits.passed(self._ask() or Condition())
        if self.why:
            self._stop()
