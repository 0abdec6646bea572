"""A tensor on a grid: integers with their scale, and the tensor that its gradient flows into.

Products are formed from the integers and scaled once, so that sums that cancel are exactly 0 and the sign of the result
never hangs on the order of a float sum; the backward pass uses the values, as the papers' training codes do.
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

    source  (..., r, c) float32: takes the gradient of the values; its numbers are not looked at
    codes   the same shape: integers, held in float32 and without gradient
    scale   broadcasts against codes; one number along the axis over which a product sums
    offset  () or (..., r, 1), the value of code 0, or None for 0
    """

    source: Tensor
    codes: Tensor
    scale: Tensor
    offset: Tensor | None = None

    @property
    def values(self) -> Tensor:
        """(..., r, c) float32 with the gradient of `source`."""
        scaled = self.codes * self.scale
        return straight_through(self.source, scaled if self.offset is None else scaled.add_(self.offset))

    def map(self, layout: Callable[[Tensor], Tensor]) -> Quantised:
        """The same tensor in another layout: a view or a transpose of every part that is not a single number."""
        scale = layout(self.scale) if self.scale.dim() else self.scale
        return Quantised(layout(self.source), layout(self.codes), scale, self.offset)

    @property
    def mT(self) -> Quantised:
        return self.map(lambda t: t.mT)


def product(a: Quantised, b: Quantised) -> Tensor:
    """a (..., m, k) times b (k, n) or (..., k, n), from the integers: exact up to 2^24 in the accumulator.

    a.scale is one number or (..., m, 1); b.scale is one number or (..., 1, n); only a may have an offset, which is
    worth offset * sum over k of b.
    """
    return apply(_Product, a.source, b.source, a.codes, b.codes, a.scale, b.scale, a.offset)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, a_codes: Tensor, b_codes: Tensor, a_scale: Tensor, b_scale: Tensor, *rest: Any
    ) -> Tensor:
        (a_offset,) = rest
        ctx.save_for_backward(a_codes, b_codes, a_scale, b_scale, a_offset)
        exact = (a_codes @ b_codes).mul_(a_scale * b_scale)
        if a_offset is not None:
            exact += a_offset * (b_scale * b_codes.sum(-2, keepdim=True))
        return exact

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a_codes, b_codes, a_scale, b_scale, a_offset = ctx.saved_tensors
        grad_a = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_a = grad @ (b_codes * b_scale).mT
        if ctx.needs_input_grad[1]:
            a, scaled = a_codes, grad * a_scale if a_scale.dim() else grad
            if b_codes.dim() == 2:
                a, scaled = a.reshape(-1, a.shape[-1]), scaled.reshape(-1, grad.shape[-1])
            grad_b = a.mT @ scaled
            if not a_scale.dim():
                grad_b *= a_scale
            if a_offset is not None:
                grad_b += (grad * a_offset).reshape(scaled.shape).sum(-2, keepdim=True)
        return grad_a, grad_b, None, None, None, None, None


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
