"""Is B slower than A? Ratios with intervals, a significance, and a verdict that does not claim more than it can.

Two ways to the ratio of times B / A:

paired   rounds of A and B in turn on one device in one process, each round with both loaded anew. Drift, clock and
         placement in memory meet both alike; each round gives one log ratio. The significance is that of a sign-flip
         test (Fisher 1935): over every choice of signs, how often is the mean as far from 0 as the one that was seen?
samples  two stored runs, each resampled in blocks (latency.bootstrap_medians). What differs between the two
         occasions besides the model is in the ratio, and nobody can tell it apart.

A difference is called only if it is significant at 5 % and at least as large as the margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edgeq._errors import UsageError
from edgeq.bench import latency
from edgeq.bench.accuracy import wilson

Array = np.ndarray[Any, Any]
SIGNIFICANCE = 0.05
PAIRED_MARGIN, SAMPLES_MARGIN = 0.01, 0.02
MIN_ROUNDS, MAX_EXACT_ROUNDS = 6, 16
_RESAMPLES = 2000


@dataclass(frozen=True)
class Ratio:
    """B / A with its 95 % interval. p: how often chance alone does this; margin: what would not be worth a word."""

    value: float
    low: float
    high: float
    p: float
    margin: float

    @property
    def differs(self) -> bool:
        return self.p < SIGNIFICANCE and abs(self.value - 1) >= self.margin

    @property
    def verdict(self) -> Literal["slower", "faster", "no difference"]:
        if not self.differs:
            return "no difference"
        return "slower" if self.value > 1 else "faster"

    def line(self, what: str = "B") -> str:
        """One line for people: the verdict, the ratio, and what could have been missed."""
        span = f"B / A = {self.value:.3f}, 95 %: {self.low:.3f} to {self.high:.3f}, p = {self.p:.2g}"
        if self.differs:
            change = 100 * abs(self.value - 1)
            return f"{what} is {self.verdict} by {change:.1f} % ({span})"
        unseen = 100 * max(self.high - 1, 1 - self.low, self.margin)
        return f"no difference ({span}; one below {unseen:.1f} % would not have been seen)"


def paired(log_ratios: Sequence[float], *, margin: float = PAIRED_MARGIN, seed: int = 0) -> Ratio:
    """From one log of B / A a round.

    raises  UsageError below 6 rounds: with 5 no pattern of signs is rarer than 1 in 16
    """
    d = np.asarray(log_ratios, dtype=np.float64)
    if d.ndim != 1 or d.size < MIN_ROUNDS or not np.isfinite(d).all():
        raise UsageError(f"a comparison needs at least {MIN_ROUNDS} rounds with finite ratios, got {d.size}")
    rng = np.random.default_rng(seed)
    means = d[rng.integers(0, d.size, (_RESAMPLES, d.size))].mean(axis=1)
    low, high = np.exp(np.quantile(means, (0.025, 0.975)))
    return Ratio(float(np.exp(d.mean())), float(low), float(high), _sign_flip_p(d, rng), margin)


def samples(a_ns: Sequence[int], b_ns: Sequence[int], *, margin: float = SAMPLES_MARGIN, seed: int = 0) -> Ratio:
    """From the raw timings of two runs.

    raises  UsageError when one has fewer than 20, or one that is not positive
    """
    timings = [np.asarray(ns, dtype=np.float64) for ns in (a_ns, b_ns)]
    for name, ns in zip("AB", timings, strict=True):
        if ns.ndim != 1 or ns.size < latency.MIN_RUNS or not (np.isfinite(ns).all() and ns.min() > 0):
            raise UsageError(f"{name} has {ns.size} timings; a comparison needs at least {latency.MIN_RUNS} above 0")
    rng = np.random.default_rng(seed)
    drawn = [np.log(latency.bootstrap_medians(ns, rng)) for ns in timings]
    logs = drawn[1] - drawn[0]
    low, high = np.exp(np.quantile(logs, (0.025, 0.975)))
    tail = min(float((logs <= 0).mean()), float((logs >= 0).mean()))
    value = float(np.median(timings[1]) / np.median(timings[0]))
    return Ratio(value, float(low), float(high), min(1.0, 2 * max(tail, 1 / logs.size)), margin)


@dataclass(frozen=True)
class Gap:
    """Difference of two shares, B minus A, in points, with its 95 % interval."""

    points: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        return self.low > 0 or self.high < 0

    def line(self) -> str:
        span = f"{self.points:+.2f} points, 95 %: {self.low:+.2f} to {self.high:+.2f}"
        if not self.differs:
            return f"no difference in accuracy ({span})"
        return f"B is {'more' if self.points > 0 else 'less'} accurate ({span})"


def shares(correct_a: int, n_a: int, correct_b: int, n_b: int) -> Gap:
    """Two accuracies over independent items (R. G. Newcombe, Statistics in Medicine 17, 1998, method 10)."""
    pa, pb = correct_a / n_a, correct_b / n_b
    (la, ha), (lb, hb) = wilson(correct_a, n_a), wilson(correct_b, n_b)
    low = (pb - pa) - ((pb - lb) ** 2 + (ha - pa) ** 2) ** 0.5
    high = (pb - pa) + ((hb - pb) ** 2 + (pa - la) ** 2) ** 0.5
    return Gap(100 * (pb - pa), 100 * low, 100 * high)


def _sign_flip_p(d: Array, rng: np.random.Generator) -> float:
    """Share of sign patterns whose mean is at least as far from 0; all of them, or 65,536 drawn ones."""
    if d.size <= MAX_EXACT_ROUNDS:
        patterns = (np.arange(1 << d.size)[:, None] >> np.arange(d.size)) & 1
    else:
        patterns = rng.integers(0, 2, (1 << MAX_EXACT_ROUNDS, d.size))
    means = np.abs((1 - 2 * patterns) @ d)
    return float((means >= abs(d.sum()) * (1 - 1e-12)).mean())
