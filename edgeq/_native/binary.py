"""Packing of signs, and products of one- and two-plane operands (`edgeq/binary.h`)."""

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


def conv2d_b1t2(x: U8, w: U8, op: Conv2d, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (2, n, h, w, row_bytes(c)): planes x > 0 and x != 0; w (o, kh, kw, row_bytes(c / groups)); both uint8."""
    check("x", x, np.uint8, (2, op.n, op.h, op.w, row_bytes(op.c)))
    check("w", w, np.uint8, (op.o, op.kh, op.kw, row_bytes(op.c // max(op.groups, 1))))
    return convolution("conv2d_b1t2", op, (address(x), address(w)), epilogue, threads)


def conv2d_b1u1(x: U8, w: U8, op: Conv2d, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (n, h, w, row_bytes(c)) of zeros and ones, w (o, kh, kw, row_bytes(c / groups)) of signs; both uint8."""
    check("x", x, np.uint8, (op.n, op.h, op.w, row_bytes(op.c)))
    check("w", w, np.uint8, (op.o, op.kh, op.kw, row_bytes(op.c // max(op.groups, 1))))
    return convolution("conv2d_b1u1", op, (address(x), address(w)), epilogue, threads)


def conv2d_t2b1(x: U8, w: U8, op: Conv2d, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (n, h, w, row_bytes(c)) of signs, w (2, o, kh, kw, row_bytes(c / groups)): planes w > 0 and w != 0; uint8."""
    check("x", x, np.uint8, (op.n, op.h, op.w, row_bytes(op.c)))
    check("w", w, np.uint8, (2, op.o, op.kh, op.kw, row_bytes(op.c // max(op.groups, 1))))
    return convolution("conv2d_t2b1", op, (address(x), address(w)), epilogue, threads)


def linear_b1t2(x: U8, w: U8, k: int, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (2, m, row_bytes(k)): planes x > 0 and x != 0; w (o, row_bytes(k)); both uint8; outputs are (m, o)."""
    m, o = _rows("x", x, k, 2), _rows("w", w, k)
    return linear("linear_b1t2", (m, k, o), (address(x), address(w)), epilogue, threads)


def linear_b1u1(x: U8, w: U8, k: int, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (m, row_bytes(k)) of zeros and ones, w (o, row_bytes(k)) of signs; both uint8; outputs are (m, o)."""
    m, o = _rows("x", x, k), _rows("w", w, k)
    return linear("linear_b1u1", (m, k, o), (address(x), address(w)), epilogue, threads)


def linear_t2b1(x: U8, w: U8, k: int, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (m, row_bytes(k)) of signs, w (2, o, row_bytes(k)): planes w > 0 and w != 0; both uint8; outputs are (m, o)."""
    m, o = _rows("x", x, k), _rows("w", w, k, 2)
    return linear("linear_t2b1", (m, k, o), (address(x), address(w)), epilogue, threads)


def _rows(what: str, a: U8, k: int, planes: int = 1) -> int:
    """How many packed rows of k bits there are: (rows, row_bytes(k)), with two planes (2, rows, row_bytes(k))."""
    rows = a.shape[-2] if a.ndim >= 2 else 0
    check(what, a, np.uint8, (rows, row_bytes(k)) if planes == 1 else (planes, rows, row_bytes(k)))
    return rows
