"""A typed door to `torch.autograd.Function.apply`, which torch leaves untyped."""

from typing import Any

import torch
from torch import Tensor


def apply(function: type[torch.autograd.Function], *arguments: Tensor | float | None) -> Tensor:
    """`function.apply(*arguments)` of a function with one output."""
    untyped: Any = function
    out: Tensor = untyped.apply(*arguments)
    return out
