"""Heads that the product does not have, over its kernels' activations: controls of the specification's tables.

  stepped  the steps of the `head` tier on every sample, the last state kept, over the last layer or all taps. The
           product's `head` holds a fifth of the samples back (ten at least) to tell whether it helps; what that costs
           with few samples is the difference between the two
  ridge    one solve in float64 (`finetune_closed_form.md` 3 to 5) over blocks of features that the product lacks
  kernel   ridge with a quadratic kernel over the taps
  means    the nearest mean of a class, for a class that the base does not know
  taught   the product's solve for such a class, over other features or without its balance

Each gives what predicts: inputs (n, ...) -> logits (n, classes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import nn

from edgeq._native.tune_types import Delta
from edgeq.tune import Wishes

from ._adaptation import Array, Case, Predict, Subject, learn, outputs

Block = Literal["last", "taps", "input", "random"]
Control = Callable[[Case], Predict]

RATE, BIAS_RATE, BATCH = 0.1, 0.01, 64  # `finetune_closed_form.md` 8.2
ALL_RIDGES = tuple(10.0 ** np.arange(-4, 2.01, 0.5))
FEW_RIDGES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
EVERY = float("inf")  # the base's samples count as many as they are
COLUMNS, CLAMP = 256, 0.999


def stepped(
    case: Case,
    *,
    over: Literal["last", "taps"] = "last",
    statistics: bool = False,
    steps: int | None = None,
    rate: float = RATE,
    with_base: bool = False,
) -> Predict:
    """Adam in units of the head's codes, cosine, from the base's head.

    with_base  the base's own data, too, and every sample so often that they are 100: what no device has
    """
    subject = case.subject()
    model, delta = subject.tune_model(), _statistics(case) if statistics else None
    seen = _scaled(subject, delta, over)
    x, y = seen(_inputs(case)), _labels(case)
    if with_base:
        repeated = max(1, 100 // len(x))
        x0, y0 = _known(case)
        x, y = np.concatenate([seen(x0), np.repeat(x, repeated, 0)]), np.concatenate([y0, np.repeat(y, repeated)])
    unit, spread = torch.from_numpy(model.head_scale)[:, None], model.head_sigma
    start = torch.from_numpy(model.head_weight) / unit
    codes = nn.Parameter(nn.functional.pad(start, (x.shape[1] - start.shape[1], 0)))
    bias = nn.Parameter(torch.from_numpy(model.head_bias) / spread)
    optimiser = torch.optim.Adam([{"params": codes, "lr": rate}, {"params": bias, "lr": BIAS_RATE}], betas=(0.9, 0.99))
    count = steps or (500 if len(x) < 100 else 1500)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda t: 0.5 * (1 + math.cos(math.pi * t / count)))
    generator = torch.Generator().manual_seed(case.draw)
    features, labels = torch.from_numpy(x).float(), torch.from_numpy(y)
    for _ in range(count):
        rows = torch.randint(0, len(features), (min(BATCH, len(features)),), generator=generator)
        optimiser.zero_grad()
        nn.functional.cross_entropy(features[rows] @ (codes * unit).T + bias * spread, labels[rows]).backward()
        optimiser.step()
        schedule.step()
    weight, offset = (codes * unit).detach().numpy(), (bias * spread).detach().numpy()
    return lambda inputs: seen(inputs) @ weight.T + offset


def ridge(
    case: Case,
    *,
    over: Sequence[Block] = ("taps",),
    statistics: bool = False,
    base: Sequence[float] = (0.0,),
    ridges: Sequence[float] = ALL_RIDGES,
) -> Predict:
    """Least squares on one-hot labels; of the pairs the one with the least leave-one-out error (section 5).

    base    samples that the base's data count for
    ridges  of the mean of the Gram matrix's diagonal
    """
    subject = case.subject()
    plain = features(case, None, over)
    seen = features(case, _statistics(case), over) if statistics else plain
    x, y = seen(_inputs(case)), np.eye(subject.classes)[_labels(case)] - 1 / subject.classes
    inputs, labels = _known(case)
    x0, y0 = plain(inputs), np.eye(subject.classes)[labels] - 1 / subject.classes
    best, least = None, math.inf
    for count in base:
        share = min(count / len(x0), 1.0)
        values, vectors = np.linalg.eigh(x.T @ x + share * (x0.T @ x0))
        turned, wanted = x @ vectors, vectors.T @ (x.T @ y + share * (x0.T @ y0))
        for r in ridges:
            inverse = 1 / (values.clip(0) + r * values.sum() / len(values))
            leverage = (turned**2 * inverse).sum(1).clip(max=CLAMP)
            error = (((y - turned @ (inverse[:, None] * wanted)) / (1 - leverage)[:, None]) ** 2).sum()
            if error < least:
                best, least = vectors @ (inverse[:, None] * wanted), error
    assert best is not None
    weight = best
    return lambda inputs: seen(inputs) @ weight


def kernel(case: Case) -> Predict:
    """(x.x'/d + 1)^2 over the taps, in the dual; its ridge by leave-one-out."""
    seen = features(case, None, ("taps",))
    x, y = seen(_inputs(case)), np.eye(case.subject().classes)[_labels(case)] - 1 / case.subject().classes
    values, vectors = np.linalg.eigh((x @ x.T / x.shape[1] + 1) ** 2)
    best, least = None, math.inf
    for r in ALL_RIDGES:
        inverse = 1 / (values.clip(0) + 0.1 * r * values.mean())
        leverage = (vectors**2 * (values * inverse)).sum(1).clip(max=CLAMP)
        dual = vectors @ (inverse[:, None] * (vectors.T @ y))
        fitted = vectors @ ((values * inverse)[:, None] * (vectors.T @ y))
        if (error := (((y - fitted) / (1 - leverage)[:, None]) ** 2).sum()) < least:
            best, least = dual, error
    assert best is not None
    weight = best
    return lambda inputs: (seen(inputs) @ x.T / x.shape[1] + 1) ** 2 @ weight


def means(case: Case) -> Predict:
    """Over the last layer; the base's classes have the means of its own data."""
    seen = _scaled(case.subject(), None, "last")
    x0, y0 = _known(case)
    x, y = np.concatenate([seen(x0), seen(_inputs(case))]), np.concatenate([y0, _labels(case)])
    centres = np.stack([x[y == c].mean(0) for c in range(case.subject().classes)])
    return lambda inputs: -((seen(inputs)[:, None] - centres) ** 2).sum(2)


def taught(case: Case, *, over: Sequence[Block], balanced: bool) -> Predict:
    """One new class, all of it as heavy as each of the others (balanced), or as many as its samples are; ridge 1e-3."""
    classes = case.subject().classes
    seen = features(case, None, over)
    x0, y0 = _known(case)
    x, y = np.concatenate([seen(x0), seen(_inputs(case))]), np.concatenate([y0, _labels(case)])
    each = len(x0) / (classes - 1) / len(_labels(case)) if balanced else 1.0
    weighed = x * np.where(y == classes - 1, each, 1.0)[:, None]
    gram = weighed.T @ x
    penalty = 1e-3 * np.trace(gram) / len(gram) * np.eye(len(gram))
    weight = np.linalg.solve(gram + penalty, weighed.T @ np.eye(classes)[y])
    return lambda inputs: seen(inputs) @ weight


def features(case: Case, delta: Delta | None, blocks: Sequence[Block]) -> Callable[[Array], Array]:
    """Blocks over their root mean squares on the base's data, and 1: float64 (n, d)."""
    wide = "taps" if "taps" in blocks or "random" in blocks else "last"
    seen = _scaled(case.subject(), delta, wide)
    layout, base = case.subject().tuning.layout, case.subject().tuning.base
    assert base is not None
    unit, level = float(base.rms[-1]), float(np.sqrt((_known(case)[0].astype(np.float64) ** 2).mean()))
    width = layout.taps[-1].width if wide == "last" else layout.width
    signs = np.where(np.random.default_rng(5).random((width + 1, COLUMNS)) < 0.5, -1, 1) / np.sqrt(width + 1)

    def of(inputs: Array) -> Array:
        ones = np.ones((len(inputs), 1))
        found = [] if blocks == ("input",) else [seen(inputs).astype(np.float64) / unit]
        if "input" in blocks:
            found.append(inputs.reshape(len(inputs), -1) / level)
        if "random" in blocks:
            found.append(np.maximum(np.concatenate([found[0], ones], 1) @ signs, 0))
        return np.concatenate([*found, ones], 1)

    return of


def _scaled(subject: Subject, delta: Delta | None, over: Literal["last", "taps"]) -> Callable[[Array], Array]:
    """The last tap, or all of them as large as the last one is on the base's data."""
    layout, base = subject.tuning.layout, subject.tuning.base
    assert base is not None
    factors = np.repeat(base.rms[-1] / base.rms, [tap.width for tap in layout.taps])
    first = layout.taps[-1].offset if over == "last" else 0

    def seen(inputs: Array) -> Array:
        taps: Array = (outputs(subject, delta, inputs).taps * factors)[:, first:]
        return taps

    return seen


def _statistics(case: Case) -> Delta:
    wishes = Wishes("stats", flags=("unguarded",), changes={"micro": 64}, seed=case.draw + 1)
    found = learn(case.subject(), replace(case.learn_from, labels=None), wishes).delta
    assert found is not None
    return found


def _known(case: Case) -> tuple[Array, Array]:
    assert case.known is not None
    return case.known()


def _inputs(case: Case) -> Array:
    (inputs,) = case.learn_from.inputs
    return inputs


def _labels(case: Case) -> Array:
    return np.asarray(case.learn_from.labels, np.int64)
