"""Latency from raw timings: quantiles, a bootstrap interval for the median, and a look at the machine's load.

The protocol (dashboard.md, section 7): at least 3 warm-up runs that are thrown away, then at least 20 timed runs
in one process, every raw sample kept. The clock is the device's own monotonic one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeq._errors import UsageError

WARMUP = 10
RUNS = 100
MIN_WARMUP = 3
MIN_RUNS = 20
BUSY_SHARE = 0.2  # of all cores; above it a timing is somebody else's too
_RESAMPLES = 1000
_CHUNK = 1 << 20  # samples drawn at once


@dataclass(frozen=True)
class Latency:
    """Quantiles of n timed runs, milliseconds. p50_low..p50_high is the bootstrap 95 % interval of the median."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    p50_low_ms: float
    p50_high_ms: float
    n: int
    warmup: int


def summarise(samples_ns: Sequence[int], *, warmup: int, seed: int = 0) -> Latency:
    """Quantiles of raw timings, linear between neighbours.

    samples_ns  one positive integer per timed run, nanoseconds, warm-ups not among them
    raises      UsageError when there is no sample or one is not positive
    """
    ns = np.asarray(samples_ns, dtype=np.int64)
    if ns.ndim != 1 or ns.size == 0:
        raise UsageError(f"latency needs a list of timings, got shape {ns.shape}")
    if ns.min() <= 0:
        raise UsageError(f"timing {int(ns.argmin())} is {int(ns.min())} ns; a clock that stands still measures nothing")
    p50, p90, p99 = np.quantile(ns, (0.5, 0.9, 0.99)) / 1e6
    low, high = _median_interval(ns, np.random.default_rng(seed))
    return Latency(
        float(p50), float(p90), float(p99), float(ns.min() / 1e6), low / 1e6, high / 1e6, int(ns.size), warmup
    )


def protocol_warning(*, warmup: int, runs: int) -> str | None:
    """What to say about too short a measurement, or None."""
    if runs < MIN_RUNS or warmup < MIN_WARMUP:
        return (
            f"{runs} timed runs after {warmup} warm-ups: "
            f"fewer than {MIN_RUNS} after {MIN_WARMUP} are not worth comparing"
        )
    return None


def busy_share(before: str, after: str) -> float:
    """Share of all cores' time that was not idle between two readings of /proc/stat, 0..1."""
    busy, total = (b - a for a, b in zip(_jiffies(before), _jiffies(after), strict=True))
    return busy / total if total > 0 else 0.0


def _jiffies(stat: str) -> tuple[int, int]:
    fields = stat.split("\n", 1)[0].split()
    if len(fields) < 6 or fields[0] != "cpu":
        raise UsageError(f"not a /proc/stat text: {stat[:40]!r}")
    counts = [int(field) for field in fields[1:9]]  # guest time, after these, is already inside user and nice
    return sum(counts) - counts[3] - counts[4], sum(counts)  # 3 idle, 4 waiting for input


def _median_interval(ns: np.ndarray[tuple[int], np.dtype[np.int64]], rng: np.random.Generator) -> tuple[float, float]:
    """Percentile bootstrap (Efron 1979), 95 %."""
    rows = max(1, _CHUNK // ns.size)
    counts = [min(rows, _RESAMPLES - done) for done in range(0, _RESAMPLES, rows)]
    medians = [np.median(ns[rng.integers(0, ns.size, (count, ns.size))], axis=1) for count in counts]
    low, high = np.quantile(np.concatenate(medians), (0.025, 0.975))
    return float(low), float(high)
