"""Run compiled EdgeQ models on a board, with numpy and nothing else.

    model = Model("pokebnn-fashion.pte")        # edgeq compile MODEL --target micro
    logits = model(pictures)

The library behind it calls neither libc nor the operating system, so one wheel serves every Linux of an architecture.
"""

from __future__ import annotations

import ctypes
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Model", "ModelError", "isa"]

_MAJOR, _NO_MEMORY, _ALIGNMENT, _MOST_DIMS = 1, 8, 64, 6
_TYPES = {0: "u1", 1: "i1", 2: "i2", 3: "i4", 4: "i8", 5: "f2", 6: "f4", 11: "?"}
Array = np.ndarray[Any, Any]


class ModelError(Exception):
    """A program that is damaged or made for another runtime, or a call that does not fit it."""


class _View(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("type", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int32 * _MOST_DIMS),
    )


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(os.environ.get("EDGEQ_LIBRARY_EMBED") or str(Path(__file__).with_name("libedgeq.so")))
    library.eq_model_status_text.restype = library.eq_model_isa.restype = ctypes.c_char_p
    library.eq_version.restype = ctypes.c_uint32
    for name in ("inputs", "outputs", "input", "output", "run", "close"):
        getattr(library, f"eq_model_{name}").argtypes = [ctypes.c_void_p]
    for name in ("input", "output"):
        getattr(library, f"eq_model_{name}").argtypes += [ctypes.c_uint32, ctypes.POINTER(_View)]
    sizes: list[Any] = [ctypes.c_size_t, ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)]
    library.eq_model_open.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p, *sizes]
    if library.eq_version() >> 16 != _MAJOR:
        raise ImportError(f"libedgeq.so has version {library.eq_version() >> 16}, this package needs {_MAJOR}")
    features = _arm_features()
    if "asimddp" in features:
        library.eq_model_allow_dotprod()
    if {"asimddp", "i8mm"} <= features:
        library.eq_model_allow_i8mm()
    return library


def _arm_features() -> set[str]:
    """Linux tells in /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="latin-1").splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.startswith("Features") for word in line.split()}


_library = _load()


def isa() -> str:
    """The instruction set in use, like "neon-dotprod"."""
    return str(_library.eq_model_isa().decode())


class Model:
    """A program in memory, ready to run. One thread at a time.

    raises  ModelError when the file is damaged or not compiled with --target micro
    """

    def __init__(self, program: str | os.PathLike[str] | bytes) -> None:
        data = program if isinstance(program, bytes) else Path(program).read_bytes()
        self._program = _aligned(len(data))
        self._program[:] = np.frombuffer(data, np.uint8)
        self._memory, self._handle = _aligned(0), ctypes.c_void_p()
        size = ctypes.c_size_t(0)
        status = self._open(size)
        while status == _NO_MEMORY:
            self._memory = _aligned(size.value)
            status = self._open(size)
        _check(status)
        self.inputs = [self._tensor("input", i) for i in range(_library.eq_model_inputs(self._handle))]
        self.outputs = [self._tensor("output", i) for i in range(_library.eq_model_outputs(self._handle))]

    def __call__(self, *inputs: Array) -> Array | list[Array]:
        """Run once. Inputs of exactly the dtype and shape of `self.inputs`; a copy of the output, or of the outputs."""
        if len(inputs) != len(self.inputs):
            raise ModelError(f"the model takes {len(self.inputs)} inputs, got {len(inputs)}")
        for i, (place, array) in enumerate(zip(self.inputs, inputs, strict=True)):
            if array.dtype != place.dtype or array.shape != place.shape:
                raise ModelError(f"input {i} is {place.dtype} {place.shape}, got {array.dtype} {array.shape}")
            place[...] = array
        _check(_library.eq_model_run(self._handle))
        outputs = [output.copy() for output in self.outputs]
        return outputs[0] if len(outputs) == 1 else outputs

    def _open(self, size: ctypes.c_size_t) -> int:
        memory = self._memory.ctypes.data if size.value else None
        program = ctypes.c_void_p(self._program.ctypes.data)
        handle, count = ctypes.byref(self._handle), ctypes.byref(size)
        return int(_library.eq_model_open(handle, program, self._program.size, memory, count))

    def _tensor(self, kind: str, index: int) -> Array:
        """A view of the model's memory, which is ours as long as the array lives."""
        view = _View()
        _check(getattr(_library, f"eq_model_{kind}")(self._handle, index, ctypes.byref(view)))
        shape, dtype = tuple(view.shape[: view.rank]), np.dtype(_TYPES[view.type])
        for buffer in (self._memory, self._program):  # an output may be a constant of the program
            first = view.data - buffer.ctypes.data
            if 0 <= first <= buffer.size - math.prod(shape) * dtype.itemsize:
                return buffer[first : first + view.bytes].view(dtype).reshape(shape)
        raise ModelError(f"{kind} {index} lies outside of the model")


def _aligned(size: int) -> Array:
    """Bytes on a boundary of 64."""
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    first = -raw.ctypes.data % _ALIGNMENT
    return raw[first : first + size]


def _check(status: int) -> None:
    if status:
        raise ModelError(_library.eq_model_status_text(status).decode())
