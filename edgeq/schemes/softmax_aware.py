"""Softmax-aware attention bits (SAB): 1 where softmax >= 1/4 of the row's largest, else 0; no scale.

The gradient is straight through INTO the softmax, whose own follows.

For integer dot products of d-vectors, logit = dot / sqrt(d), no softmax is needed: a key is kept if and only if
max(dot) - dot <= ln(4) sqrt(d). That is never an integer, so there are no ties.

source  BiViT, arXiv 2211.07091; ThisisBillhe/BiViT
"""

import math

from torch import Tensor

from edgeq.schemes.quantised import straight_through

BETA = 0.25  # of the row's largest attention


def bits(logits: Tensor) -> Tensor:
    """Logits (..., keys) -> 0 or 1, float32."""
    a = logits.softmax(-1)
    latent = a.detach()
    return straight_through(a, (latent >= BETA * latent.amax(-1, keepdim=True)).to(a.dtype))


def bits_of_logits(logits: Tensor) -> Tensor:
    """Logits (..., keys) -> bool: `bits` without a softmax; a logit within rounding of the threshold may differ."""
    return logits.amax(-1, keepdim=True) - logits <= -math.log(BETA)


def bits_of_dots(dots: Tensor, head_dim: int) -> Tensor:
    """Integer dot products (..., keys) of sign vectors of `head_dim` -> bool: `bits` without a softmax."""
    return dots.amax(-1, keepdim=True) - dots <= dot_margin(head_dim)


def dot_margin(head_dim: int) -> int:
    """floor(ln 4 sqrt(d)): how far below the row's largest dot product a key may be and still be kept.

    Where no operand has a zero, dot = d - 2 hamming, and the margin in Hamming distance is half of it, rounded down.
    """
    return math.floor(-math.log(BETA) * math.sqrt(head_dim))
