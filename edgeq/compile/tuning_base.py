"""What a tunable network was like on its training data: the point from which a device learns.

Per channel the mean and deviation before the activation (m0, s0), per tap its root mean square, and the sums behind a
least-squares head over all taps as a triangular factor, so that a device forgets nothing it never sees again. Formulas:
Bierman, Factorization Methods for Discrete Sequential Estimation, 1977, for the triangle.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeq._errors import UsageError

from .layout import PARTS, Base, Layout
from .tunable import TunableNet, base_head, layout_of

Array = np.ndarray[Any, Any]
_BATCH = 32
_JITTER = 1e-9  # of the mean diagonal: a channel that is always 0 leaves the Gram matrix singular
_LEAST = 1e-6  # of a deviation or a root mean square


def measure_base(model: nn.Module, inputs: Array | tuple[Array, ...], labels: Array) -> tuple[Layout, Base]:
    """Run training data through a packed network, all its parts tunable.

    inputs  (n, ...) as the network takes them, several where it takes several; labels (n,) integers
    raises  UsageError for no data or labels that the network does not know, UnsupportedError
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    count = len(inputs[0])
    layout = layout_of(model, tuple(_tensor(x[:1]) for x in inputs), PARTS)
    if count == 0 or labels.shape != (count,):
        raise UsageError(f"base data: inputs {inputs[0].shape} need one label each, got {labels.shape}")
    if not ((labels >= 0) & (labels < layout.classes)).all():
        raise UsageError(f"base data: labels must be 0 to {layout.classes - 1}, got {labels.min()} to {labels.max()}")
    logits, taps, moments = _run(model, layout, inputs)
    mean, inside = moments[:, 0].mean(0), moments[:, 1].mean(0)
    s0 = np.maximum(np.sqrt(inside + moments[:, 0].var(0)), _LEAST)
    starts = np.cumsum([0, *(layer.channels for layer in layout.layers)])
    sigma = [np.sqrt((s0[a:b] ** 2).mean()) for a, b in pairwise(starts)]
    rms = [max(_LEAST, np.sqrt((taps[:, t.offset : t.offset + t.width] ** 2).mean())) for t in layout.taps]
    widths = [t.width for t in layout.taps]
    x = np.concatenate([taps / np.repeat(rms, widths), np.ones((len(taps), 1))], 1)
    targets = (labels[:, None] == np.arange(layout.classes)) - 1 / layout.classes
    single = {"sigma": sigma, "m0": mean, "s0": s0, "rms": rms, "triangle": triangle_of(x, targets)}
    return layout, Base(
        n0=count,
        head_sigma=float(max(_LEAST, logits.std())),
        start=None,
        **{name: np.asarray(array, np.float32) for name, array in single.items()},
    )


def triangle_of(x: Array, targets: Array) -> Array:
    """Packed rows of T with T^T T = x^T x, each followed by that row of T^-T x^T targets; float64."""
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += _JITTER * np.trace(gram) / len(gram)
    upper = np.linalg.cholesky(gram).T
    right = np.linalg.solve(upper.T, x.T @ targets)
    rows = [np.concatenate([upper[i, i:], right[i]]) for i in range(len(upper))]
    return np.concatenate(rows)


def _run(model: nn.Module, layout: Layout, inputs: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    """Logits, taps and moments of the base, float64."""
    net = TunableNet(model, torch.ones(len(layout.layers)), layout.parts).eval()
    ac, (weight, bias) = torch.zeros(1, 2 * layout.channels), base_head(model)
    found: list[list[Array]] = [[], [], []]
    with torch.no_grad():
        for start in range(0, len(inputs[0]), _BATCH):
            x = (_tensor(array[start : start + _BATCH]) for array in inputs)
            logits, _, taps, moments = net(*x, ac, weight, bias)
            for kept, new in zip(found, (logits, taps, moments), strict=True):
                kept.append(new.double().numpy())
    logits, taps, moments = (np.concatenate(parts) for parts in found)
    return logits, taps, moments


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
