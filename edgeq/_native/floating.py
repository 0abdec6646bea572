"""8- and 4-bit weights against fake-quantised float activations (`edgeq/floating.h`)."""

from __future__ import annotations

import ctypes as ct

import numpy as np

from ._arrays import F32, I8, U8, address, check, matrix, row_bytes
from ._operator import convolution, linear, quantiser
from .types import Conv2d, Epilogue, Outputs, Quant


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
