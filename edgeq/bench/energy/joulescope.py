"""Energy of a rail from a Joulescope (JS110, JS220), through its own library `joulescope`.

The instrument is read in pieces of 0.1 s; each piece is cut into 10 points of (time, mean of current times voltage).
Between two pieces the line is down for a moment: that is a gap, and widens the uncertainty.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np

from edgeq._errors import EnergyError
from edgeq.bench.energy import _sampler
from edgeq.bench.energy._types import EnergySample, Point, integrate

PIECE_S = 0.1
POINTS = 10  # of a piece


class Instrument(Protocol):
    """What of `joulescope.Device` is used."""

    def open(self) -> object: ...
    def close(self) -> object: ...
    def parameter_set(self, name: str, value: str) -> object: ...
    def read(self, *, contiguous_duration: float) -> np.ndarray[Any, Any]:
        """(n, 2) current in A and voltage in V of that many seconds; lost samples are NaN."""


class Joulescope:
    """An open instrument."""

    name = "joulescope"
    kind: Literal["measured"] = "measured"
    scope: Literal["rail"] = "rail"
    watches: Literal["wire"] = "wire"
    window_s = 2.0

    def __init__(self, instrument: Instrument, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._instrument, self._clock = instrument, clock
        instrument.open()
        instrument.parameter_set("i_range", "auto")
        instrument.parameter_set("sensor_power", "on")

    def start(self) -> _sampler.Window:
        return _sampler.begin(self.name, self._read, 0.0, (OSError, RuntimeError))

    def stop(self, token: object, /) -> EnergySample:
        return integrate(_sampler.end(self.name, token), "Joulescope", scope=self.scope)

    def close(self) -> None:
        self._instrument.close()

    def _read(self) -> list[Point]:
        data = np.asarray(self._instrument.read(contiguous_duration=PIECE_S), dtype=np.float64)
        return condense(data, self._clock())


def condense(data: np.ndarray[Any, Any], end_s: float) -> list[Point]:
    """Mean power of each tenth of a piece that ended at end_s; a tenth in which every sample was lost is left out.

    data  (n, 2) current and voltage, n a tenth of a second
    """
    if data.ndim != 2 or data.shape[1] != 2 or len(data) < POINTS:
        raise EnergyError(f"joulescope: gave {data.shape} instead of (n, 2) current and voltage")
    parts = np.array_split(data[:, 0] * data[:, 1], POINTS)
    step = PIECE_S / POINTS
    found = []
    for i, part in enumerate(parts):
        seen = part[np.isfinite(part)]
        if seen.size:
            found.append((end_s - PIECE_S + (i + 0.5) * step, float(seen.mean())))
    return found


def provider() -> Joulescope:
    try:
        from joulescope import scan_require_one
    except ImportError:
        raise EnergyError("joulescope: its library is not installed: pip install joulescope") from None
    try:
        return Joulescope(scan_require_one(config="auto"))
    except (OSError, RuntimeError) as error:
        raise EnergyError(f"joulescope: no instrument answers: {error}") from None
