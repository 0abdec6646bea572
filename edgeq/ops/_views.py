"""Between tensors and what the C core's binding takes: numpy views, epilogues, quantisers, results."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeq import _native

from .params import QUANT_GRID, Quant, Want, row_bytes, split_params

Fused = tuple[Tensor, Tensor, Tensor]  # float map, its sign bits, its mean over the image; see Want

_RESULTS: dict[Want, _native.Output] = {
    Want.MAP: "out",
    Want.BITS: "bits",
    Want.MEAN: "mean",
    Want.MOMENTS: "moments",
}
_DTYPES = (torch.float32, torch.uint8, torch.float32)


def view(x: Tensor) -> np.ndarray[Any, Any]:
    """The tensor's own memory as an array (made contiguous first where it is not)."""
    return x.detach().contiguous().numpy()


def tensor(array: np.ndarray[Any, Any] | None) -> Tensor:
    """A result of the core that was asked for."""
    if array is None:
        raise AssertionError("the core left out a result that was asked for")
    return torch.from_numpy(array)


def fused_empty(like: Tensor, shape: tuple[int, int, int, int], want: int) -> Fused:
    """Empty results of a fused convolution of shape (n, h, w, o); what is not wanted has shape (0,)."""
    n, h, w, o = shape
    return (
        like.new_empty(shape if want & Want.MAP else (0,), dtype=torch.float32),
        like.new_empty((n, h, w, row_bytes(o)) if want & Want.BITS else (0,), dtype=torch.uint8),
        like.new_empty((n, o) if want & Want.MEAN else (0,), dtype=torch.float32),
    )


def want_of(arguments: tuple[object, ...]) -> int:
    """The last argument of every fused operator."""
    want = arguments[-1]
    assert isinstance(want, int)
    return want


def fused_tensors(results: _native.Outputs) -> Fused:
    """The core's results in the order of `Fused`; an empty tensor for what was not wanted."""
    arrays = (results.out, results.bits, results.mean)
    first, second, third = (
        torch.empty(0, dtype=dtype) if array is None else torch.from_numpy(array)
        for array, dtype in zip(arrays, _DTYPES, strict=True)
    )
    return first, second, third


def vectors(params: Tensor, act: int, *, shifted: bool = False) -> dict[str, Any]:
    """The rows of `params` as arrays, under the names that the binding's epilogue has for them."""
    return {name: view(row) for name, row in split_params(params, act, shifted=shifted).items()}


def epilogue_of(
    params: Tensor,
    act: int,
    local: Tensor | None = None,
    block: Tensor | None = None,
    gain: Tensor | None = None,
    want: int = Want.MAP,
    tuning: _native.Tuning | None = None,
) -> _native.Epilogue:
    """`eq_epilogue` from an operator's tensors: `local` is added zero-padded, `block` tiled along the channels."""
    modes: tuple[_native.ResidualMode, _native.ResidualMode] = ("pad", "tile")
    residuals = [_native.Residual(view(r), m) for r, m in zip((local, block), modes, strict=True) if r is not None]
    return _native.Epilogue(
        act=_native.ACTS[act],
        residuals=tuple(residuals),
        gain=None if gain is None else view(gain),
        tuning=tuning,
        outputs=tuple(output for flag, output in _RESULTS.items() if want & flag),
        **vectors(params, act),
    )


def quant_of(kind: int, steps: Tensor | None) -> _native.Quant:
    """`eq_quant` from an operator's arguments."""
    if kind == Quant.NONE:
        return _native.Quant()
    if steps is None:
        raise ValueError(f"quantiser {Quant(kind).name} needs steps (2, C)")
    grid, top = QUANT_GRID[Quant(kind)]
    return _native.Quant(grid, top, view(steps[0]), view(steps[1]))
