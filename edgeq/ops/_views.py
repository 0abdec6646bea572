"""From tensors to what the C core's binding takes: numpy views, epilogues, quantisers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeq import _native

from .params import QUANT_GRID, Quant, Want, row_bytes, split_params

Fused = tuple[Tensor, Tensor, Tensor]  # float map, its sign bits, its mean over the image; see Want


def view(x: Tensor) -> np.ndarray[Any, Any]:
    """The tensor's own memory as an array (made contiguous first where it is not)."""
    return x.detach().contiguous().numpy()


def fused_empty(like: Tensor, shape: tuple[int, int, int, int], want: int) -> Fused:
    """Empty results of a fused convolution of shape (n, h, w, o); what is not wanted has shape (0,)."""
    n, h, w, o = shape
    return (
        like.new_empty(shape if want & Want.MAP else (0,), dtype=torch.float32),
        like.new_empty((n, h, w, row_bytes(o)) if want & Want.BITS else (0,), dtype=torch.uint8),
        like.new_empty((n, o) if want & Want.MEAN else (0,), dtype=torch.float32),
    )


def fused_results(results: Fused) -> dict[str, np.ndarray[Any, Any]]:
    """The wanted results under their names in the core's epilogue."""
    names = ("out", "out_bits", "out_mean")
    return {name: view(result) for name, result in zip(names, results, strict=True) if result.numel()}


def epilogue_of(
    params: Tensor,
    act: int,
    local: Tensor | None,
    block: Tensor | None,
    gain: Tensor | None,
    results: dict[str, np.ndarray[Any, Any]],
) -> _native.Epilogue:
    """`eq_epilogue` from an operator's tensors: `local` is added zero-padded, `block` tiled along the channels."""
    residuals = tuple(
        None if r is None else _native.Residual(view(r), mode)
        for r, mode in ((local, _native.RES_PAD), (block, _native.RES_TILE))
    )
    vectors = {name: view(row) for name, row in split_params(params, act).items()}
    return _native.Epilogue(
        act=act, residuals=residuals, gain=None if gain is None else view(gain), **vectors, **results
    )


def quant_of(kind: int, steps: Tensor | None) -> _native.Quant | None:
    """`eq_quant`, or None where the input is taken as it is."""
    if kind == Quant.NONE:
        return None
    if steps is None:
        raise ValueError(f"quantiser {Quant(kind).name} needs steps (2, C)")
    grid, top = QUANT_GRID[Quant(kind)]
    return _native.Quant(grid, top, view(steps[0]), view(steps[1]))
