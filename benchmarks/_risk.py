"""Errors that are not equal, which no gradient of a head knows of: noise, and some classes must not be missed.

A missed coat or shirt costs 10, any other error 1. Decisions by least expected cost need probabilities that hold on the
device: `solve` takes them from its leave-one-out scores. Figures: mean cost, and F1 as the mean over the classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from edgeq._native.tune import decide
from edgeq.tune import Wishes

from . import _digits, _picture_cases
from ._adaptation import Array, Case, Subject, accuracy, learn, scores
from ._cells import Cells, Figures, mean_and_error
from ._digit_tables import digits_case
from .harness import Options

DEAR = {"fashion": (4, 6), "digits": (3, 8)}  # coat and shirt; 3 and 8
TIMES = 10


def table(options: Options, cells: Cells) -> Table:
    rows = {}
    for world, cases in (("fashion", _pictures(options)), ("digits", _digit_cases())):
        cost = _costs(DEAR[world])
        for case in cases:
            for name in ("base", "head", "solve"):
                key = f"{'quick ' if options.quick else ''}risk/{case.task}/{case.group}/{case.draw}/{name}"
                figures = cells.get(key, lambda case=case, name=name, cost=cost: _measure(case, name, cost))
                rows.setdefault((world, name), {}).setdefault(case.group, []).append(figures)
    found = Table(title=f"risk: a missed one of {DEAR} costs {TIMES}", title_justify="left")
    for heading in ("world", "method", "accuracy", "F1", "cost of argmax", "cost of the decision", "s.e."):
        found.add_column(heading, justify="left" if heading in ("world", "method") else "right")
    for (world, name), groups in rows.items():
        mean = {k: mean_and_error([[f[k] for f in g] for g in groups.values()]) for k in _FIGURES}
        found.add_row(world, name, *(f"{mean[k][0]:.3f}" for k in _FIGURES), f"{mean['decided'][1]:.3f}")
    return found


_FIGURES = ("accuracy", "f1", "cost", "decided")


def _pictures(options: Options) -> Sequence[Case]:
    return [case for case in _picture_cases.fashion(options) if case.task.startswith("fashion, noisy")]


def _digit_cases() -> Sequence[Case]:
    nets = [("mlp", bits, seed) for bits in ("tern", "bin", "w4") for seed in _digits.SEEDS]
    return [digits_case(*net, "noise", _digits.LEARN) for net in nets]


def _costs(dear: tuple[int, ...]) -> Array:
    cost = 1 - np.eye(10, dtype=np.float32)
    cost[list(dear)] *= TIMES
    return cost


def _measure(case: Case, name: str, cost: Array) -> Figures:
    subject = case.subject()
    logits = _logits(case, subject, name, cost)
    plain, wise = decide(logits), decide(logits, cost)
    return {
        "accuracy": accuracy(logits, case.labels),
        "f1": _f1(plain, case.labels),
        "cost": float(cost[case.labels, plain].mean()),
        "decided": float(cost[case.labels, wise].mean()),
    }


def _logits(case: Case, subject: Subject, name: str, cost: Array) -> Array:
    if name == "base":
        return scores(subject, None, case.test)
    wishes = Wishes("head", flags=("unguarded",)) if name == "head" else Wishes("solve", flags=("unguarded",))
    return scores(subject, learn(subject, case.learn_from, wishes, cost).delta, case.test)


def _f1(said: Array, labels: Array) -> float:
    """Mean over the classes."""
    found = []
    for c in range(10):
        hits = ((said == c) & (labels == c)).sum()
        found.append(2 * hits / max(1, (said == c).sum() + (labels == c).sum()))
    return float(np.mean(found))
