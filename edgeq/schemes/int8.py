"""int8 activations with one static step per tensor: q = clip(round half to even(x / step), -127, 127), value q step.

The step is found once, on sample inputs, when a network is packed.
"""

import torch
from torch import Tensor

TOP = 127
_CANDIDATES = 64  # steps that are compared, from half of the largest value's up to it


def best_step(x: Tensor) -> float:
    """The step whose codes are nearest to the samples x (...) in the sum of squares; 1 where all of them are 0.

    Cutting off a few of the largest values gives the others a finer grid.
    """
    x = x.detach().reshape(-1)
    largest = float(x.abs().max())
    if largest == 0:
        return 1.0
    steps = torch.linspace(0.5, 1.0, _CANDIDATES, dtype=torch.float64) * largest / TOP
    errors = [float((values(x, float(step)) - x).square().sum(dtype=torch.float64)) for step in steps]
    return float(steps[min(range(_CANDIDATES), key=errors.__getitem__)])


def codes(x: Tensor, step: float) -> Tensor:
    """(...) int8."""
    return torch.round(x / step).clamp(-TOP, TOP).to(torch.int8)


def values(x: Tensor, step: float) -> Tensor:
    """x on the grid, float32."""
    return torch.round(x / step).clamp(-TOP, TOP) * step
