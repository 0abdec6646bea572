"""A typed door to `torch.autograd.Function.apply`, which torch leaves untyped."""

import torch
from torch import Tensor


def apply(function: type[torch.autograd.Function], *arguments: Tensor | float) -> Tensor:
    """`function.apply(*arguments)` of a function with one output."""
    out: Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return out
