"""Timing one input again and again: temperature gate, warm-up until the times are steady, then blocks of timed runs.

Between the blocks the machine's temperature and clock are noted, and whoever watches gets the samples; REWARM untimed
runs open each block, because the pause has cooled caches and branch predictors. A simulator counts the same every time:
it is asked twice, without warm-up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgeq.bench import host
from edgeq.bench.latency import spread
from edgeq.results import Series

Array = np.ndarray[Any, Any]
COUNTED_RUNS = 2  # a simulator counts the same every time, but for one tick of its clock
BLOCKS = 10  # of timed runs
REWARM = 3  # untimed runs at the head of each
WARM_BLOCKS = 8  # at most, of as many runs as the first one
STEADY_SHARE = 0.02
MAX_TEMP_C = 37.0  # phones and boards slow down above it (dashboard.md, section 7)
WAIT_S, LOOK_S = 300.0, 5.0


class Times(Protocol):
    """What `Net.bench` gives."""

    @property
    def ticks(self) -> Sequence[int]: ...
    @property
    def peak_bytes(self) -> int: ...


class Benched(Protocol):
    """A loaded net."""

    def bench(self, inputs: Sequence[Array], *, warmup: int, runs: int) -> Times: ...


@dataclass(frozen=True)
class State:
    """Temperature and clock of the machine at one moment; None: not known."""

    temperature_c: float | None
    frequency_hz: int | None


@dataclass(frozen=True)
class Timed:
    """Raw samples with what was noted between them.

    warmup    runs that were thrown away
    warnings  lines for the reader: not steady, too warm
    """

    ticks: Sequence[int]
    peak_bytes: int
    warmup: int
    series: tuple[Series, ...]
    warnings: tuple[str, ...]


def host_state() -> State:
    """Of the machine we sit at."""
    return State(host.temperature_c(), host.frequency_hz())


def unknown_state() -> State:
    """Of a device that does not tell."""
    return State(None, None)


def time_runs(
    net: Benched,
    inputs: Sequence[Array],
    *,
    warmup: int,
    runs: int,
    state: Callable[[], State] = unknown_state,
    max_temp_c: float | None = None,
    watch: Callable[[Sequence[int]], None] = lambda ticks: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Timed:
    """Time `runs` executions of one input.

    warmup      least number of runs thrown away first; 0: none, and no look whether the times are steady
    max_temp_c  wait, WAIT_S at most, until the machine is cooler than this
    """
    warnings = [_cool_down(state, max_temp_c, sleep)]
    thrown, steady = _warm_up(net, inputs, warmup)
    if not steady:
        warnings.append(f"the times were not steady after {thrown} warm-up runs: drift is in the figures")
    start, noted, ticks, peak_bytes = clock(), [(0.0, state())], list[int](), 0
    size = max(1, -(-runs // BLOCKS))
    while len(ticks) < runs:
        timing = net.bench(inputs, warmup=min(warmup, REWARM), runs=min(size, runs - len(ticks)))
        ticks += timing.ticks
        peak_bytes = max(peak_bytes, timing.peak_bytes)
        noted.append((clock() - start, state()))
        watch(timing.ticks)
    return Timed(ticks, peak_bytes, thrown, _series(noted), tuple(text for text in warnings if text))


def count_runs(net: Benched, inputs: Sequence[Array], runs: int, watch: Callable[[Sequence[int]], None]) -> Timed:
    """The same for a device that counts instructions."""
    timing = net.bench(inputs, warmup=0, runs=min(runs, COUNTED_RUNS))
    watch(timing.ticks)
    return Timed(timing.ticks, timing.peak_bytes, 0, (), ())


def is_steady(before: Sequence[int], after: Sequence[int]) -> bool:
    """Do the medians of two consecutive blocks agree to 2 %, or as well as their spread lets one tell?"""
    a, b = np.asarray(before, float), np.asarray(after, float)
    gap = abs(float(np.median(a)) - float(np.median(b)))
    error = 1.2533 * (spread(a) ** 2 / a.size + spread(b) ** 2 / b.size) ** 0.5  # of a difference of medians
    return bool(gap <= max(STEADY_SHARE * float(np.median(b)), 2 * error))


def _warm_up(net: Benched, inputs: Sequence[Array], warmup: int) -> tuple[int, bool]:
    """Runs that were thrown away, and whether the last two blocks of them agreed."""
    if warmup == 0:
        return 0, True
    before = net.bench(inputs, warmup=0, runs=warmup).ticks
    for blocks in range(2, WARM_BLOCKS + 1):
        after = net.bench(inputs, warmup=0, runs=warmup).ticks
        if is_steady(before, after):
            return blocks * warmup, True
        before = after
    return WARM_BLOCKS * warmup, False


def _cool_down(state: Callable[[], State], max_temp_c: float | None, sleep: Callable[[float], None]) -> str:
    if max_temp_c is None:
        return ""
    for _ in range(int(WAIT_S / LOOK_S)):
        now = state().temperature_c
        if now is None:
            return f"the temperature is not known: nothing kept the run below {max_temp_c:g} degC"
        if now < max_temp_c:
            return ""
        sleep(LOOK_S)
    warm = state().temperature_c
    return f"{warm} degC after a wait of {WAIT_S:.0f} s, above {max_temp_c:g}: the times are those of a warm machine"


def _series(noted: Sequence[tuple[float, State]]) -> tuple[Series, ...]:
    warm = [(at, now.temperature_c) for at, now in noted if now.temperature_c is not None]
    clocks = [(at, float(now.frequency_hz)) for at, now in noted if now.frequency_hz is not None]
    curves = (Series("temperature", "degC", "s", "measured", warm), Series("frequency", "Hz", "s", "measured", clocks))
    return tuple(curve for curve in curves if curve.points)
