"""Operands of packed products as integers, and packed linear layers against recorded operands."""

import numpy as np
import torch
from torch import Tensor

from edgeq.nn.packed_lowbit import PackedLowBitLinear
from edgeq.nn.packed_operands import Operand
from edgeq.ops import Act
from edgeq.schemes.quantised import Quantised

from .codes import codes_of, compare_output
from .report import Report


def integers(operand: Operand, features: int, like: Quantised) -> Tensor:
    """The codes (..., features), counted as the train face does: an 8-bit code above a minimum is stored less 128."""
    if operand.kind == "t2":
        sign, nonzero = (_bits(plane, features) for plane in operand.codes)
        return nonzero * (2 * sign - 1)
    if operand.kind == "u1":
        return _bits(operand.codes, features)
    lowest = int(like.codes.max() > 127) * 128
    return operand.codes.float() + lowest


def compare_linear(
    report: Report,
    here: str,
    layer: PackedLowBitLinear,
    x: Tensor,
    x_q: Quantised,
    recorded: dict[str, np.ndarray],
    *,
    flips: float = 0.0,
) -> None:
    """The codes of a float input, and the result where they are the recorded ones; 8-bit codes may be off by one."""
    operand = layer.quantise(x)
    got, want = integers(operand, layer.features, x_q), codes_of(recorded[f"{here}/linear_input"], x_q)
    report.compare(f"{here}/linear_input:codes", got, want, 1.0 if flips else 0.0)
    wrong = got.numpy() != want
    report.compare(f"{here}/linear_input:share of wrong codes", torch.tensor(float(wrong.mean())), np.array(0.0), flips)
    if not wrong.any():
        output = recorded[f"{here}/output"]
        if layer.act == Act.GELU:
            output = torch.nn.functional.gelu(torch.from_numpy(output)).numpy()
        elif layer.act == Act.RELU:
            output = np.maximum(output, 0)
        compare_output(report, f"{here}/output", layer(operand), output)


def _bits(rows: Tensor, features: int) -> Tensor:
    return torch.from_numpy(np.unpackbits(rows.numpy(), axis=-1, bitorder="little")[..., :features].astype(np.float32))
