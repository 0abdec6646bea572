"""Latency from raw timings: quantiles, a bootstrap interval for the median, outliers, and the machine's load.

The protocol (dashboard.md, section 7): at least 3 warm-up runs that are thrown away, then at least 20 timed runs
in one process, every raw sample kept. The clock is the device's own monotonic one. No timing is ever removed:
those far above the rest are counted, and many of them are a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq._errors import UsageError

WARMUP = 10
RUNS = 100
MIN_WARMUP = 3
MIN_RUNS = 20
BUSY_SHARE = 0.2  # of all cores; above it a timing is somebody else's too
OUTLIER_SHARE = 0.05  # of the timings; more of them were not made by the model
_FAR = 5.0  # standard deviations, by the median absolute deviation
_LEAST_SPREAD = 2e-3  # of the median: timings that repeat to this are equal
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
    outliers: int = 0


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
    medians = bootstrap_medians(ns, np.random.default_rng(seed))
    low, high = np.quantile(medians, (0.025, 0.975)) / 1e6
    return Latency(
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        min_ms=float(ns.min() / 1e6),
        p50_low_ms=float(low),
        p50_high_ms=float(high),
        n=int(ns.size),
        warmup=warmup,
        outliers=int((ns > outlier_limit(ns)).sum()),
    )


def outlier_limit(ns: np.ndarray[Any, Any]) -> float:
    """The timing above which one is called an outlier: 5 standard deviations of the bulk above the median."""
    median = float(np.median(ns))
    return median + _FAR * max(spread(ns), _LEAST_SPREAD * median)


def spread(ns: np.ndarray[Any, Any]) -> float:
    """Standard deviation of the bulk: 1.4826 times the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(ns - np.median(ns))))


def outlier_warning(found: Latency) -> str | None:
    """What to say about many outliers, or None."""
    if found.outliers <= OUTLIER_SHARE * found.n:
        return None
    return (
        f"{found.outliers} of {found.n} timings lie far above the rest: something else ran meanwhile; "
        "quantiles above the median are not the model's"
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


def bootstrap_medians(ns: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Medians of resamples in circular blocks of n ** (1/3) neighbours, for timings that follow each other resemble.

    source  Efron 1979; Politis and Romano 1992 for the blocks
    """
    n = ns.size
    length = max(1, round(n ** (1 / 3)))
    pieces, offsets = -(-n // length), np.arange(length)
    rows = max(1, _CHUNK // (pieces * length))
    medians = []
    for done in range(0, _RESAMPLES, rows):
        starts = rng.integers(0, n, (min(rows, _RESAMPLES - done), pieces, 1))
        drawn = ((starts + offsets) % n).reshape(len(starts), -1)[:, :n]
        medians.append(np.median(ns[drawn], axis=1))
    return np.concatenate(medians)
