"""The only binding to the C core: operators over numpy arrays, one to one with `runtime/include/edgeq/ops.h`.

Arrays are C-contiguous; nothing is converted silently: a wrong dtype, layout or size raises UsageError before C
sees a pointer. The library is `edgeq/_lib/libedgeq.so`, or the file that EDGEQ_LIBRARY names; EDGEQ_ISA picks the
instruction set.
"""

from __future__ import annotations

import ctypes as ct
import os
import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cache
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeq import _paths
from edgeq._errors import UnsupportedError, UsageError

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I8 = npt.NDArray[np.int8]
U8 = npt.NDArray[np.uint8]

ISA_NAMES = ("ref", "avx2", "avx512", "neon", "neon-dotprod")
ACTS: tuple[Act, ...] = ("none", "relu", "dprelu", "hsigmoid")
RESIDUAL_MODES = ("pad", "tile")
QUANT_KINDS = ("none", "sym", "pos")
OUTPUTS = ("acc", "out", "bits", "mean")

Act = Literal["none", "relu", "dprelu", "hsigmoid"]
ResidualMode = Literal["pad", "tile"]
QuantKind = Literal["none", "sym", "pos"]
Output = Literal["acc", "out", "bits", "mean"]


def row_bytes(k: int) -> int:
    """Bytes of one packed row of k bits: 1, 2, 4, or a multiple of 8."""
    return 1 if k <= 8 else 2 if k <= 16 else 4 if k <= 32 else (k + 63) // 64 * 8


@dataclass(frozen=True)
class Conv2d:
    """Geometry of a convolution over NHWC; `same` and `valid` fill the padding and the output's size."""

    n: int
    h: int
    w: int
    c: int
    o: int
    kh: int
    kw: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    out_h: int
    out_w: int
    groups: int = 1

    @classmethod
    def same(
        cls,
        shape: Sequence[int],
        o: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> Conv2d:
        """shape (n, h, w, c); TensorFlow's SAME: out = ceil(size / stride), the odd zero at the end."""
        return cls._filled("eq_conv2d_same", shape, o, kernel, stride, groups)

    @classmethod
    def valid(
        cls,
        shape: Sequence[int],
        o: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> Conv2d:
        """shape (n, h, w, c); no padding, incomplete windows dropped."""
        return cls._filled("eq_conv2d_valid", shape, o, kernel, stride, groups)

    @classmethod
    def _filled(
        cls,
        rule: str,
        shape: Sequence[int],
        o: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        groups: int,
    ) -> Conv2d:
        n, h, w, c = shape
        op = _Conv2d(*_u32s(n, h, w, c, o, *kernel, *stride, 0, 0, 0, 0, groups))
        getattr(_library(), rule)(ct.byref(op))
        return cls(*(int(getattr(op, field.name)) for field in fields(cls)))


@dataclass(frozen=True)
class Residual:
    """A tensor (n, h, w, c) float32 added to the output; brought to its shape as types.h says."""

    data: F32
    mode: ResidualMode = "pad"


@dataclass(frozen=True)
class Epilogue:
    """What happens to an accumulator (types.h, eq_epilogue); per-channel vectors are (o,), gain is (n, o)."""

    scale: F32 | None = None
    bias: F32 | None = None
    residuals: tuple[Residual, ...] = ()
    act: Act = "none"
    pos: F32 | None = None
    neg: F32 | None = None
    shift: F32 | None = None
    gain: F32 | None = None
    scale2: F32 | None = None
    bias2: F32 | None = None
    outputs: tuple[Output, ...] = ("out",)


@dataclass(frozen=True)
class Quant:
    """Fake quantisation of the input, per channel: scale s and step 1 / s are (c,)."""

    kind: QuantKind = "none"
    top: float = 0.0
    scale: F32 | None = None
    step: F32 | None = None


@dataclass(frozen=True)
class Outputs:
    """The outputs that the epilogue asked for; the others are None."""

    acc: I32 | None = None
    out: F32 | None = None
    bits: U8 | None = None
    mean: F32 | None = None


# ---- the C side of the types -----------------------------------------------------------------------------


class _Conv2d(ct.Structure):
    _fields_ = tuple((field.name, ct.c_uint32) for field in fields(Conv2d))


class _Linear(ct.Structure):
    _fields_ = (("m", ct.c_uint32), ("k", ct.c_uint32), ("o", ct.c_uint32))


class _Residual(ct.Structure):
    _fields_ = (
        ("data", ct.c_void_p),
        ("h", ct.c_uint32),
        ("w", ct.c_uint32),
        ("c", ct.c_uint32),
        ("mode", ct.c_int),
    )


class _Epilogue(ct.Structure):
    _fields_ = (
        ("scale", ct.c_void_p),
        ("bias", ct.c_void_p),
        ("residual", _Residual * 2),
        ("act", ct.c_int),
        ("pos", ct.c_void_p),
        ("neg", ct.c_void_p),
        ("shift", ct.c_void_p),
        ("gain", ct.c_void_p),
        ("scale2", ct.c_void_p),
        ("bias2", ct.c_void_p),
        ("out_acc", ct.c_void_p),
        ("out", ct.c_void_p),
        ("out_bits", ct.c_void_p),
        ("out_mean", ct.c_void_p),
    )


class _Quant(ct.Structure):
    _fields_ = (("kind", ct.c_int), ("top", ct.c_float), ("scale", ct.c_void_p), ("step", ct.c_void_p))


_TASK = ct.CFUNCTYPE(None, ct.c_void_p, ct.c_size_t, ct.c_size_t, ct.c_uint)
_RUN = ct.CFUNCTYPE(None, ct.c_void_p, _TASK, ct.c_void_p, ct.c_size_t)


class _Threads(ct.Structure):
    _fields_ = (("workers", ct.c_uint), ("run", _RUN), ("context", ct.c_void_p))


_POINTER = ct.c_void_p
_SIZE = ct.c_size_t
_U32 = ct.c_uint32
_OPERATORS = ("conv2d_b1b1", "linear_b1b1", "conv2d_i8f32", "linear_i8f32", "linear_i4f32")


def _declare(lib: ct.CDLL) -> None:
    """Argument types of every function, so that a pointer never passes through a C int."""
    signatures: dict[str, tuple[object, list[object]]] = {
        "eq_status_text": (ct.c_char_p, [ct.c_int]),
        "eq_conv2d_same": (None, [_POINTER]),
        "eq_conv2d_valid": (None, [_POINTER]),
        "eq_isa_usable": (ct.c_bool, [ct.c_int]),
        "eq_isa_current": (ct.c_int, []),
        "eq_isa_select": (ct.c_int, [ct.c_int]),
        "eq_isa_allow": (None, [ct.c_int]),
        "eq_pack_b1": (ct.c_int, [_POINTER, _SIZE, _U32, _POINTER, _POINTER]),
        "eq_pack_t2": (ct.c_int, [_POINTER, _SIZE, _U32, _POINTER, _POINTER]),
        "eq_epilogue_i32_scratch": (_SIZE, [_U32, _U32, _U32, _U32, _POINTER]),
        "eq_epilogue_i32": (ct.c_int, [_POINTER, _U32, _U32, _U32, _U32, _POINTER, _POINTER, _SIZE]),
        "eq_mean_hw_scratch": (_SIZE, [_U32, _U32, _U32, _U32]),
        "eq_mean_hw": (ct.c_int, [_POINTER, _U32, _U32, _U32, _U32, _POINTER, _POINTER, _SIZE]),
    }
    for name in _OPERATORS:
        inputs = 3 if name.endswith("f32") else 2  # x, w and, for float activations, the quantiser
        signatures[f"eq_{name}_scratch"] = (_SIZE, [_POINTER] * 3)
        signatures[f"eq_{name}"] = (ct.c_int, [_POINTER] * (inputs + 4) + [_SIZE])
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments


@cache
def _library() -> ct.CDLL:
    path = _paths.native("libedgeq.so", "EDGEQ_LIBRARY")
    try:
        lib = ct.CDLL(str(path))
        _declare(lib)
    except (OSError, AttributeError) as error:
        raise UnsupportedError(f"{path}: not a usable EdgeQ core library: {error}") from error
    if platform.machine() == "aarch64" and _linux_hwcap() & (1 << 20):  # HWCAP_ASIMDDP
        lib.eq_isa_allow(ISA_NAMES.index("neon-dotprod"))
    wanted = os.environ.get("EDGEQ_ISA")
    if wanted:
        _select(lib, wanted, "EDGEQ_ISA")
    return lib


def _linux_hwcap() -> int:
    getauxval = getattr(ct.CDLL(None), "getauxval", None)
    if getauxval is None:
        return 0
    getauxval.restype, getauxval.argtypes = ct.c_ulong, [ct.c_ulong]
    return int(getauxval(16))  # AT_HWCAP


# ---- instruction sets ------------------------------------------------------------------------------------


def _select(lib: ct.CDLL, name: str, origin: str) -> None:
    if name not in ISA_NAMES:
        raise UsageError(f"{origin}: unknown instruction set {name!r}; known: {', '.join(ISA_NAMES)}")
    if lib.eq_isa_select(ISA_NAMES.index(name)):
        raise UnsupportedError(f"{origin}: this machine cannot run {name!r}; usable: {', '.join(_usable(lib))}")


def _usable(lib: ct.CDLL) -> list[str]:
    return [name for i, name in enumerate(ISA_NAMES) if lib.eq_isa_usable(i)]


def isa() -> str:
    """Name of the instruction set in use."""
    return ISA_NAMES[_library().eq_isa_current()]


def usable_isas() -> list[str]:
    """Names of the instruction sets that this machine and this build can use, plainest first."""
    return _usable(_library())


def select_isa(name: str) -> None:
    """Use that instruction set from now on, process-wide. UnsupportedError when the machine lacks it."""
    _select(_library(), name, "select_isa")


# ---- operators -------------------------------------------------------------------------------------------


def pack_b1(x: F32, threshold: F32 | None = None) -> U8:
    """x (rows, k) -> (rows, row_bytes(k)) uint8, lowest bit first, bit = (x >= threshold[k])."""
    rows, k = _matrix("x", x)
    out = np.empty((rows, row_bytes(k)), np.uint8)
    _call("pack_b1", _floats("x", x), rows, k, _floats("threshold", threshold, (k,)), _address(out))
    return out


def pack_t2(x: F32, threshold: F32 | None = None) -> U8:
    """x (rows, k) -> (2, rows, row_bytes(k)) uint8: planes x > threshold and x != threshold."""
    rows, k = _matrix("x", x)
    out = np.empty((2, rows, row_bytes(k)), np.uint8)
    _call("pack_t2", _floats("x", x), rows, k, _floats("threshold", threshold, (k,)), _address(out))
    return out


def conv2d_b1b1(x: U8, w: U8, op: Conv2d, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (n, h, w, row_bytes(c)), w (o, kh, kw, row_bytes(c / groups)), both uint8."""
    _check("x", x, np.uint8, (op.n, op.h, op.w, row_bytes(op.c)))
    _check("w", w, np.uint8, (op.o, op.kh, op.kw, row_bytes(op.c // max(op.groups, 1))))
    return _conv("conv2d_b1b1", op, (_address(x), _address(w)), epilogue, threads)


def linear_b1b1(x: U8, w: U8, k: int, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (m, row_bytes(k)), w (o, row_bytes(k)), both uint8; outputs are (m, o)."""
    m, _ = _matrix("x", x)
    o, _ = _matrix("w", w)
    _check("x", x, np.uint8, (m, row_bytes(k)))
    _check("w", w, np.uint8, (o, row_bytes(k)))
    return _linear("linear_b1b1", (m, k, o), (_address(x), _address(w)), epilogue, threads)


def conv2d_i8f32(x: F32, quant: Quant, w: I8, op: Conv2d, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (n, h, w, c) float32, w (o, kh, kw, c / groups) int8."""
    _check("x", x, np.float32, (op.n, op.h, op.w, op.c))
    _check("w", w, np.int8, (op.o, op.kh, op.kw, op.c // max(op.groups, 1)))
    q = _quant(quant, op.c)
    return _conv("conv2d_i8f32", op, (_address(x), ct.byref(q), _address(w)), epilogue, threads)


def linear_i8f32(x: F32, quant: Quant, w: I8, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (m, k) float32, w (o, k) int8; outputs are (m, o)."""
    m, k = _matrix("x", x)
    o, _ = _matrix("w", w)
    _check("x", x, np.float32, (m, k))
    _check("w", w, np.int8, (o, k))
    q = _quant(quant, k)
    return _linear("linear_i8f32", (m, k, o), (_address(x), ct.byref(q), _address(w)), epilogue, threads)


def linear_i4f32(x: F32, quant: Quant, w: U8, epilogue: Epilogue, *, threads: int = 1) -> Outputs:
    """x (m, k) float32, w (o, row_bytes(4 * k)) uint8: two codes a byte, meaning code - 8; outputs are (m, o)."""
    m, k = _matrix("x", x)
    o, _ = _matrix("w", w)
    _check("x", x, np.float32, (m, k))
    _check("w", w, np.uint8, (o, row_bytes(4 * k)))
    q = _quant(quant, k)
    return _linear("linear_i4f32", (m, k, o), (_address(x), ct.byref(q), _address(w)), epilogue, threads)


def epilogue_i32(acc: I32, epilogue: Epilogue) -> Outputs:
    """The epilogue alone over acc (n, h, w, o) int32."""
    if acc.ndim != 4:
        raise UsageError(f"acc: expected (n, h, w, o), got {acc.ndim} axes")
    n, h, w, o = acc.shape
    _check("acc", acc, np.int32, (n, h, w, o))
    e, results, keep = _epilogue(epilogue, (n, h, w, o), (n, h, w))
    size = _library().eq_epilogue_i32_scratch(n, h, w, o, ct.byref(e))
    scratch = _scratch(size)
    _call("epilogue_i32", _address(acc), n, h, w, o, ct.byref(e), _address(scratch), size)
    del keep
    return results


def mean_hw(x: F32) -> F32:
    """x (n, h, w, c) float32 -> (n, c): the mean over each image, rows summed first (types.h, out_mean)."""
    if x.ndim != 4:
        raise UsageError(f"x: expected (n, h, w, c), got {x.ndim} axes")
    n, h, w, c = x.shape
    out = np.empty((n, c), np.float32)
    size = _library().eq_mean_hw_scratch(n, h, w, c)
    scratch = _scratch(size)
    _call("mean_hw", _floats("x", x), n, h, w, c, _address(out), _address(scratch), size)
    return out


# ---- private ---------------------------------------------------------------------------------------------


def _conv(name: str, op: Conv2d, inputs: tuple[object, ...], epilogue: Epilogue, threads: int) -> Outputs:
    c_op = _Conv2d(*_u32s(*astuple(op)))
    spatial = (op.n, op.out_h, op.out_w)
    return _operator(name, c_op, inputs, _epilogue(epilogue, (*spatial, op.o), spatial), threads)


def _linear(
    name: str, size: tuple[int, int, int], inputs: tuple[object, ...], epilogue: Epilogue, threads: int
) -> Outputs:
    m, _, o = size
    return _operator(name, _Linear(*_u32s(*size)), inputs, _epilogue(epilogue, (m, 1, 1, o), (m,)), threads)


def _operator(
    name: str,
    op: ct.Structure,
    inputs: tuple[object, ...],
    epilogue: tuple[_Epilogue, Outputs, list[object]],
    threads: int,
) -> Outputs:
    e, results, _keep = epilogue
    workers = _threads(threads)
    shared = ct.byref(workers) if workers else None
    size = getattr(_library(), f"eq_{name}_scratch")(ct.byref(op), ct.byref(e), shared)
    scratch = _scratch(size)
    _call(name, ct.byref(op), *inputs, ct.byref(e), shared, _address(scratch), size)
    return results


def _epilogue(
    e: Epilogue, shape: tuple[int, int, int, int], leading: tuple[int, ...]
) -> tuple[_Epilogue, Outputs, list[object]]:
    """The C epilogue, the arrays it will fill, and what must stay alive during the call."""
    n, _, _, o = shape
    unknown = set(e.outputs) - set(OUTPUTS)
    if unknown or not e.outputs:
        raise UsageError(f"epilogue outputs: expected some of {', '.join(OUTPUTS)}, got {e.outputs!r}")
    if min((*leading, o)) < 1 or prod(leading) * o >= 2**31:
        raise UsageError(f"output shape {(*leading, o)}: expected positive extents, fewer than 2^31 values in all")
    results = Outputs(
        acc=np.empty((*leading, o), np.int32) if "acc" in e.outputs else None,
        out=np.empty((*leading, o), np.float32) if "out" in e.outputs else None,
        bits=np.empty((*leading, row_bytes(o)), np.uint8) if "bits" in e.outputs else None,
        mean=np.empty((n, o), np.float32) if "mean" in e.outputs else None,
    )
    c = _Epilogue(act=_code("act", e.act, ACTS))
    for name in ("scale", "bias", "pos", "neg", "shift", "scale2", "bias2"):
        setattr(c, name, _floats(name, getattr(e, name), (o,)))
    c.gain = _floats("gain", e.gain, (n, o))
    if len(e.residuals) > 2:
        raise UsageError(f"epilogue: at most 2 residuals, got {len(e.residuals)}")
    for i, r in enumerate(e.residuals):
        if r.data.ndim not in (2, 4) or r.data.shape[0] != n:
            raise UsageError(f"residual {i}: expected ({n}, h, w, c) or ({n}, c), got {r.data.shape}")
        h, w = r.data.shape[1:3] if r.data.ndim == 4 else (1, 1)
        mode = _code("residual mode", r.mode, RESIDUAL_MODES)
        c.residual[i] = _Residual(_floats(f"residual {i}", r.data), *_u32s(h, w, r.data.shape[-1]), mode)
    c.out_acc, c.out, c.out_bits, c.out_mean = map(_address, (results.acc, results.out, results.bits, results.mean))
    return c, results, [e, results]


def _quant(q: Quant, channels: int) -> _Quant:
    kind = _code("quant kind", q.kind, QUANT_KINDS)
    scale, step = _floats("quant scale", q.scale, (channels,)), _floats("quant step", q.step, (channels,))
    return _Quant(kind, q.top, scale, step)


def _threads(workers: int) -> _Threads | None:
    """Plain threads that live for one call: ctypes releases the interpreter while C works."""
    if workers <= 1:
        return None

    def run(_context: int, task: Callable[[int | None, int, int, int], None], arg: int | None, count: int) -> None:
        bounds = [count * i // workers for i in range(workers + 1)]
        team = [
            threading.Thread(target=task, args=(arg, bounds[i], bounds[i + 1], i))
            for i in range(workers)
            if bounds[i] < bounds[i + 1]
        ]
        for thread in team:
            thread.start()
        for thread in team:
            thread.join()

    return _Threads(workers, _RUN(run), None)


def _call(name: str, *arguments: object) -> None:
    lib = _library()
    status = getattr(lib, f"eq_{name}")(*arguments)
    if status:
        raise UsageError(f"{name}: {lib.eq_status_text(status).decode()}")


def _scratch(size: int) -> U8:
    """size bytes, 64-byte aligned. An operator answers 0 to arguments that it will refuse."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + max(size, 1)]


def _u32s(*values: int) -> list[int]:
    for value in values:
        if not 0 <= int(value) < 2**31:
            raise UsageError(f"extent {value}: expected 0 to 2^31 - 1")
    return [int(value) for value in values]


def _code(what: str, name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise UsageError(f"{what}: expected one of {', '.join(names)}, got {name!r}")
    return names.index(name)


def _matrix(what: str, a: npt.NDArray[np.generic]) -> tuple[int, int]:
    if a.ndim != 2:
        raise UsageError(f"{what}: expected 2 axes, got shape {a.shape}")
    return a.shape[0], a.shape[1]


def _check(what: str, a: npt.NDArray[np.generic], dtype: npt.DTypeLike, shape: tuple[int, ...] | None = None) -> None:
    if a.dtype != dtype:
        raise UsageError(f"{what}: expected dtype {np.dtype(dtype)}, got {a.dtype}")
    if shape is not None and a.shape != shape:
        raise UsageError(f"{what}: expected shape {shape}, got {a.shape}")
    if not a.flags.c_contiguous or not a.flags.aligned:
        raise UsageError(f"{what}: expected a C-contiguous, aligned array; use numpy.ascontiguousarray")


def _floats(what: str, a: F32 | None, shape: tuple[int, ...] | None = None) -> int | None:
    if a is None:
        return None
    _check(what, a, np.float32, shape)
    return _address(a)


def _address(a: npt.NDArray[np.generic] | None) -> int | None:
    return None if a is None else a.ctypes.data
