"""How an operator's small tensors are laid out, and the enumerations that its integers stand for."""

from __future__ import annotations

from enum import IntEnum, IntFlag

import torch
from torch import Tensor

from edgeq._native import QuantKind, row_bytes

__all__ = ["QUANT_GRID", "Act", "Quant", "Want", "pack_steps", "row_bytes", "same_size", "split_params", "stack_params"]


class Act(IntEnum):
    """Activation inside an epilogue (`eq_act`)."""

    NONE = 0
    RELU = 1
    DPRELU = 2
    HSIGMOID = 3
    GELU = 4


class Quant(IntEnum):
    """Fake quantisation of a float input (`eq_quant`), with its grid."""

    NONE = 0
    SYM4 = 1
    POS4 = 2
    SYM8 = 3


class Want(IntFlag):
    """Which results a fused operator stores; the others are empty tensors. T2 (planes y > 0 and y != 0) takes the place
    of BITS (y >= 0); CODES and T2 are results of operators over integers, MOMENTS of tuned ones."""

    MAP = 1
    BITS = 2
    MEAN = 4
    ALL = 7
    CODES = 8
    T2 = 16
    MOMENTS = 32


# rounding rule as the core calls it, largest grid value
QUANT_GRID: dict[Quant, tuple[QuantKind, float]] = {
    Quant.SYM4: ("sym", 7.0),
    Quant.POS4: ("pos", 15.0),
    Quant.SYM8: ("sym", 127.0),
}


def stack_params(
    scale: Tensor,
    bias: Tensor,
    dprelu: tuple[Tensor, Tensor, Tensor] | None = None,
    affine: tuple[Tensor, Tensor] | None = None,
    shift_weight: Tensor | None = None,
) -> Tensor:
    """The epilogue's vectors as one float32 tensor (R, O).

    Rows: scale, bias; with DPReLU pos, neg, shift; with a second affine scale2, bias2. So R is 2, 4, 5 or 7. One more,
    shift_weight, where the activations have a shift: the sum of the scaled weights of each output.
    """
    rows = [scale, bias, *(dprelu or ()), *(affine or ()), *(() if shift_weight is None else (shift_weight,))]
    return torch.stack([row.detach().to(torch.float32) for row in rows])


def split_params(params: Tensor, act: int, *, shifted: bool = False) -> dict[str, Tensor]:
    """The vectors of `stack_params` by name; `act` tells 4 rows with a second affine from 5 with DPReLU.

    shifted  is there a row shift_weight?
    raises   ValueError when the number of rows does not fit
    """
    names = ["scale", "bias"]
    if act == Act.DPRELU:
        names += ["pos", "neg", "shift"]
    if params.shape[0] == len(names) + 2 + shifted:
        names += ["scale2", "bias2"]
    if shifted:
        names.append("shift_weight")
    if params.dim() != 2 or params.shape[0] != len(names):
        raise ValueError(f"params {tuple(params.shape)} do not fit activation {Act(act).name}")
    return dict(zip(names, params, strict=True))


def pack_steps(scale: Tensor) -> Tensor:
    """(2, C) float32: the quantiser's scale s and its reciprocal."""
    scale = scale.detach().to(torch.float32).reshape(-1)
    return torch.stack([scale, 1.0 / scale])


def same_size(size: int, stride: int) -> int:
    """Output extent of SAME padding."""
    return -(-size // stride)
