"""Uniform grids of 2 to 8 bits, as in AQT: SYM (signed, no zero point, rounds half up) and POS (unsigned, floors).

SYM  L = 2^(p-1) - 1,  s = L / (B + eps),    q = floor(clip(x s, -L, L) + 0.5)   value q / s
POS                    s = 2^p / (B + eps),  q = clip(floor(x s), 0, 2^p - 1)    value q / s

-L-1 is never used. The bound B of activations is one per input channel (the last axis), that of weights one per
output channel (the first axis): max |w|. Gradients are straight through floor, and split at a tie of the clip; for
POS the clip sees integers, so the whole lowest and the whole highest level carry one half.

source  google/aqt aqt/jax_legacy; PokeBNN, arXiv 2112.00133
"""

from typing import Any

import torch
from torch import Tensor

from edgeq.schemes._clip import EPS, clip_gradient
from edgeq.schemes._function import apply


class _Symmetric(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: Tensor, bits: int) -> Tensor:
        level = symmetric_level(bits)
        scale = _divide(level, bound + EPS)
        v = x * scale
        ctx.save_for_backward(v)
        ctx.level = level
        return v.clamp(-level, level).add_(0.5).floor_().div_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (v,) = ctx.saved_tensors
        level = ctx.level
        return clip_gradient(grad, v, -level, level), None, None


class _Positive(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: Tensor, bits: int) -> Tensor:
        scale = activation_scale(bound, bits, signed=False)
        floored = (x * scale).floor_()
        ctx.save_for_backward(floored)
        ctx.top = 2.0**bits - 1
        return floored.clamp(0.0, 2.0**bits - 1).div_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (floored,) = ctx.saved_tensors
        return clip_gradient(grad, floored, 0.0, ctx.top), None, None


def symmetric(x: Tensor, bound: Tensor, bits: int) -> Tensor:
    """SYM fake quantisation; `bound` broadcasts against x (per channel: shape (C,) against (..., C))."""
    return apply(_Symmetric, x, bound, bits)


def positive(x: Tensor, bound: Tensor, bits: int) -> Tensor:
    """POS fake quantisation of values that are never negative; `bound` broadcasts against x."""
    return apply(_Positive, x, bound, bits)


def weights(w: Tensor, bits: int) -> Tensor:
    """SYM fake quantisation of latent weights (out, ...), one bound per output channel."""
    return symmetric(w, _weight_bound(w), bits)


def weight_codes(w: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """The integers behind `weights(w, bits)`.

    w       (out, ...) float32 latents
    return  codes (out, ...) int8 in -L..L; scale (out,) float32, so that weights(w, bits) == codes / scale
    """
    w = w.detach()
    level = symmetric_level(bits)
    scale = _divide(level, _weight_bound(w) + EPS)
    codes = (w * scale).clamp(-level, level).add_(0.5).floor_().to(torch.int8)
    return codes, scale.reshape(-1)


def activation_scale(bound: Tensor, bits: int, *, signed: bool) -> Tensor:
    """The scale s (C,) that turns an activation into its grid value: see the formulas above."""
    return _divide(symmetric_level(bits) if signed else 2.0**bits, bound + EPS)


def symmetric_level(bits: int) -> float:
    """L, the largest integer of a signed grid of `bits` bits."""
    return 2.0 ** (bits - 1) - 1.0


def _weight_bound(w: Tensor) -> Tensor:
    return w.detach().abs().amax(dim=tuple(range(1, w.dim())), keepdim=True)


def _divide(number: float, x: Tensor) -> Tensor:
    # `number / x` in torch is number * (1 / x), rounded twice: enough to move a weight on or off the clip edge
    return torch.full_like(x, number).div_(x)
