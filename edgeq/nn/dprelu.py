"""DPReLU: a two-slope ReLU with a learnt shift before and after, per channel."""

from typing import Any

import torch
from torch import Tensor, nn

from edgeq.schemes._function import apply


class _DPReLUFunction(torch.autograd.Function):
    """Saves t only. Built from clamps, because torch.where is many times slower than arithmetic on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias_x: Tensor, bias_y: Tensor, neg_slope: Tensor, pos_slope: Tensor) -> Tensor:
        t = x - bias_x
        ctx.save_for_backward(t, neg_slope, pos_slope)
        y = t.clamp_max(0).mul_(neg_slope).sub_(bias_y)
        return y.addcmul_(t.clamp_min(0), pos_slope)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        t, neg_slope, pos_slope = ctx.saved_tensors
        negative, positive = (t.clamp_max(0).mul_(grad), t.clamp_min(0).mul_(grad))
        grad_neg, grad_pos = _total(negative), _total(positive)
        slope = torch.ge(t, 0, out=positive).mul_(pos_slope - neg_slope).add_(neg_slope)
        grad_x = slope.mul_(grad)
        return grad_x, -_total(grad_x), -_total(grad), grad_neg, grad_pos


def _total(z: Tensor) -> Tensor:
    return z.reshape(-1, z.shape[-1]).sum(0)


class DPReLU(nn.Module):
    """t = x - bias_x;  y = (t >= 0 ? pos_slope : neg_slope) t - bias_y;  (..., C) -> (..., C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias_x = nn.Parameter(torch.zeros(channels))  # (C,)
        self.bias_y = nn.Parameter(torch.zeros(channels))  # (C,)
        self.neg_slope = nn.Parameter(torch.full((channels,), 0.25))  # (C,)
        self.pos_slope = nn.Parameter(torch.ones(channels))  # (C,)

    def forward(self, x: Tensor) -> Tensor:
        return apply(_DPReLUFunction, x, self.bias_x, self.bias_y, self.neg_slope, self.pos_slope)
