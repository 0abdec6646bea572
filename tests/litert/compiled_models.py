"""LiteRT's compiled models through their C API, as an app in C would run them with EdgeQ."""

import ctypes as ct
from pathlib import Path

import ai_edge_litert
import numpy as np

from edgeq import _paths

TYPES = {1: np.float32, 2: np.int32, 3: np.uint8, 4: np.int64, 9: np.int8}
HOST, CPU, READ, WRITE = 1, 1, 0, 1


class Layout(ct.Structure):
    _fields_ = (("rank", ct.c_uint32), ("dimensions", ct.c_int32 * 8), ("strides", ct.c_uint32 * 8))


class TensorType(ct.Structure):
    _fields_ = (("element_type", ct.c_int), ("layout", Layout))


class CompiledModel:
    def __init__(self, tflite: bytes, *, registered: bool = False) -> None:
        """registered: EdgeQ's delegate computes, else its kernels do."""
        self._lib = ct.CDLL(str(Path(ai_edge_litert.__file__).parent / "libLiteRt.so"), mode=ct.RTLD_GLOBAL)
        self._edgeq = ct.CDLL(str(_paths.native("libedgeq_litert.so", "EDGEQ_LITERT")))
        self._edgeq.edgeq_litert_open.restype = ct.c_void_p
        self._edgeq.edgeq_litert_why.restype = ct.c_char_p
        self._bytes = np.frombuffer(tflite + bytes(64), np.uint8)
        aligned = np.zeros(len(tflite) + 64, np.uint8)
        start = -aligned.ctypes.data % 64
        self._bytes = aligned[start : start + len(tflite)]
        self._bytes[:] = np.frombuffer(tflite, np.uint8)
        self._env, self._model, self._compiled = ct.c_void_p(), ct.c_void_p(), ct.c_void_p()
        options = ct.c_void_p()
        self._call("CreateEnvironment", 0, None, ct.byref(self._env))
        assert not registered or self._edgeq.edgeq_litert_register(self._env, 1) == 0
        size = ct.c_size_t(len(tflite))
        self._call(
            "CreateModelFromBuffer", self._env, ct.c_void_p(self._bytes.ctypes.data), size, ct.byref(self._model)
        )
        self._call("CreateOptions", ct.byref(options))
        self._call("SetOptionsHardwareAccelerators", options, CPU)
        self.edgeq = ct.c_void_p(self._edgeq.edgeq_litert_open(1))
        assert self.edgeq.value, self._edgeq.edgeq_litert_why(None)
        assert self._edgeq.edgeq_litert_add(self.edgeq, options) == 0
        self._call("CreateCompiledModel", self._env, self._model, options, ct.byref(self._compiled))

    def why(self) -> str | None:
        """What an operator could not do since the last time, or None."""
        text = self._edgeq.edgeq_litert_why(self.edgeq)
        return None if text is None else text.decode()

    def run(self, inputs: list[np.ndarray], signature: int = 0) -> list[np.ndarray]:
        found = ct.c_void_p()
        self._call("GetModelSignature", self._model, ct.c_size_t(signature), ct.byref(found))
        types = [self._types(found, side) for side in ("Input", "Output")]
        buffers = [[self._buffer(t) for t in side] for side in types]
        for value, buffer in zip(inputs, buffers[0], strict=True):
            with_data = np.ascontiguousarray(value)
            ct.memmove(self._lock(buffer, WRITE), with_data.ctypes.data, with_data.nbytes)
            self._call("UnlockTensorBuffer", buffer)
        arrays = [(ct.c_void_p * len(side))(*(b.value for b in side)) for side in buffers]
        counts = [ct.c_size_t(len(side)) for side in buffers]
        index = ct.c_size_t(signature)
        self._call("RunCompiledModel", self._compiled, index, counts[0], arrays[0], counts[1], arrays[1])
        results = []
        for kind, buffer in zip(types[1], buffers[1], strict=True):
            result = np.empty(list(kind.layout.dimensions[: kind.layout.rank & 127]), TYPES[kind.element_type])
            ct.memmove(result.ctypes.data, self._lock(buffer, READ), result.nbytes)
            self._call("UnlockTensorBuffer", buffer)
            results.append(result)
        for buffer in (*buffers[0], *buffers[1]):
            self._lib.LiteRtDestroyTensorBuffer(buffer)
        return results

    def close(self) -> None:
        self._lib.LiteRtDestroyCompiledModel(self._compiled)
        self._edgeq.edgeq_litert_close(self.edgeq)
        self._lib.LiteRtDestroyModel(self._model)
        self._lib.LiteRtDestroyEnvironment(self._env)

    def _types(self, signature: ct.c_void_p, side: str) -> list[TensorType]:
        count = ct.c_size_t()
        self._call(f"GetNumSignature{side}s", signature, ct.byref(count))
        found = []
        for i in range(count.value):
            tensor, kind = ct.c_void_p(), TensorType()
            self._call(f"GetSignature{side}TensorByIndex", signature, ct.c_size_t(i), ct.byref(tensor))
            self._call("GetRankedTensorType", tensor, ct.byref(kind))
            found.append(kind)
        return found

    def _buffer(self, kind: TensorType) -> ct.c_void_p:
        buffer = ct.c_void_p()
        count = int(np.prod(kind.layout.dimensions[: kind.layout.rank & 127], dtype=np.int64))
        size = ct.c_size_t(count * np.dtype(TYPES[kind.element_type]).itemsize)
        self._call("CreateManagedTensorBuffer", self._env, HOST, ct.byref(kind), size, ct.byref(buffer))
        return buffer

    def _lock(self, buffer: ct.c_void_p, mode: int) -> ct.c_void_p:
        memory = ct.c_void_p()
        self._call("LockTensorBuffer", buffer, ct.byref(memory), mode)
        return memory

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._lib, f"LiteRt{name}")(*arguments)
        if status:
            raise RuntimeError(f"LiteRt{name}: status {status}")
