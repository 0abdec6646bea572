"""Operands of low-bit products, deploy face: how a float tensor becomes packed integers, and what those are worth.

    Signs    t2  sign(x + move) in {-1, 0, +1}, two planes: sign(0) = 0, and one bit cannot say 0
    Bits     u1  {0, 1}
    Steps    i8  a constant step
    Minimum  i8  a constant step above the minimum of the tensor, or of each row
    Dynamic  i8  step, and minimum where unsigned, of the tensor or of each row

A constant step is folded into the layer that follows; what is known at run time only travels with the codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq.nn.elastic import Elastic
from edgeq.nn.lowbit_linear import Quantiser
from edgeq.ops import Codes
from edgeq.schemes import fixed
from edgeq.schemes.elastic import ALPHA_MIN, Grid

Kind = Literal["t2", "u1", "i8"]
Range = Literal["tensor", "row"]  # what shares a dynamic scale or minimum
Floor = Literal["tensor", "row", "zero"]  # what code 0 stands for: a minimum, or 0
_RULES = {
    ("tensor", True): Codes.TENSOR_SYM,
    ("tensor", False): Codes.TENSOR_ASYM,
    ("row", True): Codes.ROW_SYM,
    ("row", False): Codes.ROW_ASYM,
}


@dataclass(frozen=True)
class Operand:
    """A quantised tensor (..., k).

    codes  t2 (2, ..., row_bytes(k)) uint8, u1 (..., row_bytes(k)) uint8, i8 (..., k) int8
    rows   (1, m) float32, the step of each of the m rows; (2, m) its step and what code 0 is worth; None: a constant
           step, folded into what follows
    """

    kind: Kind
    codes: Tensor
    rows: Tensor | None = None


class PackedQuantiser(nn.Module):
    """(..., k) float32 -> Operand, after a learnt shift `move` (k,) where the layer has one."""

    kind: Kind
    shifted = False  # whether code 0 is worth something: `rows` is (2, m)

    def take(self, trained: Quantiser, move: Tensor | None) -> float:
        """Copy what was learnt; return the constant step, 1 where the operand carries its own."""
        raise AssertionError(f"{type(self).__name__} has no rule")

    def forward(self, x: Tensor) -> Operand:
        raise AssertionError(f"{type(self).__name__} has no rule")


class Signs(PackedQuantiser):
    """sign(x + move): fl(x + move) is 0 only where x is -move, so comparing x with -move gives the same signs."""

    kind = "t2"
    threshold: Tensor | None

    def __init__(self, features: int, *, moves: bool = False) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.zeros(features) if moves else None)  # (k,)

    def take(self, trained: Quantiser, move: Tensor | None) -> float:
        if self.threshold is not None and move is not None:
            self.threshold.copy_(-move.detach())
        return _alpha(trained)

    def forward(self, x: Tensor) -> Operand:
        return Operand("t2", ops.pack_t2(x, self.threshold))


class Bits(PackedQuantiser):
    """1 where (x + move) / alpha rounds to 1 or more: from one float32 number on, found when packing."""

    kind = "u1"
    threshold: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.zeros(features))  # (k,)

    def take(self, trained: Quantiser, move: Tensor | None) -> float:
        alpha = _alpha(trained)
        shift = torch.zeros_like(self.threshold) if move is None else move.detach()
        self.threshold.copy_(smallest(lambda x: ((x + shift) / alpha).round() >= 1, len(shift)))
        return alpha

    def forward(self, x: Tensor) -> Operand:
        return Operand("u1", ops.pack_sign(x, self.threshold))


class Steps(PackedQuantiser):
    """clip(round((x + move) / step), low, high)."""

    kind = "i8"
    grid: Tensor
    move: Tensor | None

    def __init__(self, features: int, grid: Grid, *, moves: bool = False) -> None:
        super().__init__()
        self.register_buffer("grid", torch.tensor([1.0, grid.low, grid.high]))  # 1 / step, lowest and highest code
        self.register_buffer("move", torch.zeros(features) if moves else None)  # (k,)

    def take(self, trained: Quantiser, move: Tensor | None) -> float:
        return _take_step(self, trained, move)

    def forward(self, x: Tensor) -> Operand:
        return Operand("i8", ops.quantise_i8(x if self.move is None else x + self.move, self.grid))


class Minimum(PackedQuantiser):
    """clip(round((x + move - m) / step), 0, high), m the minimum of the tensor or row, or 0; above 7 bits, 128 less."""

    kind = "i8"
    shifted = True
    grid: Tensor
    step: Tensor
    move: Tensor | None

    def __init__(self, features: int, grid: Grid, floor: Floor, *, moves: bool = False) -> None:
        super().__init__()
        self.floor = floor
        self.below = 128 if grid.high > 127 else 0
        self.register_buffer("grid", torch.tensor([1.0, -self.below, grid.high - self.below]))
        self.register_buffer("step", torch.ones(1))
        self.register_buffer("move", torch.zeros(features) if moves else None)  # (k,)

    def take(self, trained: Quantiser, move: Tensor | None) -> float:
        self.step.fill_(_take_step(self, trained, move))
        return 1.0  # it travels with the operand, as the minimum does

    def forward(self, x: Tensor) -> Operand:
        if self.move is not None:
            x = x + self.move
        shift = self.step * self.below
        if self.floor != "zero":
            shift = shift + (x.amin(-1, keepdim=True) if self.floor == "row" else x.amin())
        rows = [t.expand(*x.shape[:-1], 1).reshape(-1) for t in (self.step, shift)]
        return Operand("i8", ops.quantise_i8(x - shift, self.grid), torch.stack(rows))


class Dynamic(PackedQuantiser):
    """Eight bits of TBT: x clipped at +-clip, scaled to the largest |x| (signed) or to the range (unsigned)."""

    kind = "i8"

    def __init__(self, clip: float, over: Range, *, signed: bool) -> None:
        super().__init__()
        self.clip = clip if math.isfinite(clip) else 0.0  # 0: none, to the operator
        self.rule = _RULES[over, signed]
        self.shifted = not signed

    def take(self, trained: Quantiser, move: Tensor | None) -> float:
        return 1.0

    def forward(self, x: Tensor) -> Operand:
        return Operand("i8", *ops.quantise_rows_i8(x, self.rule, self.clip))


def elastic_quantiser(grid: Grid, features: int, *, moves: bool = False, over: Range = "tensor") -> PackedQuantiser:
    """The packed form of `Elastic(grid)`."""
    if grid.takes_sign:
        return Signs(features, moves=moves)
    if grid.shifted or grid.high > 127:
        return Minimum(features, grid, over if grid.shifted else "zero", moves=moves)
    return Bits(features) if grid.bits == 1 else Steps(features, grid, moves=moves)


def smallest(condition: Callable[[Tensor], Tensor], count: int) -> Tensor:
    """The smallest float32 x (count,) for which a condition that grows with x holds; +inf where no finite one does."""
    low, high = np.full(count, _ordered(-np.inf)), np.full(count, _ordered(np.inf))
    while (low + 1 < high).any():
        middle = (low + high) // 2
        holds = condition(torch.from_numpy(_float(middle))).numpy()
        low, high = np.where(holds, low, middle), np.where(holds, middle, high)
    return torch.from_numpy(_float(high))


def _ordered(x: float) -> int:
    """float32 -> integer with the same order."""
    bits = int(np.float32(x).view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _float(order: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.where(order >= 0, order, -order | -(1 << 31)).astype(np.int64).astype(np.int32).view(np.float32)


def _alpha(trained: Quantiser) -> float:
    """The constant step of a trained quantiser; BiBERT's signs have none."""
    if isinstance(trained, Elastic):
        return float(trained.alpha.detach().clamp_min(ALPHA_MIN))
    if isinstance(trained, partial) and trained.func is fixed.signed:
        return float(trained.keywords["bound"]) / fixed.SIGNED_TOP
    return 1.0


def _take_step(self: Steps | Minimum, trained: Quantiser, move: Tensor | None) -> float:
    alpha = _alpha(trained)
    self.grid[0] = 1 / alpha
    if self.move is not None and move is not None:
        self.move.copy_(move.detach())
    return alpha
