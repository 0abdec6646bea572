"""Top-1 accuracy from logits and labels, with Wilson's interval."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from edgeq._errors import UsageError

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution


@dataclass(frozen=True)
class Accuracy:
    """`correct` of `n` pictures; `low`..`high` is the 95 % interval; all shares are in percent."""

    correct: int
    n: int
    top1: float
    low: float
    high: float
    not_finite: int = 0


def top1(logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> Accuracy:
    """Share of rows whose largest logit is at the label; the first one counts where several are largest.

    logits  (n, classes) float; a row that holds a NaN or an infinity counts as wrong, and is counted
    labels  (n,) integers in 0..classes-1
    raises  UsageError naming the shape or the label that does not fit
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        raise UsageError(f"accuracy needs logits (n, classes) and labels (n,), got {logits.shape} and {labels.shape}")
    labels = labels.astype(np.int64)
    outside = np.flatnonzero((labels < 0) | (labels >= logits.shape[1]))
    if outside.size:
        first = int(outside[0])
        raise UsageError(f"label {first} is {int(labels[first])}, the model has {logits.shape[1]} classes")
    finite = np.isfinite(logits).all(axis=1)
    hit = finite & (np.where(finite[:, None], logits, 0).argmax(axis=1) == labels)
    return of(int(hit.sum()), len(labels), not_finite=int((~finite).sum()))


def of(correct: int, n: int, *, not_finite: int = 0) -> Accuracy:
    """The record for counts that a device reports itself; UsageError unless 0 <= correct <= n and n > 0."""
    if not 0 <= correct <= n or n == 0:
        raise UsageError(f"{correct} correct of {n} is not an accuracy")
    low, high = wilson(correct, n)
    return Accuracy(correct, n, 100 * correct / n, 100 * low, 100 * high, not_finite)


def wilson(correct: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Score interval of a share, 0..1 (E. B. Wilson, JASA 22, 1927)."""
    p, z2 = correct / n, z * z
    centre = p + z2 / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    return (0.0 if correct == 0 else low, 1.0 if correct == n else high)
