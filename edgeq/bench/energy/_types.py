"""What every energy provider gives, and the integral that sampled sensors share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from edgeq._errors import EnergyError

MIN_SAMPLES = 10
GAP = 5.0  # mean sample periods; a longer one has lost samples
MOST_LOST = 0.5  # of a window; with more of it unseen nothing was measured
Kind = Literal["measured", "estimated"]
Scope = Literal["rail", "package", "device", "model"]
Watches = Literal["host", "phone", "wire"]
Point = tuple[float, float]


@dataclass(frozen=True)
class EnergySample:
    """Energy of one window.

    joules              over the whole window, idle power included
    uncertainty         half width, joules, as far as it is known
    source              sensor or formula, in words
    idle_w              power of the same sensor without the load; None when it was not taken
    idle_uncertainty_w  half width of that
    pulses              of a marker, over which joules and seconds are summed; None: the whole window counts
    kind, scope         what every number of energy carries
    """

    joules: float
    seconds: float
    avg_w: float
    n_samples: int
    uncertainty: float
    source: str
    idle_w: float | None = None
    idle_uncertainty_w: float = 0.0
    pulses: int | None = None
    kind: Kind = field(kw_only=True)
    scope: Scope = field(kw_only=True)

    @property
    def net_joules(self) -> float | None:
        """What the load added; None without an idle baseline."""
        return None if self.idle_w is None else self.joules - self.idle_w * self.seconds

    @property
    def net_uncertainty(self) -> float:
        """Half width of `net_joules`: the window's and the baseline's, which are independent."""
        return float(np.hypot(self.uncertainty, self.idle_uncertainty_w * self.seconds))


class EnergyProvider(Protocol):
    """A sensor (kind "measured") or a formula (kind "estimated"), and what it covers (scope).

    watches   "host": the machine we sit at; "phone": the one behind adb; "wire": whatever it is wired to
    window_s  the shortest window worth opening
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def scope(self) -> Scope: ...

    @property
    def watches(self) -> Watches: ...

    @property
    def window_s(self) -> float: ...

    def start(self) -> object:
        """Open the window; the token goes to `stop`."""

    def stop(self, token: object, /) -> EnergySample:
        """Close the window; EnergyError when the sensor failed in between or the window was too short."""


@runtime_checkable
class Marked(Protocol):
    """A provider whose window a marker may narrow to its pulses: there are none while nothing runs."""

    def stop_idle(self, token: object, /) -> EnergySample:
        """The whole window, whatever the marker does."""


def integrate(points: Sequence[Point], source: str, *, kind: Kind = "measured", scope: Scope) -> EnergySample:
    """Trapezoid over (seconds, watts) with the time stamps as they came, no constant rate assumed.

    The uncertainty is the energy of one mean sample period, because where the window's edges fall is not known better,
    and for every gap where samples were lost the spread of the power times the gap.
    raises  EnergyError below 10 samples, when time does not advance, or when more than half of the window was lost
    """
    if len(points) < MIN_SAMPLES:
        raise EnergyError(f"{source}: {len(points)} samples in the window, at least {MIN_SAMPLES} needed; run longer")
    t, w = np.asarray(points, dtype=np.float64).T
    if not (np.isfinite(t).all() and np.isfinite(w).all()):
        raise EnergyError(f"{source}: sample {int(np.flatnonzero(~np.isfinite(t + w))[0])} is not a number")
    steps = np.diff(t)
    if (back := np.flatnonzero(steps < 0)).size:
        i = int(back[0])
        raise EnergyError(f"{source}: time stamps go back from {t[i]} s to {t[i + 1]} s")
    seconds = float(t[-1] - t[0])
    if seconds <= 0:
        raise EnergyError(f"{source}: all {len(points)} samples have one time stamp")
    lost = float(steps[steps > GAP * np.median(steps)].sum())
    if lost > MOST_LOST * seconds:
        raise EnergyError(f"{source}: no samples for {lost:.3g} of {seconds:.3g} s; nothing was measured")
    joules = float((steps * (w[1:] + w[:-1])).sum() / 2)
    half = abs(joules) / (len(points) - 1) + lost * float(w.std())
    said = source if lost == 0 else f"{source} ({1e3 * lost:.3g} ms of it without samples)"
    return EnergySample(joules, seconds, joules / seconds, len(points), half, said, kind=kind, scope=scope)


def clip(points: Sequence[Point], start: float, end: float) -> list[Point]:
    """The part between two times, with interpolated samples at its edges.

    raises  EnergyError when the window is empty or reaches beyond the samples
    """
    if not points or not points[0][0] <= start < end <= points[-1][0]:
        span = f"{points[0][0]:g} to {points[-1][0]:g} s" if points else "nothing"
        raise EnergyError(f"a window from {start:g} to {end:g} s, but the samples hold {span}")
    t, w = np.asarray(points, dtype=np.float64).T
    inside = [(float(a), float(b)) for a, b in zip(t, w, strict=True) if start < a < end]
    first, last = np.interp((start, end), t, w)
    return [(start, float(first)), *inside, (end, float(last))]


def windows(levels: Sequence[tuple[float, bool]]) -> list[tuple[float, float]]:
    """When a marker (a pin that is high during each inference) was high: (start, end) of every complete pulse.

    levels  the marker at each sample's time, in order; a pulse that had begun before or did not end is left out
    """
    found, begun = [], None
    for (_, before), (at, now) in pairwise(levels):
        if now and not before:
            begun = at
        elif before and not now and begun is not None:
            found.append((begun, at))
            begun = None
    return found
