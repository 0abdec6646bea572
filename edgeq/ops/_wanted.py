"""The results of an operator with a whole epilogue: which were wanted, their shapes, and what the core is told.

rows    (1, m) float32, the step of each row (of an image for a convolution); (2, m): step and shift, and `params` then
        ends with shift_weight. None: 1, the step is part of `params`
params  (R, o) float32, see `stack_params`
skip    float32, or int8 codes worth code * skip_step (1,), of the output's shape; added before the activation
grid    (3,) float32: inv_step, low, high of the codes that `Want.CODES` asks for
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgeq import _native

from ._views import vectors, view
from .params import Want, row_bytes

LinearResults = tuple[Tensor, Tensor, Tensor]  # float map, its sign bits or ternary planes, its codes
ConvResults = tuple[Tensor, Tensor, Tensor, Tensor]  # the same with the mean over the image before the codes

CONV_KINDS = (Want.MAP, Want.BITS, Want.MEAN, Want.CODES)
LINEAR_KINDS = (Want.MAP, Want.BITS, Want.CODES)


_DTYPES = {Want.MAP: torch.float32, Want.BITS: torch.uint8, Want.MEAN: torch.float32, Want.CODES: torch.int8}


def empty_results(x: Tensor, lead: tuple[int, ...], o: int, want: int, kinds: tuple[Want, ...]) -> tuple[Tensor, ...]:
    shapes: dict[Want, tuple[int, ...]] = {Want.MAP: (*lead, o), Want.MEAN: (lead[0], o), Want.CODES: (*lead, o)}
    shapes[Want.BITS] = (2, *lead, row_bytes(o)) if want & Want.T2 else (*lead, row_bytes(o))
    wanted = want | Want.BITS if want & Want.T2 else want
    return tuple(x.new_empty(shapes[kind] if wanted & kind else (0,), dtype=_DTYPES[kind]) for kind in kinds)


def grid_of(grid: Tensor | None) -> _native.Grid | None:
    if grid is None:
        return None
    inv_step, low, high = grid.tolist()
    return _native.Grid(inv_step, int(low), int(high))


def whole_epilogue(
    rows: Tensor | None,
    act: int,
    params: Tensor,
    skip: Tensor | None,
    skip_step: Tensor | None,
    grid: Tensor | None,
    want: int,
    tuning: _native.Tuning | None = None,
) -> _native.Epilogue:
    shifted = rows is not None and rows.shape[0] == 2
    names: dict[int, _native.Output] = {1: "out", 2: "bits", 4: "mean", 8: "codes", 16: "t2", 32: "moments"}
    residuals: tuple[_native.Residual, ...] = ()
    if skip is not None:
        residuals = (_native.Residual(view(skip), step=1.0 if skip_step is None else float(skip_step)),)
    return _native.Epilogue(
        act=_native.ACTS[act],
        row_scale=None if rows is None else view(rows[0]),
        row_shift=view(rows[1]) if rows is not None and shifted else None,
        residuals=residuals,
        grid=grid_of(grid),
        tuning=tuning,
        outputs=tuple(name for flag, name in names.items() if want & flag),
        **vectors(params, act, shifted=shifted),
    )


def wanted_results(results: _native.Outputs, kinds: tuple[Want, ...], lead: tuple[int, ...]) -> tuple[Tensor, ...]:
    bits = results.bits if results.t2 is None else results.t2
    arrays = {Want.MAP: results.out, Want.BITS: bits, Want.MEAN: results.mean, Want.CODES: results.codes}
    given: list[Tensor] = []
    for kind in kinds:
        array = arrays[kind]
        if array is None:
            given.append(torch.empty(0, dtype=_DTYPES[kind]))
        elif kind == Want.MEAN:
            given.append(torch.from_numpy(array))
        else:
            planes = (2,) if kind == Want.BITS and results.t2 is not None else ()
            given.append(torch.from_numpy(array).view(*planes, *lead, array.shape[-1]))
    return tuple(given)


def spatial(x: Tensor, kernel: tuple[int, int], stride: int, padding: int) -> tuple[int, int, int]:
    n, h, w, _ = x.shape
    return n, (h + 2 * padding - kernel[0]) // stride + 1, (w + 2 * padding - kernel[1]) // stride + 1


def flat(x: Tensor | None) -> Any:
    """(..., k) -> (m, k)"""
    return None if x is None else x.reshape(-1, x.shape[-1])
