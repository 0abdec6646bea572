"""Calls into the C core with everything laid out beforehand, so that a timing holds the kernel and one foreign call.

`edgeq._native` checks and allocates on each call, which is right for users and wrong for a stopwatch. Arrays here are
C-contiguous and of the shapes that the core's headers state; nothing is checked.
"""

from __future__ import annotations

import ctypes as ct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeq._errors import UsageError

from ._library import library
from ._operator import team
from ._structures import CCodes, CConv2d, CEpilogue, CLinear, CQuant, CResidual, CThreads
from .integer import CODES_KINDS

Array = npt.NDArray[Any]
_VECTORS = ("scale", "bias", "pos", "neg", "shift", "gain", "scale2", "bias2", "row_scale")
_RESULTS = ("out_acc", "out", "out_bits", "out_mean")
_SIZED_BY_WEIGHTS = ("i4",)  # whose kind and group say how large their tiles are


class Call:
    """A function of the core and its arguments: pointers, numbers, structures by reference."""

    def __init__(self, name: str, arguments: tuple[Any, ...], kept: object) -> None:
        self.name, self.arguments, self.kept = name, arguments, kept  # kept: alive as long as the pointers
        self.function = getattr(library(), f"eq_{name}")

    def __call__(self) -> None:
        if status := self.function(*self.arguments):
            raise UsageError(f"{self.name}: the core refused its arguments (status {status})")

    def words(self) -> list[int]:
        """The arguments as they are passed: numbers and addresses."""
        return [ct.addressof(a._obj) if hasattr(a, "_obj") else a or 0 for a in self.arguments]


def epilogue(
    arrays: Mapping[str, Array],
    *,
    act: int = 0,
    residuals: Sequence[tuple[Array, int]] = (),
) -> ct.Structure:
    """`eq_epilogue`. arrays: members by name (scale, gain, out_bits, ...); residuals: (n, h, w, c) data and mode."""
    e = CEpilogue(act=act)
    for name, array in arrays.items():
        if name not in (*_VECTORS, *_RESULTS) or not array.flags.c_contiguous:
            raise ValueError(f"{name}: not a contiguous member of eq_epilogue")
        setattr(e, name, array.ctypes.data)
    for i, (data, mode) in enumerate(residuals):
        _, h, w, c = data.shape
        e.residual[i] = CResidual(data.ctypes.data, h, w, c, mode)
    e.kept = (tuple(arrays.values()), tuple(data for data, _ in residuals))  # alive as long as the pointers
    return e


def conv2d(
    n: int, h: int, w: int, c: int, o: int, kernel: tuple[int, int], stride: int, groups: int = 1, *, same: bool = True
) -> ct.Structure:
    """`eq_conv2d`, padding and output size filled in."""
    op = CConv2d(n, h, w, c, o, *kernel, stride, stride, 0, 0, 0, 0, groups)
    rule = "eq_conv2d_same" if same else "eq_conv2d_valid"
    getattr(library(), rule)(ct.byref(op))
    return op


def linear(m: int, k: int, o: int) -> ct.Structure:
    return CLinear(m, k, o)


def quant(kind: int, top: float, scale: Array, step: Array) -> ct.Structure:
    q = CQuant(kind, top, scale.ctypes.data, step.ctypes.data)
    q.kept = (scale, step)
    return q


def operator(
    name: str, op: ct.Structure, inputs: Sequence[Array | ct.Structure], e: ct.Structure, *, threads: int | CThreads = 1
) -> Call:
    """A ready call of `eq_NAME`. The scratch is that of the instruction set and choices of now: select them first."""
    workers = _workers(threads)
    shared = ct.byref(workers) if workers else None
    size = getattr(library(), f"eq_{name}_scratch")(ct.byref(op), ct.byref(e), shared)
    scratch = _aligned(size)
    given = [ct.byref(x) if isinstance(x, ct.Structure) else x.ctypes.data for x in inputs]
    arguments = (ct.byref(op), *given, ct.byref(e), shared, scratch.ctypes.data, size)
    return Call(name, arguments, (scratch, tuple(inputs), workers))


def tiles(name: str, o: int, k: int, weights: Array | ct.Structure) -> Array:
    """`eq_tiles_NAME` of weights, for the instruction set in use. name: b1, b1b1, t2, s2, s3, s4 (planes), i4, i8."""
    size_of, make = getattr(library(), f"eq_tiles_{name}_bytes"), getattr(library(), f"eq_tiles_{name}")
    pointer = ct.byref(weights) if isinstance(weights, ct.Structure) else weights.ctypes.data
    sized = name in _SIZED_BY_WEIGHTS
    size_of.restype, make.argtypes = ct.c_size_t, [ct.c_uint32, ct.c_uint32, ct.c_void_p, ct.c_void_p]
    size_of.argtypes = [ct.c_uint32, ct.c_uint32, *([ct.c_void_p] if sized else [])]
    made = _aligned(size_of(o, k, *([pointer] if sized else [])))
    if status := make(o, k, pointer, made.ctypes.data):
        raise UsageError(f"tiles_{name}: the core refused its arguments (status {status})")
    return made


def tiles_conv2d_b1b1(op: ct.Structure, weights: Array) -> Array:
    """`eq_tiles_conv2d_b1b1` of weights, for the instruction set in use and images of the size that `op` says."""
    size_of, make = library().eq_tiles_conv2d_b1b1_bytes, library().eq_tiles_conv2d_b1b1
    size_of.restype, size_of.argtypes, make.argtypes = ct.c_size_t, [ct.c_void_p], [ct.c_void_p] * 3
    made = _aligned(size_of(ct.byref(op)))
    if status := make(ct.byref(op), weights.ctypes.data, made.ctypes.data):
        raise UsageError(f"tiles_conv2d_b1b1: the core refused its arguments (status {status})")
    return made


def tiled_conv2d_b1b1(op: ct.Structure, x: Array, made: Array, e: ct.Structure, *, threads: int | CThreads = 1) -> Call:
    """A ready call of `eq_conv2d_b1b1_tiled`."""
    workers = _workers(threads)
    shared = ct.byref(workers) if workers else None
    library().eq_conv2d_b1b1_tiled.argtypes = [*[ct.c_void_p] * 6, ct.c_size_t]
    size = library().eq_conv2d_b1b1_scratch(ct.byref(op), ct.byref(e), shared)
    scratch = _aligned(size)
    arguments = (ct.byref(op), x.ctypes.data, made.ctypes.data, ct.byref(e), shared, scratch.ctypes.data, size)
    return Call("conv2d_b1b1_tiled", arguments, (scratch, x, made, workers, op, e))


def tiled_linear(
    name: str,
    op: ct.Structure,
    inputs: Sequence[Array | None],
    made: Array,
    e: ct.Structure,
    *,
    threads: int | CThreads = 1,
) -> Call:
    """A ready call of `eq_linear_NAME_tiled`. inputs: those in front of the tiles."""
    workers = _workers(threads)
    shared = ct.byref(workers) if workers else None
    run = getattr(library(), f"eq_linear_{name}_tiled")
    run.argtypes = [*[ct.c_void_p] * (len(inputs) + 5), ct.c_size_t]
    if name.startswith("b1"):  # bits need the scratch of the operator without tiles
        size = getattr(library(), f"eq_linear_{name}_scratch")(ct.byref(op), ct.byref(e), shared)
    else:
        size_of = getattr(library(), f"eq_linear_{name}_tiled_scratch")
        size_of.restype, size_of.argtypes = ct.c_size_t, [ct.c_void_p] * 4
        size = size_of(ct.byref(op), made.ctypes.data, ct.byref(e), shared)
    scratch = _aligned(size)
    given = [None if x is None else x.ctypes.data for x in inputs]
    arguments = (ct.byref(op), *given, made.ctypes.data, ct.byref(e), shared, scratch.ctypes.data, size)
    return Call(f"linear_{name}_tiled", arguments, (scratch, tuple(inputs), made, workers, op, e))


def i4i8(op: ct.Structure, x: Array, weights: ct.Structure, e: ct.Structure, *, threads: int | CThreads = 1) -> Call:
    """A ready call of `eq_linear_i4i8` over codes by row, or of `eq_conv2d_i4i8`, as `op` says."""
    name = "conv2d_i4i8" if isinstance(op, CConv2d) else "linear_i4i8"
    workers = _workers(threads)
    shared = ct.byref(workers) if workers else None
    size = getattr(library(), f"eq_{name}_scratch")(ct.byref(op), ct.byref(weights), ct.byref(e), shared)
    scratch = _aligned(size)
    given = (x.ctypes.data,) if isinstance(op, CConv2d) else (x.ctypes.data, None)  # no steps of blocks
    arguments = (ct.byref(op), *given, ct.byref(weights), ct.byref(e), shared, scratch.ctypes.data, size)
    return Call(name, arguments, (scratch, x, weights, e, op, workers))


def quantise_i8(x: Array, codes: Array, step: Array, *, blocks: bool = False, threads: int | CThreads = 1) -> Call:
    """x (rows, k) float32 -> codes of the same shape and the step of each row, or of each 32 inputs."""
    kind = CODES_KINDS.index("block32-sym" if blocks else "row-sym")
    q = CCodes(kind)
    workers = _workers(threads)
    shared = ct.byref(workers) if workers else None
    rows, k = x.shape
    arguments = (ct.byref(q), x.ctypes.data, rows, k, codes.ctypes.data, step.ctypes.data, None, shared)
    return Call("quantise_i8", arguments, (q, x, codes, step, workers))


def pack_b1(x: Array, out: Array) -> Call:
    """x (rows, k) float32 -> out (rows, row_bytes(k))."""
    rows, k = x.shape
    return Call("pack_b1", (x.ctypes.data, rows, k, None, out.ctypes.data), (x, out))


def mean_hw(x: Array, out: Array) -> Call:
    """x (n, h, w, c) -> out (n, c)."""
    size = library().eq_mean_hw_scratch(*x.shape)
    scratch = _aligned(size)
    return Call("mean_hw", (x.ctypes.data, *x.shape, out.ctypes.data, scratch.ctypes.data, size), (x, out, scratch))


def _workers(threads: int | CThreads) -> CThreads | None:
    return threads if isinstance(threads, CThreads) else team(threads)


def _aligned(size: int) -> Array:
    """Bytes that start at a multiple of 64."""
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]
