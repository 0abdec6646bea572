"""One-bit weights around a mean: sign(W - m) times mean |W|, as in BiBERT (per row) and BiT (whole tensor).

Code 0 occurs where a weight equals the mean; a row whose scale is 0 is 0 whatever its codes are. Means decide signs and
are summed in double precision. Scales are constants for the gradient.

source  BiBERT, arXiv 2203.06390; BiT, arXiv 2205.13016
"""

from typing import Any

import torch
from torch import Tensor

from edgeq.schemes._function import apply
from edgeq.schemes.quantised import Quantised


class _CentredRows(torch.autograd.Function):
    """W, with the gradient of clip(Wc, -1, 1) where Wc = W - row mean."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, mean: Tensor) -> Tensor:
        ctx.save_for_backward(w, mean)
        return w.view_as(w)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        w, mean = ctx.saved_tensors
        passed = grad * ((w - mean).abs() <= 1)
        return passed - passed.mean(-1, keepdim=True), None


def bibert_weights(w: Tensor) -> Quantised:
    """Per row r of w (..., i): mean |W[r]| * sign(W[r] - mean W[r])."""
    latent = w.detach()
    mean, scale = row_mean(latent), row_scale(latent)
    codes = (latent - mean).sign_()
    return Quantised(apply(_CentredRows, w, mean), codes, scale)


def bit_weights(w: Tensor, *, per_row: bool, table: Tensor | None = None) -> Quantised:
    """sign(W - mean W) of w (..., i), times mean |W| of the row or of the whole tensor; gradient: the identity.

    table  the whole tensor, where w is only some of its rows
    """
    latent = w.detach()
    whole = latent if table is None else table.detach()
    codes = (latent - tensor_mean(whole)).sign_()
    scale = row_scale(latent) if per_row else tensor_mean(whole.abs())
    return Quantised(w, codes, scale)


def row_mean(w: Tensor) -> Tensor:
    """(..., i) -> (..., 1) float32, summed in float64."""
    return w.mean(-1, keepdim=True, dtype=torch.float64).float()


def row_scale(w: Tensor) -> Tensor:
    """(..., i) -> (..., 1): mean |W| of each row."""
    total: Tensor = torch.linalg.vector_norm(w, 1, -1, keepdim=True)
    return total / w.shape[-1]


def tensor_mean(w: Tensor) -> Tensor:
    """(..., i) -> () float32, summed in float64."""
    return w.mean(dtype=torch.float64).float()
