"""Recorded grid values against ours: the integers exactly, the values within rounding."""

import numpy as np
import torch
from torch import Tensor

from edgeq.schemes.quantised import Quantised

from .report import Report

VALUE_RTOL = 5e-6  # of the largest value: the recorded scale was summed in float32, ours in float64
OUTPUT_ATOL = 5e-6


def compare_quantised(report: Report, name: str, got: Quantised, want: np.ndarray, *, flips: float = 0.0) -> bool:
    """Whether all codes are the same; a share `flips` of them may differ by one (8-bit grids of a dynamic scale)."""
    codes = codes_of(want, got)
    wrong = np.abs(got.codes.detach().numpy() - codes) > 0
    report.compare(f"{name}:codes", got.codes, codes, 1.0 if flips else 0.0)
    if flips:
        report.compare(f"{name}:share of wrong codes", torch.tensor(wrong.mean()), np.array(0.0), flips)
    else:
        report.compare(name, got.values, want, VALUE_RTOL * float(np.abs(want).max(initial=0.0)))
    return not wrong.any()


def codes_of(recorded: np.ndarray, like: Quantised) -> np.ndarray:
    """The integers behind recorded grid values; a scale of 0 (a row of zeros) has code 0."""
    scale = np.broadcast_to(like.scale.detach().numpy(), recorded.shape)
    above = recorded - (0.0 if like.offset is None else like.offset.detach().numpy())
    return np.rint(np.divide(above, scale, out=np.zeros_like(recorded), where=scale != 0))


def compare_output(report: Report, name: str, got: Tensor, want: np.ndarray) -> None:
    """A product with recorded operands."""
    report.compare(name, got, want, OUTPUT_ATOL + VALUE_RTOL * float(np.abs(want).max(initial=0.0)))
