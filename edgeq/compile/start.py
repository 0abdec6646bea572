"""Where ZeroQAT begins: learned clipping of weights and equivalent scales, as a point among a delta's own parameters.

  LWC   channel j keeps the share g[j] of its codes' range: codes = round(w / g), worth g times as much
  LET   channel i between two layers is divided by t[i]: the first gives y / t, the second reads with w t

Both are scales, biases and latents of the layers, a = log g - log t, c = bias (1 / t - 1) / sigma, latents = w t / g,
so the base is never written, and g = t = 1 is the base. Behind a ReLU there is no equivalent shift. After Shao et al.,
OmniQuant, arXiv 2308.13137, as ZeroQAT begins, arXiv 2509.00031; here g = 2 sigmoid(u) with u = 0 at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from edgeq._errors import FormatError
from edgeq._native.tune_types import TuneModel

Array = np.ndarray[Any, Any]
LIMIT = 16.0  # of bounds and scales, and of what they are divided by


@dataclass(frozen=True)
class Start:
    """Over the n channels of all tunable layers, in their order.

    bound, scale  (n,) float32: g and t, 1 where nothing was learned
    pairs         layers (p, q): q alone reads what p gives, so that scale of p's channels may be other than 1
    """

    bound: Array
    scale: Array
    pairs: tuple[tuple[int, int], ...]

    def tensors(self) -> dict[str, Array]:
        return {
            "start_bound": self.bound.astype(np.float32),
            "start_scale": self.scale.astype(np.float32),
            "start_pairs": np.array(self.pairs, np.int32).reshape(-1, 2),
        }

    @classmethod
    def of(cls, found: dict[str, Array], channels: Sequence[int], where: str) -> Start | None:
        """From `tensors`, which it takes out of `found`, for layers of so many channels; None: there are none.

        raises  FormatError
        """
        names = ("start_bound", "start_scale", "start_pairs")
        if not any(name in found for name in names):
            return None
        n = sum(channels)
        if any(name not in found for name in names) or found["start_pairs"].ndim != 2:
            raise FormatError(f"{where}: {', '.join(names)} belong together")
        bound, scale, pairs = (found.pop(name) for name in names)
        if bound.shape != (n,) or scale.shape != (n,) or pairs.shape[1] != 2 or pairs.dtype != np.int32:
            raise FormatError(f"{where}: the start does not fit {n} channels")
        for array in (bound, scale):
            if array.dtype != np.float32 or not ((array >= 1 / LIMIT) & (array <= LIMIT)).all():
                raise FormatError(f"{where}: bounds and scales of the start must lie in 1/{LIMIT:g} to {LIMIT:g}")
        if len(pairs) and not ((pairs >= 0) & (pairs < len(channels))).all():
            raise FormatError(f"{where}: the start names a layer that is not there")
        return cls(bound, scale, tuple((int(p), int(q)) for p, q in pairs))


def started(model: TuneModel, start: Start, weights: Sequence[Array] | None = None) -> TuneModel:
    """The model with the point that `zeroqat` begins with, for those of its layers that have latents.

    weights  (outputs, inputs) by latent, in codes but not rounded; None: the base's codes
    raises   FormatError where a pair's widths do not fit
    """
    offsets = np.cumsum([0, *(layer.channels for layer in model.layers)])
    parts = [slice(a, b) for a, b in pairwise(offsets)]
    bound, scale = start.bound.astype(np.float64), start.scale.astype(np.float64)
    learned = {latent.layer for latent in model.latents}
    pairs = [(p, q) for p, q in start.pairs if q in learned]
    rows: list[Array] = []
    for i, layer in enumerate(model.layers):
        a, c = np.zeros(layer.channels), np.zeros(layer.channels)
        if i in learned:
            a += np.log(bound[parts[i]])
        if any(p == i for p, _ in pairs):
            t = scale[parts[i]]
            a -= np.log(t)
            c += (0.0 if layer.bias is None else layer.bias) * (1 / t - 1) / layer.sigma
        rows += [a, c]
    read = {q: scale[parts[p]] for p, q in pairs}
    latents = []
    for i, latent in enumerate(model.latents):
        v = (latent.codes if weights is None else weights[i]).astype(np.float64) / bound[parts[latent.layer]][:, None]
        if latent.layer in read:
            t = read[latent.layer]
            if v.shape[1] % len(t):
                raise FormatError(f"start: layer {latent.layer} reads {v.shape[1]} inputs, the scales are {len(t)}")
            v = v * np.tile(t, v.shape[1] // len(t))
        latents.append(replace(latent, start=np.ascontiguousarray(v, np.float32)))
    ac = np.concatenate(rows).astype(np.float32) if rows else np.zeros(0, np.float32)
    return replace(model, latents=latents, start_ac=ac)
