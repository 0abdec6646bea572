"""Writes `.tflite` files, with the schema classes that ship in ai-edge-litert and the flatbuffers package.

Knows the format and nothing of networks. What the format asks for and the schema does not say: buffer 0 is empty, the
bytes of every constant begin at a multiple of 64 in the file (LiteRT's compiled models refuse others when they run),
operator codes are listed once. Equal constants share one buffer, in all subgraphs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

ALIGNMENT = 64
IDENTIFIER = b"TFL3"
Array = np.ndarray[Any, Any]

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int64": schema.TensorType.INT64,
    "int32": schema.TensorType.INT32,
    "int16": schema.TensorType.INT16,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "bool": schema.TensorType.BOOL,
}


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # the schema has no annotations
    def Pack(self, builder: Any) -> Any:
        """As the class it replaces, with the bytes at a multiple of `ALIGNMENT` and copied at once."""
        data = bytes(self.data)
        builder.StartVector(1, len(data), ALIGNMENT)
        builder.head = builder.Head() - len(data)
        builder.Bytes[builder.head : builder.head + len(data)] = data
        builder.vectorNumElems = len(data)
        vector = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


class TfliteFile:
    """A file that grows: subgraphs, then signatures and metadata, then `finish`."""

    def __init__(self, description: str) -> None:
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.description = description.encode()
        self._model.buffers = [schema.BufferT()]
        self._model.subgraphs = []
        self._model.operatorCodes, self._model.signatureDefs, self._model.metadata = [], [], []
        self._buffers: dict[bytes, int] = {}
        self._codes: dict[tuple[int, str, int], int] = {}

    def subgraph(self, name: str) -> Subgraph:
        graph = schema.SubGraphT()
        graph.name = name.encode()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
        self._model.subgraphs.append(graph)
        return Subgraph(self, graph)

    def signature(self, key: str, subgraph: int, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
        """A public name of a subgraph; inputs, outputs: public name -> number of the tensor."""
        found = schema.SignatureDefT()
        found.signatureKey, found.subgraphIndex = key.encode(), subgraph
        found.inputs, found.outputs = _tensor_map(inputs), _tensor_map(outputs)
        self._model.signatureDefs.append(found)

    def metadata(self, name: str, data: bytes) -> None:
        entry = schema.MetadataT()
        entry.name, entry.buffer = name.encode(), self._buffer(data)
        self._model.metadata.append(entry)

    def finish(self) -> bytes:
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self._model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _buffer(self, data: bytes) -> int:
        if data not in self._buffers:
            buffer = _AlignedBuffer()
            buffer.data = data
            self._buffers[data] = len(self._model.buffers)
            self._model.buffers.append(buffer)
        return self._buffers[data]

    def _code(self, builtin: int, custom: str, version: int) -> int:
        key = (builtin, custom, version)
        if key not in self._codes:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
            if custom:
                code.customCode = custom.encode()
            self._codes[key] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(code)
        return self._codes[key]


class Subgraph:
    """Tensors, named by their numbers, and the operators between them in order."""

    def __init__(self, file: TfliteFile, graph: Any) -> None:
        self._file, self._graph = file, graph
        self._constants: dict[tuple[object, ...], int] = {}

    def tensor(self, name: str, shape: Sequence[int], dtype: str) -> int:
        """A tensor that is computed, or an input; `dtype` is numpy's name."""
        return self._tensor(name, shape, _TYPES[dtype], 0)

    def constant(self, name: str, value: Array) -> int:
        value = np.ascontiguousarray(value)
        return self.raw_constant(name, value.shape, _TYPES[value.dtype.name], value.tobytes())

    def raw_constant(self, name: str, shape: Sequence[int], kind: int, data: bytes, scale: Array | None = None) -> int:
        """A constant of the schema's element type `kind`; scale: one for each of the first axis, zero point 0."""
        key = (data, kind, tuple(shape), None if scale is None else scale.tobytes())
        if key not in self._constants:
            self._constants[key] = self._tensor(name, shape, kind, self._file._buffer(data), scale)
        return self._constants[key]

    def operator(
        self, builtin: int, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, *, version: int = 1
    ) -> None:
        op = self._operator(self._file._code(builtin, "", version), inputs, outputs)
        if options is not None:
            op.builtinOptions = options
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))

    def custom(self, name: str, inputs: Sequence[int], outputs: Sequence[int], options: bytes) -> None:
        op = self._operator(self._file._code(schema.BuiltinOperator.CUSTOM, name, 1), inputs, outputs)
        op.customOptions = np.frombuffer(options, np.uint8)

    def boundary(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        self._graph.inputs, self._graph.outputs = list(inputs), list(outputs)

    def _operator(self, code: int, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = code, list(inputs), list(outputs)
        self._graph.operators.append(op)
        return op

    def _tensor(self, name: str, shape: Sequence[int], kind: int, buffer: int, scale: Array | None = None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name.encode(), [int(extent) for extent in shape]
        tensor.type, tensor.buffer = kind, buffer
        if scale is not None:
            quantization = schema.QuantizationParametersT()
            quantization.scale = scale.astype(np.float32)
            quantization.zeroPoint = np.zeros(scale.shape, np.int64)
            quantization.quantizedDimension = 0
            tensor.quantization = quantization
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1


def _tensor_map(tensors: Mapping[str, int]) -> list[Any]:
    entries = []
    for name, index in tensors.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        entries.append(entry)
    return entries


def read_metadata(data: bytes, name: str) -> bytes | None:
    """A metadata entry of a file that was written here; None: there is none."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for entry in model.metadata or []:
        if entry.name == name.encode():
            return bytes(bytearray(model.buffers[entry.buffer].data))
    return None


def misaligned(data: bytes) -> list[int]:
    """Numbers of the buffers whose bytes do not begin at a multiple of `ALIGNMENT`."""
    model = schema.Model.GetRootAs(data, 0)
    buffers = [model.Buffers(i) for i in range(model.BuffersLength())]
    return [i for i, b in enumerate(buffers) if b.DataLength() and b._tab.Vector(b._tab.Offset(4)) % ALIGNMENT]
