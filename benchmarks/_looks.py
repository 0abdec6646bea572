"""The input put right before the network sees it: a picture turned back, or made positive again.

No parameter within the network undoes what a turned or inverted sensor does; the input does. Which of a few corrections
it takes, the base itself tells by forward passes alone: each is tried on some labelled samples, and the one with the
most hits is kept if it has clearly more of them than the input as it is, and than luck. What was learned without it is
then learned with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from edgeq.datasets import shifts
from edgeq.tune import Samples

from ._adaptation import Array, Case, accuracy, scores

INPUT = "input, auto"  # the method's name
TURNS = (0, -15, 15, -30, 30, -45, 45)  # degrees; the first of equals is taken
TRIED = 50  # samples at most
MARGIN = 0.1  # of them; two standard errors and more
AS_IT_IS = "as it is"


def corrections() -> Mapping[str, Callable[[Array], Array]]:
    """Of pictures (n, h, w) bytes, by name."""

    def correction(degrees: int, inverted: bool) -> Callable[[Array], Array]:
        def correct(x: Array) -> Array:
            x = shifts.inverted(x) if inverted else x
            return shifts.rotated(x, degrees=degrees) if degrees else x

        return correct

    def name(degrees: int, inverted: bool) -> str:
        parts = [*(["inverted"] if inverted else []), *([f"turned by {degrees}"] if degrees else [])]
        return ", ".join(parts) or AS_IT_IS

    return {name(d, inverted): correction(d, inverted) for inverted in (False, True) for d in TURNS}


def luck(labels: Array) -> float:
    """Hits of always saying the commonest label, and three standard errors: below it a network knows nothing."""
    share = float(np.bincount(labels).max()) / len(labels)
    return share + 3 * float(np.sqrt(share * (1 - share) / len(labels)))


def corrected(case: Case) -> tuple[Case, float]:
    """The case as seen through the correction that its samples prefer, and passes a sample that finding it took."""
    subject, samples, raw = case.subject(), case.learn_from, case.raw
    assert raw is not None and samples.labels is not None
    some = np.random.default_rng(1).permutation(len(samples))[:TRIED]
    looks = corrections()
    hits = {
        name: accuracy(scores(subject, None, raw.network(look(raw.learn_from[some]))), samples.labels[some])
        for name, look in looks.items()
    }
    best = max(hits, key=lambda name: hits[name])
    if hits[best] < max(hits[AS_IT_IS] + MARGIN, luck(samples.labels[some])):
        best = AS_IT_IS
    learnt, tested = (raw.network(looks[best](x)) for x in (raw.learn_from, raw.test))
    seen = replace(case, learn_from=Samples((learnt,), samples.labels, best), test=tested)
    return seen, len(some) * len(looks) / len(samples)
