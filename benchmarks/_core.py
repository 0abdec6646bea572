"""Calls into the C core with everything laid out beforehand, so that a timing holds the kernel and one foreign call.

`edgeq._native` checks and allocates on each call, which is right for users and wrong for a stopwatch.
"""

from __future__ import annotations

import ctypes as ct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeq import _native
from edgeq._errors import UsageError
from edgeq._native import _library
from edgeq._native._operator import team
from edgeq._native._structures import CConv2d, CEpilogue, CLinear, CQuant, CResidual

Array = npt.NDArray[np.generic]
Call = Callable[[], None]
_VECTORS = ("scale", "bias", "pos", "neg", "shift", "gain", "scale2", "bias2")
_RESULTS = ("out_acc", "out", "out_bits", "out_mean")


def isas(chosen: Sequence[str] = ()) -> tuple[str, ...]:
    """The instruction sets to run: the chosen ones, else every vector set of this machine, best first."""
    usable = _native.usable_isas()
    if missing := set(chosen) - set(usable):
        raise UsageError(f"--isa {', '.join(sorted(missing))}: not usable on this machine; usable: {', '.join(usable)}")
    vector = [name for name in reversed(usable) if name != "ref"]
    return tuple(chosen) or tuple(vector) or tuple(usable)


def library() -> bytes:
    """The file of the core that is measured."""
    return Path(_library.library()._name).read_bytes()


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
    getattr(_library.library(), rule)(ct.byref(op))
    return op


def linear(m: int, k: int, o: int) -> ct.Structure:
    return CLinear(m, k, o)


def quant(kind: int, top: float, scale: Array, step: Array) -> ct.Structure:
    q = CQuant(kind, top, scale.ctypes.data, step.ctypes.data)
    q.kept = (scale, step)
    return q


def operator(
    name: str, op: ct.Structure, inputs: Sequence[Array | ct.Structure], e: ct.Structure, *, threads: int = 1
) -> Call:
    """A ready call of `eq_NAME`. The scratch is that of the instruction set selected now: select it first."""
    lib = _library.library()
    workers = team(threads)
    shared = ct.byref(workers) if workers else None
    size = getattr(lib, f"eq_{name}_scratch")(ct.byref(op), ct.byref(e), shared)
    scratch = np.empty(size + 64, np.uint8)
    aligned = scratch.ctypes.data + -scratch.ctypes.data % 64
    given = [ct.byref(x) if isinstance(x, ct.Structure) else x.ctypes.data for x in inputs]
    return _ready(name, (ct.byref(op), *given, ct.byref(e), shared, aligned, size), (scratch, tuple(inputs), workers))


def pack_b1(x: Array, out: Array) -> Call:
    """x (rows, k) float32 -> out (rows, row_bytes(k))."""
    rows, k = x.shape
    return _ready("pack_b1", (x.ctypes.data, rows, k, None, out.ctypes.data), (x, out))


def mean_hw(x: Array, out: Array) -> Call:
    """x (n, h, w, c) -> out (n, c)."""
    size = _library.library().eq_mean_hw_scratch(*x.shape)
    scratch = np.empty(size + 64, np.uint8)
    aligned = scratch.ctypes.data + -scratch.ctypes.data % 64
    return _ready("mean_hw", (x.ctypes.data, *x.shape, out.ctypes.data, aligned, size), (x, out, scratch))


def _ready(name: str, arguments: tuple[object, ...], kept: object) -> Call:
    function = getattr(_library.library(), f"eq_{name}")

    def call(_kept: object = kept) -> None:
        if status := function(*arguments):
            raise UsageError(f"{name}: the core refused its arguments (status {status})")

    return call
