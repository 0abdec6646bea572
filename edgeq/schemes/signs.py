"""Activations of BiBERT: sign(x) in {-1, 0, +1} and the attention bit x > 0. No scale; sign(0) = 0, so a sign is t2.

The gradient passes where |x| < 1; the bounds themselves pass in front of linear layers and not inside attention.

source  BiBERT, arXiv 2203.06390; htqin/BiBERT (which thresholds at > 0, strictly)
"""

from torch import Tensor

from edgeq.schemes._window import window
from edgeq.schemes.quantised import Quantised


def linear_input(x: Tensor) -> Quantised:
    """sign(x); gradient 1 where -1 <= x <= 1."""
    return _quantised(x, x.detach().sign(), closed=True)


def attention_operand(x: Tensor) -> Quantised:
    """sign(x); gradient 1 where |x| < 1."""
    return _quantised(x, x.detach().sign(), closed=False)


def attention_bit(scores: Tensor) -> Quantised:
    """1 where the score is > 0, else 0; gradient 1 where |score| < 1."""
    return _quantised(scores, (scores.detach() > 0).to(scores.dtype), closed=False)


def _quantised(x: Tensor, codes: Tensor, *, closed: bool) -> Quantised:
    return Quantised(window(x, 1, closed=closed), codes, codes.new_ones(()))
