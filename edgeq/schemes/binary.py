"""One bit: values -0.5 or +0.5 on the grid ("half shift"), as in AQT and PokeBNN.

Activations are clipped at the fixed bound 3, so a binarised activation is exactly -1.5 or +1.5; weights have one
bound per output channel, the LARGEST |w|, so a binarised weight is half of it with a sign. Zero (and -0.0) is +.
The gradient is that of the clip in front of the floor (straight through); scales are constants for it.

source  PokeBNN, arXiv 2112.00133; google/aqt aqt/jax_legacy
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeq.schemes._clip import EPS, clip_gradient, clip_gradient_between
from edgeq.schemes._function import apply

ACTIVATION_BOUND = 3.0
ACTIVATION_VALUE = ACTIVATION_BOUND / 2  # |binarised activation|
_EDGE = 1.0 - 2.0**-7  # the clip keeps the floor away from the integers -1 and 1


def _activation_tie() -> tuple[float, float]:
    """The float32 numbers x > 0 whose product with the scale is exactly the clip edge: a run of neighbours."""
    scale = np.float32(1.0) / (np.float32(ACTIVATION_BOUND) + np.float32(EPS))
    edge = np.float32(_EDGE)
    near = np.float32(ACTIVATION_BOUND * _EDGE)
    run = [near]
    for direction in (-np.inf, np.inf):
        x = np.nextafter(near, np.float32(direction))
        while x * scale == edge:
            run.append(x)
            x = np.nextafter(x, np.float32(direction))
    return float(min(run)), float(max(run))


_TIE_LOW, _TIE_HIGH = _activation_tie()


class _BinariseActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.ge(x, 0, out=torch.empty_like(x)).mul_(2 * ACTIVATION_VALUE).sub_(ACTIVATION_VALUE)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return clip_gradient_between(grad, x, (-_TIE_HIGH, -_TIE_LOW), (_TIE_LOW, _TIE_HIGH))


class _BinariseWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, w: Tensor) -> Tensor:
        scale = _weight_scale(w)
        v = w * scale
        ctx.save_for_backward(v)
        half = 0.5 / scale
        return torch.where(v >= 0, half, -half)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (v,) = ctx.saved_tensors
        return clip_gradient(grad, v, -_EDGE, _EDGE)


def activations(x: Tensor) -> Tensor:
    """Binarise activations to -1.5 / +1.5; float32, any shape."""
    return apply(_BinariseActivation, x)


def weights(w: Tensor) -> Tensor:
    """Binarise latent weights (out, ...) to -alpha[o] / +alpha[o]; same shape."""
    return apply(_BinariseWeight, w)


def weight_codes(w: Tensor) -> tuple[Tensor, Tensor]:
    """The integers behind `weights(w)`.

    w       (out, ...) float32 latents
    return  sign (out, ...) bool, True = +1; alpha (out,) float32, so that weights(w) == where(sign, alpha, -alpha)
    """
    w = w.detach()
    scale = _weight_scale(w)
    return w * scale >= 0, (0.5 / scale).reshape(-1)


def _weight_scale(w: Tensor) -> Tensor:
    return 1.0 / (w.abs().amax(dim=tuple(range(1, w.dim())), keepdim=True) + EPS)
