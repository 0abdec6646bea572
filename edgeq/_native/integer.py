"""Signed 8-bit activations: their quantiser, and products with weights of 1 to 8 bits (`edgeq/integer.h`)."""

from __future__ import annotations

import ctypes as ct
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeq._errors import UsageError

from ._arrays import F32, I8, U8, address, check, code, floats, matrix, row_bytes
from ._library import call
from ._operator import convolution, grid_of, linear, team
from ._structures import CCodes, CWeightsI4
from .types import Conv2d, Epilogue, Grid, Outputs

F16 = npt.NDArray[np.float16]
Weights = Literal["b1", "t2", "s2", "s3", "s4", "i8"]
WEIGHT_PLANES: dict[Weights, int] = {"b1": 1, "t2": 2, "s2": 2, "s3": 3, "s4": 4, "i8": 1}
CodesKind = Literal["static", "row-sym", "row-asym", "tensor-sym", "tensor-asym", "block32-sym"]
CODES_KINDS: tuple[CodesKind, ...] = ("static", "row-sym", "row-asym", "tensor-sym", "tensor-asym", "block32-sym")
BLOCK = 32


@dataclass(frozen=True)
class WeightsI4:
    """4-bit codes in groups along k: codes (o, row_bytes(4 k)) uint8, scale (o, G) float16; zero None (8 is meant),
    (o, ceil(G / 2)) uint8 nibbles or (o, G) float16; group a multiple of 32, or k."""

    codes: U8
    scale: F16
    group: int
    zero: U8 | F16 | None = None


def quantise_i8(
    x: F32, kind: CodesKind, *, grid: Grid | None = None, clip: float = 0.0, threads: int = 1
) -> tuple[I8, F32 | None, F32 | None]:
    """x (rows, k) float32 -> codes (rows, k), step and shift (rows,) where the kind gives them (integer.h).

    grid  of kind static; clip > 0: the others clip x to [-clip, clip] first. block32-sym: step is (rows, ceil(k / 32))
    """
    rows, k = matrix("x", x)
    c = CCodes(code("codes kind", kind, CODES_KINDS), clip=clip)
    if (kind == "static") != (grid is not None):
        raise UsageError("quantise_i8: a grid goes with kind static, and only with that")
    c.grid = grid_of(grid)
    codes = np.empty((rows, k), np.int8)
    step = np.empty((rows, -(-k // BLOCK)) if kind == "block32-sym" else (rows,), np.float32)
    shift = np.empty(rows, np.float32) if kind.endswith("-asym") else None
    workers = team(threads)
    shared = ct.byref(workers) if workers else None
    call("quantise_i8", ct.byref(c), floats("x", x), rows, k, address(codes), address(step), address(shift), shared)
    return codes, None if kind == "static" else step, shift


def weight_shape(weights: Weights, op: Conv2d) -> tuple[int, ...]:
    """Shape of a convolution's packed weights (uint8; for i8 int8)."""
    cg = op.c // max(op.groups, 1)
    if weights == "i8":
        return op.o, op.kh, op.kw, cg
    if op.groups == op.c > 1:
        return WEIGHT_PLANES[weights], op.kh, op.kw, row_bytes(op.o)
    return WEIGHT_PLANES[weights], op.o, op.kh, op.kw, row_bytes(cg)


def conv2d_i8(weights: Weights, x: I8, w: U8 | I8, op: Conv2d, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """conv2d_{weights}i8: x (n, h, w, c) int8, w as `weight_shape` says."""
    code("weights", weights, tuple(WEIGHT_PLANES))
    check("x", x, np.int8, (op.n, op.h, op.w, op.c))
    check("w", w, np.int8 if weights == "i8" else np.uint8, weight_shape(weights, op))
    return convolution(f"conv2d_{weights}i8", op, (address(x), address(w)), epilogue, threads)


def linear_i8(weights: Weights, x: I8, w: U8 | I8, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """linear_{weights}i8: x (m, k) int8, w (planes, o, row_bytes(k)) uint8, for i8 (o, k) int8; outputs are (m, o)."""
    code("weights", weights, tuple(WEIGHT_PLANES))
    m, k = matrix("x", x)
    check("x", x, np.int8)
    o = w.shape[-2] if w.ndim >= 2 else 0
    shape = (o, k) if weights == "i8" else (WEIGHT_PLANES[weights], o, row_bytes(k))
    check("w", w, np.int8 if weights == "i8" else np.uint8, shape)
    return linear(f"linear_{weights}i8", (m, k, o), (address(x), address(w)), epilogue, threads)


def c_weights_i4(w: WeightsI4, o: int, k: int) -> CWeightsI4:
    """The C side of o rows of k weights, checked; `w` must outlive it."""
    groups = -(-k // w.group) if w.group > 0 else 0
    check("codes", w.codes, np.uint8, (o, row_bytes(4 * k)))
    check("scale", w.scale, np.float16, (o, groups))
    kind = 0
    if w.zero is not None:
        kind = 1 if w.zero.dtype == np.uint8 else 2
        check("zero", w.zero, (np.uint8, np.float16)[kind - 1], (o, (groups + 1) // 2 if kind == 1 else groups))
    return CWeightsI4(address(w.codes), address(w.scale), kind, address(w.zero), w.group)


def linear_i4i8(x: I8, w: WeightsI4, epilogue: Epilogue, *, block_step: F32 | None = None, threads: int = 1) -> Outputs:
    """x (m, k) int8, block_step (m, ceil(k / 32)) float32 for one activation step per 32 inputs; outputs are (m, o)."""
    m, k = matrix("x", x)
    o, _ = matrix("codes", w.codes)
    check("x", x, np.int8)
    c = c_weights_i4(w, o, k)
    steps = floats("block_step", block_step, (m, -(-k // BLOCK)))
    inputs = (address(x), steps, ct.byref(c))
    return linear("linear_i4i8", (m, k, o), inputs, epilogue, threads, described_by=ct.byref(c))


def conv2d_i4i8(x: I8, w: WeightsI4, op: Conv2d, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (n, h, w, c) int8; rows of w hold the k = kh * kw * c inputs of a window, tap after tap; op.groups is 1."""
    check("x", x, np.int8, (op.n, op.h, op.w, op.c))
    c = c_weights_i4(w, op.o, op.kh * op.kw * op.c)
    return convolution("conv2d_i4i8", op, (address(x), ct.byref(c)), epilogue, threads, described_by=ct.byref(c))
