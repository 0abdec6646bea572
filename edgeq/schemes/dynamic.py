"""Grids whose scale is read off the values themselves, clipped at a fixed bound: 8-bit activations of TBT.

"Whole" means all rows of the tensor share one scale, so a result depends on its batch mates (the reference mode);
per row (per token) it does not (the fast mode). The gradient passes where |x| < clip.

source  TBT, arXiv 2306.01841; facebookresearch/Ternary_Binary_Transformer
"""

from torch import Tensor

from edgeq.schemes.quantised import Quantised
from edgeq.schemes.ternary import clipped_straight_through

CLIP = 2.5
_SPREAD_EPS = 1e-8


def signed(x: Tensor, *, bits: int = 8, clip: float = CLIP, per_row: bool = False) -> Quantised:
    """c = clip(x); s = L / max |c|; codes round(c s), L = 2^(bits-1) - 1; values codes / s; all zero stays zero."""
    clipped = x.detach().clamp(-clip, clip)
    size = clipped.abs()
    largest = size.amax(-1, keepdim=True) if per_row else size.amax()
    step = (2 ** (bits - 1) - 1) / largest
    codes = (clipped * step).nan_to_num_(0.0).round_()  # 0 * (L / 0) is the only nan
    scale = 1 / step
    return Quantised(clipped_straight_through(x, codes * scale, clip), codes, scale)


def unsigned(x: Tensor, *, bits: int = 8, clip: float = CLIP, per_row: bool = False) -> Quantised:
    """c = clip(x); r = max - min + 1e-8; codes round((c - min) / r * (2^bits - 1)); code 0 is worth the minimum."""
    clipped = x.detach().clamp(-clip, clip)
    low = clipped.amin(-1, keepdim=True) if per_row else clipped.amin()
    high = clipped.amax(-1, keepdim=True) if per_row else clipped.amax()
    spread, top = high - low + _SPREAD_EPS, 2**bits - 1
    codes = ((clipped - low) / spread * top).round_()
    scale = spread / top
    return Quantised(clipped_straight_through(x, codes * scale + low, clip), codes, scale, low)
