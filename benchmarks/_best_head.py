"""The best new head that there could be: what it misses, no head over the unchanged last layer can repair.

Logistic regression in float over the base's last hidden activations, fitted to labels that no device would have: those
of the test part itself, by five folds, each scored by a head that has seen the other four and what there was to learn
from. The strength of the ridge is the one that scores best, which favours this control.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ._adaptation import Array, Case, accuracy, hidden

FOLDS = 5
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)


def best_head(case: Case) -> Array:
    """Logits of the test part, (n, classes)."""
    subject = case.subject()
    learnt = hidden(subject, case.learn_from.inputs), np.asarray(case.learn_from.labels, np.int64)
    return crossed(hidden(subject, case.test), case.labels, learnt, subject.classes)


def crossed(x: Array, y: Array, known: tuple[Array, Array], classes: int) -> Array:
    """Logits (n, classes) for x (n, width), each by a head that was fitted without it; known: (m, width), (m,)."""
    fold = np.random.default_rng(1).permutation(len(x)) % FOLDS
    found: list[Array] = []
    for ridge in RIDGES:
        logits = np.zeros((len(x), classes), np.float32)
        for k in range(FOLDS):
            others = fold != k
            fitted = fit(np.concatenate([x[others], known[0]]), np.concatenate([y[others], known[1]]), classes, ridge)
            logits[~others] = fitted(x[~others])
        found.append(logits)
    return max(found, key=lambda logits: accuracy(logits, y))


def fit(x: Array, y: Array, classes: int, ridge: float) -> Callable[[Array], Array]:
    """Multinomial logistic regression to convergence; gives logits."""
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    features, labels = torch.from_numpy((x - mean) / deviation).float(), torch.from_numpy(y.astype(np.int64))
    weight, bias = torch.zeros(classes, x.shape[1], requires_grad=True), torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        total = nn.functional.cross_entropy(features @ weight.T + bias, labels) + ridge * weight.square().sum() / 2
        total.backward()
        return total

    optimiser.step(loss)

    def predict(asked: Array) -> Array:
        with torch.no_grad():
            found: Array = (torch.from_numpy((asked - mean) / deviation).float() @ weight.T + bias).numpy()
        return found

    return predict
