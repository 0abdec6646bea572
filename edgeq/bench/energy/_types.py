"""What every energy provider gives, and the integral that sampled sensors share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

from edgeq._errors import EnergyError

MIN_SAMPLES = 10
Kind = Literal["measured", "estimated"]
Scope = Literal["rail", "package", "device", "model"]


@dataclass(frozen=True)
class EnergySample:
    """Energy of one window.

    joules       over the whole window, idle power included
    uncertainty  half width, joules, as far as it is known
    source       sensor or formula, in words
    idle_w       power of the same sensor without the load; None when it was not taken
    """

    joules: float
    seconds: float
    avg_w: float
    n_samples: int
    uncertainty: float
    source: str
    idle_w: float | None = None

    @property
    def net_joules(self) -> float | None:
        """What the load added; None without an idle baseline."""
        return None if self.idle_w is None else self.joules - self.idle_w * self.seconds


class EnergyProvider(Protocol):
    """A sensor (kind "measured") or a formula (kind "estimated"), and what it covers (scope)."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def scope(self) -> Scope: ...

    def start(self) -> object:
        """Open the window; the token goes to `stop`."""

    def stop(self, token: object, /) -> EnergySample:
        """Close the window; EnergyError when the sensor failed in between or the window was too short."""


def integrate(points: Sequence[tuple[float, float]], source: str) -> EnergySample:
    """Trapezoid over (seconds, watts) with the time stamps as they came, no constant rate assumed.

    The uncertainty is the energy of one mean sample period: where the window's edges fall is not known better.
    raises  EnergyError below 10 samples, or when time does not advance
    """
    if len(points) < MIN_SAMPLES:
        raise EnergyError(f"{source}: {len(points)} samples in the window, at least {MIN_SAMPLES} needed; run longer")
    joules = 0.0
    for (t0, w0), (t1, w1) in pairwise(points):
        if t1 < t0:
            raise EnergyError(f"{source}: time stamps go back from {t0} s to {t1} s")
        joules += (t1 - t0) * (w0 + w1) / 2
    seconds = points[-1][0] - points[0][0]
    if seconds <= 0:
        raise EnergyError(f"{source}: all {len(points)} samples have one time stamp")
    return EnergySample(joules, seconds, joules / seconds, len(points), joules / (len(points) - 1), source)
