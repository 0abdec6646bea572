"""A tensor on a grid, held twice: as integers with their scale, and as the float values that a gradient flows into.

Products are formed from the integers and scaled once, so that sums that cancel are exactly 0 and the sign of the result
never hangs on the order of a float sum; the backward pass uses the float values, as the papers' training codes do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgeq.schemes._function import apply


@dataclass(frozen=True)
class Quantised:
    """values = codes * scale + offset.

    values  (..., r, c) float32, carries the gradient
    codes   the same shape: integers, held in float32 and without gradient
    scale   broadcasts against codes; one number along the axis over which a product sums
    offset  () the value of code 0, or None for 0
    """

    values: Tensor
    codes: Tensor
    scale: Tensor
    offset: Tensor | None = None

    def map(self, layout: Callable[[Tensor], Tensor]) -> Quantised:
        """The same tensor in another layout: a view or a transpose of every part that is not a single number."""
        scale = layout(self.scale) if self.scale.dim() else self.scale
        return Quantised(layout(self.values), layout(self.codes), scale, self.offset)

    @property
    def mT(self) -> Quantised:
        return self.map(lambda t: t.mT)


def product(a: Quantised, b: Quantised) -> Tensor:
    """a (..., m, k) times b (k, n) or (..., k, n), from the integers: exact up to 2^24 in the accumulator.

    a.scale is one number or (..., m, 1); b.scale is one number or (..., 1, n); only a may have an offset, which is
    worth offset * sum over k of b.
    """
    with torch.no_grad():
        exact = (a.codes @ b.codes).mul_(a.scale * b.scale)
        if a.offset is not None:
            exact += a.offset * b.scale * b.codes.sum(-2, keepdim=True)
    return apply(_Product, a.values, b.values, exact)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, exact: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return exact

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        a, b = ctx.saved_tensors
        need_a, need_b, _ = ctx.needs_input_grad
        grad_a = grad @ b.mT if need_a else None
        if not need_b:
            return grad_a, None, None
        if b.dim() == 2:
            a, grad = a.reshape(-1, a.shape[-1]), grad.reshape(-1, grad.shape[-1])
        return grad_a, a.mT @ grad, None


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor) -> Tensor:
        return values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def straight_through(x: Tensor, values: Tensor) -> Tensor:
    """`values`, with the gradient of x."""
    return apply(_StraightThrough, x, values)
