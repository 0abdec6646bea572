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
from edgeq.schemes._clip import above, below
from edgeq.schemes._function import apply
from edgeq.schemes.quantised import Quantised

ALPHA_MIN = 1e-5


@dataclass(frozen=True)
class Grid:
    """Codes low..high of a quantiser of `bits` bits; low == 0 is the unsigned kind.

    from_zero  code 0 of an unsigned grid of two or more bits stands for 0, not for the minimum
    """

    bits: int
    low: int
    high: int
    from_zero: bool = False

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
        return self.bits > 1 and not self.signed and not self.from_zero


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


def fitted_alpha(x: Tensor, grid: Grid) -> Tensor:
    """Of 41 steps from 0.1 to 10 times the initial one, the one with the least squared error of the grid values."""
    x = x.detach()
    candidates = initial_alpha(x, grid) * torch.logspace(-1, 1, 41)
    errors = torch.stack([(quantise(x, alpha, grid).values - x).square().mean() for alpha in candidates])
    return candidates[errors.argmin()]


class _Elastic(torch.autograd.Function):
    """x, with the gradient of its grid values; `u` is what was rounded to `codes`, or x where they are signs."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, alpha: Tensor, codes: Tensor, u: Tensor, low: float, high: float, top: int, sign: bool
    ) -> Tensor:
        ctx.save_for_backward(codes, u)
        ctx.grid = low, high, top, sign
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        codes, u = ctx.saved_tensors
        low, high, top, takes_sign = ctx.grid
        passed = torch.ops.aten.hardtanh_backward(grad, u, below(low), above(high))  # 0 on the edges it is given
        slope = torch.dot(grad.reshape(-1), codes.reshape(-1))  # by alpha: the sign, the end of the grid or, inside it,
        if not takes_sign:  # the rounding error
            slope = slope - torch.dot(passed.reshape(-1), u.reshape(-1))
        return passed, slope * (u.numel() * top) ** -0.5, None, None, None, None, None, None


def quantise(x: Tensor, alpha: Tensor, grid: Grid, *, per_row: bool = False) -> Quantised:
    """x (...) float32 and alpha () -> its grid values.

    per_row  a shifted grid starts at the minimum of each row (last axis), not of the tensor
    """
    latent, step = x.detach(), alpha.detach().clamp_min(ALPHA_MIN)
    if grid.takes_sign:
        codes, edge = latent.sign(), float(step)
        return Quantised(apply(_Elastic, x, alpha, codes, latent, -edge, edge, 1, True), codes, step)
    low = None if not grid.shifted else latent.amin(-1, keepdim=True) if per_row else latent.amin()
    u = latent / step if low is None else (latent - low).div_(step)
    codes = u.round().clamp_(grid.low, grid.high)
    source = apply(_Elastic, x, alpha, codes, u, grid.low, grid.high, grid.high, False)
    return Quantised(source, codes, step, low)
