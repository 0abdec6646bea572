"""Weights of one or two bits per row without a mean: sign, and the ternary grid {-1, 0, +1}.

A weight of exactly 0 has code 0 also at one bit, and a row of zeros is a row of zeros (the original divides by 0
there). Scales are constants for the gradient, which is that of the identity.

source  Binary and Ternary Natural Language Generation (TBT), arXiv 2306.01841
"""

import torch
from torch import Tensor

from edgeq._errors import UsageError
from edgeq.schemes._window import window
from edgeq.schemes.around_mean import row_mean, row_scale, tensor_mean
from edgeq.schemes.quantised import Quantised


def weights(w: Tensor, bits: int) -> Quantised:
    """Rows of w (..., i) on the TBT grid of `bits` bits.

    1 bit   a = mean |W[r]|         a * sign(W)
    2 bits  a = 4/3 * mean |W[r]|   a * round(clip(W / a, -1, 1)), so exactly a / 2 becomes 0 (half to even)
    """
    latent = w.detach()
    scale = row_scale(latent)
    if bits == 1:
        codes = latent.sign()
    elif bits == 2:
        scale = scale * (4 / 3)
        codes = (latent / scale).nan_to_num_(0.0).clamp_(-1, 1).round_()
    else:
        raise UsageError(f"weights: TBT has 1 and 2 bits, got {bits}")
    return Quantised(w, codes, scale)


def twn_weights(w: Tensor, *, per_row: bool, clip: float = 2.5) -> Quantised:
    """Ternary weight network: 0 up to 0.7 mean |W|, beyond it the mean of what is beyond, with a sign.

    Latents are clipped at +-clip first, and the gradient passes where |W| < clip.
    """
    mean = row_mean if per_row else tensor_mean
    clipped = w.detach().clamp(-clip, clip)
    size = clipped.abs()
    kept = (size > 0.7 * mean(size)).float()
    codes = clipped.sign() * kept
    scale = mean(size * kept) / mean(kept).clamp_min(torch.finfo(torch.float32).tiny)
    return Quantised(window(w, clip), codes, scale)
