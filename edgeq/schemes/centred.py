"""Weights of BiViT: alpha[o] sign(W[o] - mean(W[o])), where alpha is learnt, or the row's mean |W| (not centred).

sign(0) = 0; its gradient is 1 for |x| < 1, else 0, also on the edges. A mean |W| is a constant for the gradient.

source  BiViT, arXiv 2211.07091; ThisisBillhe/BiViT
"""

import torch
from torch import Tensor

from edgeq.schemes import signs


def weights(w: Tensor, alpha: Tensor) -> Tensor:
    """Latents (O, I) and scales (O,) -> (O, I)."""
    return alpha[:, None] * signs.attention_operand(_centre(w)).values


def weight_codes(w: Tensor) -> Tensor:
    """The signs behind `weights`: (O, I) int8, 0 only where a weight equals its row's mean."""
    return _centre(w.detach()).sign().to(torch.int8)


def row_scale(w: Tensor) -> Tensor:
    """(O, I) -> (O,): mean |W| of each row."""
    return w.detach().abs().mean(-1)


def _centre(w: Tensor) -> Tensor:
    return w - w.mean(-1, keepdim=True)  # in float32, as the authors do: the sign of a small difference hangs on it
