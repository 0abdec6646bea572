"""The clip gradient that every scheme of this package shares: ties are split 0.5 / 0.5 (the JAX rule)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeq.schemes._function import apply

EPS = 2.0**-23  # added to every clip bound before a scale is formed: float32 machine epsilon


def clip_gradient(grad: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    """Gradient of clip(x, low, high): `grad` inside, half of it exactly on an edge, 0 outside."""
    return clip_gradient_between(grad, x, (low, low), (high, high))


def clip_gradient_between(grad: Tensor, x: Tensor, low: tuple[float, float], high: tuple[float, float]) -> Tensor:
    """As `clip_gradient`, where each edge is a closed interval of float32 numbers that all count as the tie."""
    inside = torch.ops.aten.hardtanh_backward(grad, x, low[1], high[0])
    touching = torch.ops.aten.hardtanh_backward(grad, x, below(low[0]), above(high[1]))
    half_way: Tensor = inside.lerp_(touching, 0.5)
    return half_way


class _Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.edges = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        low, high = ctx.edges
        return clip_gradient(grad, x, low, high), None, None


def clip(x: Tensor, low: float, high: float) -> Tensor:
    """min(max(x, low), high) whose gradient at an edge is one half (torch.clamp gives 1 there)."""
    return apply(_Clip, x, low, high)


def above(value: float) -> float:
    """The next larger float32."""
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


def below(value: float) -> float:
    """The next smaller float32."""
    return float(np.nextafter(np.float32(value), np.float32(-np.inf)))
