"""The window of a straight-through gradient: it passes where |x| is below a bound, or up to and including it."""

import math
from typing import Any

import torch
from torch import Tensor

from edgeq.schemes._clip import above
from edgeq.schemes._function import apply


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, edge: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.edge = edge
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grad, x, -ctx.edge, ctx.edge), None  # 0 on the edges


def window(x: Tensor, bound: float, *, closed: bool = False) -> Tensor:
    """x, with a gradient where |x| < bound (closed: where |x| <= bound)."""
    if math.isinf(bound):
        return x
    return apply(_Window, x, above(bound) if closed else bound)
