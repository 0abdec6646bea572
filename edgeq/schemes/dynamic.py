"""Grids whose scale is read off the values themselves, clipped at a fixed bound: 8-bit activations of TBT.

"Whole" means all rows of the tensor share one scale, so a result depends on its batch mates (the reference mode);
per row (per token) it does not (the fast mode). The gradient passes where |x| < clip.

source  TBT, arXiv 2306.01841; facebookresearch/Ternary_Binary_Transformer
"""

import math

import torch
from torch import Tensor

from edgeq.schemes._window import window
from edgeq.schemes.quantised import Quantised

CLIP = 2.5
_SPREAD_EPS = 1e-8
_TINY = 1e-30  # a largest value of 0 would make codes 0 * infinity


def signed(x: Tensor, *, bits: int = 8, clip: float = CLIP, per_row: bool = False) -> Quantised:
    """c = clip(x); s = L / max |c|; codes round(c s), L = 2^(bits-1) - 1; values codes / s; all zero stays zero."""
    clipped = _clipped(x, clip)
    size = clipped.abs()
    largest = size.amax(-1, keepdim=True) if per_row else size.amax()
    step = (2 ** (bits - 1) - 1) / largest.clamp_min_(_TINY)
    codes = (clipped * step).round_()
    return Quantised(window(x, clip), codes, 1 / step)


def unsigned(x: Tensor, *, bits: int = 8, clip: float = CLIP, per_row: bool = False) -> Quantised:
    """c = clip(x); r = max - min + 1e-8; codes round((c - min) / r * (2^bits - 1)); code 0 is worth the minimum."""
    clipped = _clipped(x, clip)
    low, high = torch.aminmax(clipped, dim=-1, keepdim=True) if per_row else torch.aminmax(clipped)
    spread, top = high - low + _SPREAD_EPS, 2**bits - 1
    codes = (clipped - low).div_(spread).mul_(top).round_()
    return Quantised(window(x, clip), codes, spread / top, low)


def _clipped(x: Tensor, clip: float) -> Tensor:
    latent = x.detach()
    return latent if math.isinf(clip) else latent.clamp(-clip, clip)
