"""ggml as a peer, through the libraries of the package `ggml-py` (pip install ggml-py builds them for this machine)."""

from __future__ import annotations

import ctypes as ct
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
_P, _N = ct.c_void_p, ct.c_size_t
_F32_TYPE = 0
_TYPES = {"Q4_0": 2, "Q4_K": 12, "TQ1_0": 34, "TQ2_0": 35}
_REPACKED = ("Q4_0", "Q4_K")  # eight rows interleaved: three to four times as fast as the plain form for many rows
_WEIGHTS_USAGE = 1


class _Init(ct.Structure):
    _fields_ = (("size", _N), ("buffer", _P), ("no_alloc", ct.c_bool))


_Log = ct.CFUNCTYPE(None, ct.c_int, ct.c_char_p, _P)
_SILENT = _Log(lambda _level, _text, _user: None)  # alive as long as the library may call it
_FUNCTIONS: dict[str, tuple[object, list[object]]] = {
    "ggml_log_set": (None, [_Log, _P]),
    "ggml_init": (_P, [_Init]),
    "ggml_new_tensor_2d": (_P, [_P, ct.c_int, ct.c_int64, ct.c_int64]),
    "ggml_mul_mat": (_P, [_P, _P, _P]),
    "ggml_new_graph_custom": (_P, [_P, _N, ct.c_bool]),
    "ggml_build_forward_expand": (None, [_P, _P]),
    "ggml_row_size": (_N, [ct.c_int, ct.c_int64]),
    "ggml_blck_size": (ct.c_int64, [ct.c_int]),
    "ggml_quantize_chunk": (_N, [ct.c_int, _P, _P, ct.c_int64, ct.c_int64, ct.c_int64, _P]),
    "ggml_backend_cpu_init": (_P, []),
    "ggml_backend_cpu_set_n_threads": (None, [_P, ct.c_int]),
    "ggml_backend_get_device": (_P, [_P]),
    "ggml_backend_dev_backend_reg": (_P, [_P]),
    "ggml_backend_reg_get_proc_address": (_P, [_P, ct.c_char_p]),
    "ggml_backend_buft_name": (ct.c_char_p, [_P]),
    "ggml_backend_get_default_buffer_type": (_P, [_P]),
    "ggml_backend_alloc_ctx_tensors_from_buft": (_P, [_P, _P]),
    "ggml_backend_alloc_ctx_tensors": (_P, [_P, _P]),
    "ggml_backend_buffer_set_usage": (None, [_P, ct.c_int]),
    "ggml_backend_tensor_set": (None, [_P, _P, _N, _N]),
    "ggml_backend_tensor_get": (None, [_P, _P, _N, _N]),
    "ggml_backend_graph_compute": (ct.c_int, [_P, _P]),
}


@cache
def _library() -> dict[str, Callable[..., int]] | None:
    spec = importlib.util.find_spec("ggml")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = sorted(file for folder in folders for file in Path(folder, "lib").glob("libggml*.so"))
    if not files:
        return None
    libraries = [ct.CDLL(str(file), mode=ct.RTLD_GLOBAL) for name in ("base", "cpu", "") for file in _of(files, name)]
    found: dict[str, Callable[..., int]] = {}
    for name, (result, arguments) in _FUNCTIONS.items():
        function = next(getattr(library, name) for library in libraries if hasattr(library, name))
        function.restype, function.argtypes = result, arguments
        found[name.removeprefix("ggml_")] = function
    found["log_set"](_SILENT, None)
    return found


def _of(files: list[Path], part: str) -> list[Path]:
    return [file for file in files if file.name == f"libggml{'-' if part else ''}{part}.so"]


def product(kind: str, x: F32, w: F32, threads: int) -> tuple[Callable[[], object], Callable[[], F32]] | None:
    """x (m, k) times w (o, k) of the type `kind`: a call, and how to read its result (m, o).

    None without the package, or where k does not suit the type
    """
    gg = _library()
    (m, k), o, number = x.shape, len(w), _TYPES[kind]
    if gg is None or k % gg["blck_size"](number):
        return None
    backend = gg["backend_cpu_init"]()
    gg["backend_cpu_set_n_threads"](backend, threads)
    contexts = [gg["init"](_Init(1 << 20, None, True)) for _ in range(3)]
    weights = gg["new_tensor_2d"](contexts[0], number, k, o)
    given = gg["new_tensor_2d"](contexts[1], _F32_TYPE, k, m)
    buffer = gg["backend_alloc_ctx_tensors_from_buft"](contexts[0], _buffer_type(gg, backend, kind))
    gg["backend_alloc_ctx_tensors"](contexts[1], backend)
    gg["backend_buffer_set_usage"](buffer, _WEIGHTS_USAGE)
    result = gg["mul_mat"](contexts[2], weights, given)
    graph = gg["new_graph_custom"](contexts[2], 8, False)
    gg["build_forward_expand"](graph, result)
    codes = np.empty(gg["row_size"](number, k) * o, np.uint8)
    gg["quantize_chunk"](number, w.ctypes.data, codes.ctypes.data, 0, o, k, None)
    gg["backend_tensor_set"](weights, codes.ctypes.data, 0, codes.nbytes)
    gg["backend_tensor_set"](given, x.ctypes.data, 0, x.nbytes)
    gg["backend_alloc_ctx_tensors"](contexts[2], backend)

    def read() -> F32:
        out = np.empty((m, o), np.float32)
        gg["backend_tensor_get"](result, out.ctypes.data, 0, out.nbytes)
        return out

    return lambda: gg["backend_graph_compute"](backend, graph), read


def _buffer_type(gg: dict[str, Callable[..., int]], backend: int, kind: str) -> int:
    default = gg["backend_get_default_buffer_type"](backend)
    if kind not in _REPACKED:
        return default
    device = gg["backend_get_device"](backend)
    address = gg["backend_reg_get_proc_address"](
        gg["backend_dev_backend_reg"](device), b"ggml_backend_dev_get_extra_bufts"
    )
    types = ct.CFUNCTYPE(ct.POINTER(_P), _P)(address)(device) if address else ()
    for pointer in types:
        if not pointer:
            break
        if gg["backend_buft_name"](pointer) == b"CPU_REPACK":
            return int(pointer)
    return default
