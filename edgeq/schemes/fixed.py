"""Grids of eight bits with a constant step, so that codes can be cached and depend on nothing but the value itself.

signed    codes round(clip(x, -bound, bound) / s), s = bound / 127      gradient where |x| < bound
unsigned  codes round(255 x) of probabilities, which lie in 0..1        gradient: the identity
"""

from torch import Tensor

from edgeq.schemes._window import window
from edgeq.schemes.quantised import Quantised

SIGNED_TOP, PROBABILITY_TOP = 127, 255


def signed(x: Tensor, *, bound: float) -> Quantised:
    """x (...) float32 on -127..127 times bound / 127."""
    step = x.new_tensor(bound / SIGNED_TOP)
    codes = (x.detach() * (SIGNED_TOP / bound)).clamp_(-SIGNED_TOP, SIGNED_TOP).round_()
    return Quantised(window(x, bound), codes, step)


def probabilities(x: Tensor) -> Quantised:
    """x (...) float32 in 0..1 on 0..255 times 1 / 255."""
    step = x.new_tensor(1 / PROBABILITY_TOP)
    codes = (x.detach() * PROBABILITY_TOP).round_()
    return Quantised(x, codes, step)
