"""GPTQ: round one column after the other, and let the columns that are still free make up for the error.

Frantar et al.: GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, ICLR 2023, arXiv
2210.17323 (algorithm 1, without reordering). Grids are chosen per group from the already corrected weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq._errors import UsageError
from edgeq.schemes import int4
from edgeq.schemes.grouped import GroupedWeight
from edgeq.schemes.int4 import Grid

DAMPING = 0.01  # of the Hessian's mean diagonal
TARGET_DAMPING = 0.1  # the same, where the weights are aimed at another input


def quantise(
    weight: Tensor, hessian: Tensor, *, group: int = 32, grid: Grid = "asymmetric", bits: int = 4
) -> GroupedWeight:
    """Codes for a linear layer that sees inputs X with X^T X / n = hessian.

    weight   (o, i) float32
    hessian  (i, i) float32, positive semi-definite
    group    inputs that share scale and zero; divides i
    raises   UsageError when it does not, or for a Hessian that is not finite
    """
    outputs, inputs = weight.shape
    if group < 1 or inputs % group:
        raise UsageError(f"{inputs} inputs are not a multiple of the group of {group}")
    if not bool(hessian.isfinite().all()):
        raise UsageError("calibration: the inputs of a layer hold NaN or infinite values")
    w = weight.detach().float().clone()
    importance = hessian.diagonal().clone()
    factor = _inverse_factor(hessian)
    codes = torch.empty(outputs, inputs, dtype=torch.uint8)
    scales, zeros = torch.empty(outputs, inputs // group), torch.empty(outputs, inputs // group)
    for g, start in enumerate(range(0, inputs, group)):
        end = start + group
        scale, zero = int4.fit(w[:, start:end], importance[start:end], grid, 2**bits)
        errors = torch.empty(outputs, group)
        for column in range(start, end):
            code = int4.encode(w[:, column : column + 1], scale, zero, 2**bits)
            error = (w[:, column] - int4.decode(code, scale, zero)[:, 0]) / factor[column, column]
            w[:, column + 1 : end] -= error[:, None] * factor[column, column + 1 : end]
            codes[:, column], errors[:, column - start] = code[:, 0].to(torch.uint8), error
        w[:, end:] -= errors @ factor[start:end, end:]
        scales[:, g], zeros[:, g] = scale, zero
    return GroupedWeight(bits, codes, scales, zeros, stored_scale=torch.float16)


def aimed(weight: Tensor, hessian: Tensor, cross: Tensor) -> Tensor:
    """The weights that give the float layer's outputs from the inputs which the quantised network has.

    weight   (o, i)
    hessian  X^T X / n of the quantised network's inputs
    cross    (X_float - X)^T X / n
    return   W + W cross (hessian + damping)^-1
    """
    damped = hessian + TARGET_DAMPING * _mean_diagonal(hessian) * torch.eye(len(hessian))
    change: Tensor = torch.linalg.solve(damped, cross.T @ weight.T).T
    return weight + change


def _inverse_factor(hessian: Tensor) -> Tensor:
    """U, upper triangular, U^T U = (hessian + damping)^-1."""
    damped = hessian.double() + DAMPING * _mean_diagonal(hessian) * torch.eye(len(hessian), dtype=torch.float64)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor.float()


def _mean_diagonal(hessian: Tensor) -> float:
    return float(hessian.diagonal().mean()) or 1.0  # a layer that saw only zeros
