"""Float activations: fake-quantised against 8- and 4-bit weights, plain against others (`edgeq/floating.h`)."""

from __future__ import annotations

import ctypes as ct
from typing import Literal

import numpy as np

from ._arrays import F32, I8, U8, address, check, code, matrix, row_bytes
from ._library import call
from ._operator import convolution, linear, quantiser
from .integer import WEIGHT_PLANES, weight_shape
from .types import Conv2d, Epilogue, Outputs, Quant

FloatWeights = Literal["b1", "t2", "s2", "s3", "s4", "f32"]
FLOAT_CONV2D: tuple[FloatWeights, ...] = ("s2", "s3", "s4", "f32")
FLOAT_LINEAR: tuple[FloatWeights, ...] = ("b1", "t2", "s2", "s3", "s4", "f32")


def fake_quantise(x: F32, quant: Quant) -> F32:
    """x (m, k) float32 -> the values that an operator with this quantiser sees of it."""
    m, k = matrix("x", x)
    check("x", x, np.float32, (m, k))
    q, out = quantiser(quant, k), np.empty((m, k), np.float32)
    call("fake_quantise", ct.byref(q), address(x), m, k, address(out))
    return out


def conv2d_i8f32(x: F32, quant: Quant, w: I8, op: Conv2d, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (n, h, w, c) float32, w (o, kh, kw, c / groups) int8."""
    check("x", x, np.float32, (op.n, op.h, op.w, op.c))
    check("w", w, np.int8, (op.o, op.kh, op.kw, op.c // max(op.groups, 1)))
    q = quantiser(quant, op.c)
    return convolution("conv2d_i8f32", op, (address(x), ct.byref(q), address(w)), epilogue, threads)


def linear_i8f32(x: F32, quant: Quant, w: I8, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (m, k) float32, w (o, k) int8; outputs are (m, o)."""
    m, k = matrix("x", x)
    o, _ = matrix("w", w)
    check("x", x, np.float32, (m, k))
    check("w", w, np.int8, (o, k))
    q = quantiser(quant, k)
    return linear("linear_i8f32", (m, k, o), (address(x), ct.byref(q), address(w)), epilogue, threads)


def linear_i4f32(x: F32, quant: Quant, w: U8, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (m, k) float32, w (o, row_bytes(4 * k)) uint8: two codes a byte, meaning code - 8; outputs are (m, o)."""
    m, k = matrix("x", x)
    o, _ = matrix("w", w)
    check("x", x, np.float32, (m, k))
    check("w", w, np.uint8, (o, row_bytes(4 * k)))
    q = quantiser(quant, k)
    return linear("linear_i4f32", (m, k, o), (address(x), ct.byref(q), address(w)), epilogue, threads)


def conv2d_f32(
    weights: FloatWeights, x: F32, w: U8 | F32, op: Conv2d, epilogue: Epilogue, *, threads: int = 1
) -> Outputs:
    """conv2d_{weights}f32 of s2 s3 s4 f32: x (n, h, w, c) float32, w as `weight_shape` says, f32 as i8 there."""
    code("weights", weights, FLOAT_CONV2D)
    check("x", x, np.float32, (op.n, op.h, op.w, op.c))
    wide = weights == "f32"
    check("w", w, np.float32 if wide else np.uint8, weight_shape("i8" if weights == "f32" else weights, op))
    return convolution(f"conv2d_{weights}f32", op, (address(x), address(w)), epilogue, threads)


def linear_f32(weights: FloatWeights, x: F32, w: U8 | F32, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """linear_{weights}f32 of b1 t2 s2 s3 s4 f32: x (m, k) float32, w (planes, o, row_bytes(k)) uint8, f32 (o, k)."""
    code("weights", weights, FLOAT_LINEAR)
    m, k = matrix("x", x)
    check("x", x, np.float32)
    o = w.shape[-2] if w.ndim >= 2 else 0
    if weights == "f32":
        check("w", w, np.float32, (o, k))
    else:
        check("w", w, np.uint8, (WEIGHT_PLANES[weights], o, row_bytes(k)))
    return linear(f"linear_{weights}f32", (m, k, o), (address(x), address(w)), epilogue, threads)
