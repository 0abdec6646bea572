"""Is B slower than A? Ratios with intervals, a significance, and a verdict that does not claim more than it can.

Two ways to the ratio of times B / A:

paired   rounds of A and B in turn on one device in one process, each round with both loaded anew. Drift, clock and
         placement in memory meet both alike; each round gives one log ratio. Estimate, interval and significance are
         those of the signed-rank test (Wilcoxon 1945; Hodges and Lehmann 1963 for the estimate): exact when the order
         within a round is drawn by lot, and one disturbed round moves none of them far.
samples  two stored runs, each resampled in blocks (latency.bootstrap_medians). What differs between the two
         occasions besides the model is in the ratio, and nobody can tell it apart.

A difference is called only if it is significant at 1 %, and the estimate is at least the margin of 2 %: significance
alone calls trifles, and 1 in 20 pairs of equal things at 5 % (T. Kalibera and R. Jones, ISMM 2013: give the size of an
effect with its interval). What could have been missed stands beside "no difference".
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
SIGNIFICANCE = 0.01
MARGIN = 0.02
MIN_ROUNDS = 8
_TAILS = (SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2)


@dataclass(frozen=True)
class Ratio:
    """B / A with its 99 % interval. p: how often chance alone does this; margin: what would not be worth a word."""

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
        span = f"B / A = {self.value:.3f}, 99 %: {self.low:.3f} to {self.high:.3f}, p = {self.p:.2g}"
        if self.differs:
            change = 100 * abs(self.value - 1)
            return f"{what} is {self.verdict} by {change:.1f} % ({span})"
        unseen = 100 * max(self.high - 1, 1 - self.low, self.margin)
        return f"no difference ({span}; one below {unseen:.1f} % would not have been seen)"


def paired(log_ratios: Sequence[float], *, margin: float = MARGIN) -> Ratio:
    """From one log of B / A a round: the median of all means of two rounds, and the signed-rank test turned inside out.

    raises  UsageError below 8 rounds: with 7 no pattern of signs is rarer than 1 in 64
    """
    d = np.asarray(log_ratios, dtype=np.float64)
    if d.ndim != 1 or d.size < MIN_ROUNDS or not np.isfinite(d).all():
        raise UsageError(f"a comparison needs at least {MIN_ROUNDS} rounds with finite ratios, got {d.size}")
    i, j = np.triu_indices(d.size)
    means = np.sort((d[i] + d[j]) / 2)
    below = np.cumsum(_rank_sums(np.arange(1, d.size + 1)))
    k = int((below <= _TAILS[0] * (1 + 1e-9)).sum())  # the means outside, at each end
    low, value, high = (float(x) for x in np.exp([means[k - 1], np.median(means), means[-k]]))
    return Ratio(value, low, high, _signed_rank_p(d), margin)


def samples(a_ns: Sequence[int], b_ns: Sequence[int], *, margin: float = MARGIN, seed: int = 0) -> Ratio:
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
    low, high = np.exp(np.quantile(logs, _TAILS))
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


def _signed_rank_p(d: Array) -> float:
    """How often signs drawn by lot put the sum of ranks at least as far from its middle; ranks of ties are shared."""
    _, place, count = np.unique(np.abs(d), return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(count) - count + 1)[place]  # twice the mean rank: an integer
    ranks = doubled[d != 0]  # rounds without a difference take their ranks with them (Pratt 1959)
    sums = _rank_sums(ranks)
    middle = ranks.sum() / 2
    far = np.abs(np.arange(sums.size) - middle) >= abs(doubled[d > 0].sum() - middle)
    return float(min(1.0, sums[far].sum()))


def _rank_sums(ranks: Array) -> Array:
    """Distribution of the sum of the positive ranks when each sign is a fair coin: share of 0, 1, .. sum of all."""
    shares = np.zeros(int(ranks.sum()) + 1)
    shares[0] = 1.0
    for rank in ranks:
        moved = np.zeros_like(shares)
        moved[rank:] = shares[: shares.size - rank]
        shares = (shares + moved) / 2
    return shares
