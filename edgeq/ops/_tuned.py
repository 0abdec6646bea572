"""The twins of fused convolutions in tunable programs: corrections of scale and bias go in, moments come out.

  NAME_tuned(ac, start, sigma, ...) -> (..., moments)        what stands for dots is that of NAME

ac       (1 or n, width) float32: the columns from `start` on are the layer's, for each channel an a, then for each a c
moments  (n, 2, o) float32, with `Want.MOMENTS`: mean and mean squared deviation of each channel before residuals
source   runtime/include/edgeq/types.h, eq_tuning
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgeq import _native

from ._library import operator
from ._views import view
from .params import Want

Eager = Callable[..., tuple[tuple[Tensor, ...], _native.Outputs]]


def plain(schema: str, shape: Any, eager: Eager) -> Any:
    """The operator itself; eager(*arguments, tuning=None) gives its results and what the core gave."""

    def run(*arguments: Any) -> tuple[Tensor, ...]:
        return eager(*arguments)[0]

    return operator(schema, shape)(run)


def tuned(schema: str, shape: Any, eager: Eager, params_at: int) -> Any:
    """The tuned twin of the operator that `plain` makes; params_at: the place of `params` among its arguments."""
    name, rest = schema.split("(", 1)

    def empty(ac: Tensor, start: int, sigma: float, *arguments: Any) -> tuple[Tensor, ...]:
        x, params, want = arguments[0], arguments[params_at], arguments[-1]
        extents = (x.shape[0], 2, params.shape[1]) if want & Want.MOMENTS else (0,)
        return (*shape(*arguments), x.new_empty(extents, dtype=torch.float32))

    def run(ac: Tensor, start: int, sigma: float, *arguments: Any) -> tuple[Tensor, ...]:
        results, outputs = eager(*arguments, tuning=_native.Tuning(view(ac), start, sigma))
        moments = torch.empty(0) if outputs.moments is None else torch.from_numpy(outputs.moments)
        return (*results, moments)

    name = name.removesuffix("_fused")
    return operator(f"{name}_tuned(Tensor ac, int start, float sigma, {rest[:-1]}, Tensor moments)", empty)(run)
