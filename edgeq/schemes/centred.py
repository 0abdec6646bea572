"""Weights of BiViT: alpha[o] sign(W[o] - mean(W[o])), where alpha is learnt, or the row's mean |W| (not centred).

sign(0) = 0; its gradient is 1 for |x| < 1, else 0, also on the edges. A mean |W| is a constant for the gradient.

source  BiViT, arXiv 2211.07091; ThisisBillhe/BiViT
"""

from torch import Tensor

from edgeq.schemes import signs
from edgeq.schemes.quantised import Quantised


def weights(w: Tensor, alpha: Tensor) -> Quantised:
    """Latents (O, I) and scales (O,); a code is 0 only where a weight equals its row's mean."""
    centred = w - w.mean(-1, keepdim=True)  # in float32, as the authors do: the sign of a small difference hangs on it
    sign = signs.attention_operand(centred)
    scale = alpha[:, None]
    return Quantised(scale * sign.values, sign.codes, scale.detach())


def row_scale(w: Tensor) -> Tensor:
    """(O, I) -> (O,): mean |W| of each row."""
    return w.detach().abs().mean(-1)
