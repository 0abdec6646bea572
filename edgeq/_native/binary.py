"""Packing of signs, and binary weights against binary activations (`edgeq/binary.h`)."""

from __future__ import annotations

import numpy as np

from ._arrays import F32, U8, address, check, floats, matrix, row_bytes
from ._library import call
from ._operator import convolution, linear
from .types import Conv2d, Epilogue, Outputs


def pack_b1(x: F32, threshold: F32 | None = None) -> U8:
    """x (rows, k) -> (rows, row_bytes(k)) uint8, lowest bit first, bit = (x >= threshold[k])."""
    rows, k = matrix("x", x)
    out = np.empty((rows, row_bytes(k)), np.uint8)
    call("pack_b1", floats("x", x), rows, k, floats("threshold", threshold, (k,)), address(out))
    return out


def pack_t2(x: F32, threshold: F32 | None = None) -> U8:
    """x (rows, k) -> (2, rows, row_bytes(k)) uint8: planes x > threshold and x != threshold."""
    rows, k = matrix("x", x)
    out = np.empty((2, rows, row_bytes(k)), np.uint8)
    call("pack_t2", floats("x", x), rows, k, floats("threshold", threshold, (k,)), address(out))
    return out


def conv2d_b1b1(x: U8, w: U8, op: Conv2d, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (n, h, w, row_bytes(c)), w (o, kh, kw, row_bytes(c / groups)), both uint8."""
    check("x", x, np.uint8, (op.n, op.h, op.w, row_bytes(op.c)))
    check("w", w, np.uint8, (op.o, op.kh, op.kw, row_bytes(op.c // max(op.groups, 1))))
    return convolution("conv2d_b1b1", op, (address(x), address(w)), epilogue, threads)


def linear_b1b1(x: U8, w: U8, k: int, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (m, row_bytes(k)), w (o, row_bytes(k)), both uint8; outputs are (m, o)."""
    m, _ = matrix("x", x)
    o, _ = matrix("w", w)
    check("x", x, np.uint8, (m, row_bytes(k)))
    check("w", w, np.uint8, (o, row_bytes(k)))
    return linear("linear_b1b1", (m, k, o), (address(x), address(w)), epilogue, threads)
