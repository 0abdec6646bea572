"""Activations of BiT and TBT: a grid of one to eight bits with one learnt step alpha per tensor.

             1 bit                             b bits
  signed     alpha * sign(x), sign(0) = 0      alpha * clip(round(x / alpha), low, high)
  unsigned   alpha * clip(round(x / alpha),    alpha * clip(round((x - m) / alpha), 0, high) + m,
                          0, 1)                m = min x over the whole tensor: batch mates and padding matter

Grids: BiT uses every code, -2^(b-1) .. 2^(b-1)-1 and 0 .. 2^b-1; TBT at two bits only -1 .. 1 and 0 .. 2. Rounding is
half to even, alpha counts as at least 1e-5. The gradient passes inside the grid; m is a constant for it, and alpha gets
the LSQ gradient, scaled by 1 / sqrt(number of values * high).

source  BiT, arXiv 2205.13016; TBT, arXiv 2306.01841
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgeq._errors import UsageError
from edgeq.schemes._function import apply
from edgeq.schemes.quantised import Quantised

ALPHA_MIN = 1e-5


@dataclass(frozen=True)
class Grid:
    """Codes low..high of a quantiser of `bits` bits; low == 0 is the unsigned kind."""

    bits: int
    low: int
    high: int

    @property
    def signed(self) -> bool:
        return self.low < 0

    @property
    def takes_sign(self) -> bool:
        """One signed bit: sign(x), whatever alpha is."""
        return self.bits == 1 and self.signed

    @property
    def shifted(self) -> bool:
        """Code 0 stands for the minimum of the tensor."""
        return self.bits > 1 and not self.signed


def full_grid(bits: int, *, signed: bool) -> Grid:
    """BiT: every code of `bits` bits (one signed bit is -1 and +1)."""
    if not 1 <= bits <= 8:
        raise UsageError(f"elastic activations have 1 to 8 bits, got {bits}")
    if not signed:
        return Grid(bits, 0, 2**bits - 1)
    return Grid(bits, -(2 ** (bits - 1)), max(2 ** (bits - 1) - 1, 1))


def ternary_grid(bits: int, *, signed: bool) -> Grid:
    """TBT: two bits have three codes, the other widths all of them."""
    if bits != 2:
        return full_grid(bits, signed=signed)
    return Grid(2, -1, 1) if signed else Grid(2, 0, 2)


def initial_alpha(x: Tensor, grid: Grid) -> Tensor:
    """2 or 4 (unsigned) times mean |x| / sqrt(largest code of the FULL grid), before any minimum is subtracted."""
    full = full_grid(grid.bits, signed=grid.signed)
    return x.detach().abs().mean() * ((2 if grid.signed else 4) / math.sqrt(full.high))


class _Elastic(torch.autograd.Function):
    """`values`; u is x in units of the step, before rounding to `codes`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        alpha: Tensor,
        values: Tensor,
        codes: Tensor,
        u: Tensor,
        low: int,
        high: int,
        takes_sign: bool,
    ) -> Tensor:
        ctx.save_for_backward(codes, u)
        ctx.grid = low, high, takes_sign
        return values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        codes, u = ctx.saved_tensors
        low, high, takes_sign = ctx.grid
        inside = (u >= low) & (u <= high)
        slope = codes if takes_sign else codes - u * inside  # of a value by alpha: rounding error, or end of the grid
        grad_alpha = (grad * slope).sum() * (u.numel() * high) ** -0.5
        return grad * inside, grad_alpha, None, None, None, None, None, None


def quantise(x: Tensor, alpha: Tensor, grid: Grid, *, per_row: bool = False) -> Quantised:
    """x (...) float32 and alpha () -> its grid values.

    per_row  a shifted grid starts at the minimum of each row (last axis), not of the tensor
    """
    latent, step = x.detach(), alpha.detach().clamp_min(ALPHA_MIN)
    low = None if not grid.shifted else latent.amin(-1, keepdim=True) if per_row else latent.amin()
    u = (latent if low is None else latent - low) / step
    codes = latent.sign() if grid.takes_sign else u.round().clamp_(grid.low, grid.high)
    values = codes * step if low is None else (codes * step).add_(low)
    values = apply(_Elastic, x, alpha, values, codes, u, grid.low, grid.high, grid.takes_sign)
    return Quantised(values, codes, step, low)
