"""Packed embedding tables and layer normalisation (`edgeq/tokens.h`)."""

from __future__ import annotations

import ctypes as ct
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from edgeq._errors import UsageError

from ._arrays import F32, I8, U8, address, check, floats, matrix, row_bytes, scratch_memory
from ._library import call, library
from ._operator import c_tuning
from ._structures import CLookup, CNorm, CWeightsI4
from .integer import WeightsI4, c_weights_i4
from .types import Tuning

I64 = npt.NDArray[np.int64]


def embedding_b1(ids: I64, w: U8, k: int, scale: F32) -> F32:
    """ids (...) int64, w (rows, row_bytes(k)) uint8, scale (rows,) -> (..., k) float32: scale * +-1.

    raises  UsageError naming an id that the table does not have
    """
    rows, _ = matrix("w", w)
    check("w", w, np.uint8, (rows, row_bytes(k)))
    return _lookup("embedding_b1", ids, rows, k, (address(w), floats("scale", scale, (rows,))))


def embedding_t2(ids: I64, w: U8, k: int, scale: F32) -> F32:
    """The same with w (2, rows, row_bytes(k)), planes w > 0 and w != 0: scale * -1, 0 or +1."""
    if w.ndim != 3:
        raise UsageError(f"w: expected (2, rows, row), got shape {w.shape}")
    rows = w.shape[1]
    check("w", w, np.uint8, (2, rows, row_bytes(k)))
    return _lookup("embedding_t2", ids, rows, k, (address(w), floats("scale", scale, (rows,))))


def embedding_i8(ids: I64, w: I8, scale: F32) -> F32:
    """The same with w (rows, k) int8: code * scale."""
    rows, k = matrix("w", w)
    check("w", w, np.int8)
    return _lookup("embedding_i8", ids, rows, k, (address(w), floats("scale", scale, (rows,))))


def embedding_i4(ids: I64, w: WeightsI4, k: int) -> F32:
    """The same with 4-bit codes in groups: (code - zero) * scale."""
    rows, _ = matrix("w", w.codes)
    c: CWeightsI4 = c_weights_i4(w, rows, k)
    return _lookup("embedding_i4", ids, rows, k, (ct.byref(c),))


def _lookup(name: str, ids: I64, rows: int, k: int, table: tuple[object, ...]) -> F32:
    check("ids", ids, np.int64)
    outside = ids[(ids < 0) | (ids >= rows)]
    if outside.size:
        raise UsageError(f"{name}: id {outside[0]} is not in the table of {rows} rows")
    out = np.empty((*ids.shape, k), np.float32)
    op = CLookup(address(ids), prod(ids.shape), rows, k)
    call(name, ct.byref(op), *table, address(out))
    return out


@dataclass(frozen=True)
class Normalised:
    """The results that layer_norm was asked for; the others are None."""

    out: F32 | None = None
    bits: U8 | None = None
    t2: U8 | None = None
    moments: F32 | None = None


def layer_norm(
    x: F32,
    gamma: F32,
    beta: F32,
    eps: float,
    *,
    residual: F32 | None = None,
    threshold: F32 | None = None,
    out: bool = True,
    bits: bool = False,
    t2: bool = False,
    tuning: Tuning | None = None,
    images: int = 1,
    mask: U8 | None = None,
    moments: bool = False,
) -> Normalised:
    """Layer normalisation of x + residual, (rows, k) float32, and what becomes of it.

    threshold  (k,), instead of 0, for the bits
    tuning     corrections of gamma and beta; the rows are the tokens of so many images, one after the other
    mask       (rows,): tokens with 0 do not count in the moments, which need `out`
    return     out (rows, k) float32; bits (rows, row) y >= threshold; t2 (2, rows, row) y > and y != threshold;
               moments (images, 2, k)
    """
    rows, k = matrix("x", x)
    row = row_bytes(k)
    results = Normalised(
        np.empty((rows, k), np.float32) if out else None,
        np.empty((rows, row), np.uint8) if bits else None,
        np.empty((2, rows, row), np.uint8) if t2 else None,
        np.empty((images, 2, k), np.float32) if moments else None,
    )
    inputs = [floats("x", x), floats("residual", residual, (rows, k)), floats("gamma", gamma, (k,))]
    inputs += [floats("beta", beta, (k,)), floats("threshold", threshold, (k,))]
    c = CNorm(rows, k, eps, *inputs, address(results.out), address(results.bits), address(results.t2))
    if tuning is None:
        call("layer_norm", ct.byref(c))
        return results
    if mask is not None:
        check("mask", mask, np.uint8, (rows,))
    corrections = c_tuning(tuning, images, k, results.moments)
    size = library().eq_layer_norm_tuned_scratch(k)
    scratch = scratch_memory(size)
    call("layer_norm_tuned", ct.byref(c), images, ct.byref(corrections), address(mask), address(scratch), size)
    return results
