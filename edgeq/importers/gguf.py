"""GGUF files, version 3 (and 2, which has the same layout): metadata, and tensors in float or block formats.

Counts, lengths and offsets are checked against the file before anything is made from them.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgeq._errors import FormatError, UnsupportedError
from edgeq.importers import gguf_blocks
from edgeq.schemes.grouped import GroupedWeight

MAGIC = b"GGUF"
MAX_DIMENSIONS = 4
MAX_NESTING = 4  # of arrays in metadata
MAX_ELEMENTS = 1 << 22  # of one array in metadata; a vocabulary has a few hundred thousand
MAX_ALIGNMENT = 1 << 20
_FLOATS: dict[int, str] = {0: "<f4", 1: "<f2"}
_FLOAT_BYTES = {0: 4, 1: 2}
_SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 10, 11, 12), "BbHhIifQqd", strict=True))
_BOOL, _STRING, _ARRAY = 7, 8, 9

Value = int | float | bool | str | list["Value"]


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies; `shape` is outermost first, (o, i) for a matrix."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int  # from the start of the data

    @property
    def values(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        if self.kind in _FLOATS:
            return self.values * _FLOAT_BYTES[self.kind]
        return math.prod(self.shape[:-1]) * gguf_blocks.row_bytes(self.kind, self.shape[-1])


@dataclass(frozen=True)
class GgufFile:
    """A checked file; tensors are decoded when they are asked for."""

    metadata: dict[str, Value]
    tensors: dict[str, TensorInfo]
    data_start: int
    data: np.ndarray[tuple[int], np.dtype[np.uint8]]  # the whole file

    def decode(self, name: str) -> GroupedWeight | Tensor:
        """A block-quantised tensor as (rows, inputs) in groups, a float one as float32 in its own shape.

        raises  FormatError for values that are not finite, UnsupportedError for types without a decoder
        """
        info = self.tensors[name]
        start = self.data_start + info.offset
        raw = self.data[start : start + info.bytes]
        if info.kind not in _FLOATS:
            inputs = info.shape[-1]
            try:
                return gguf_blocks.decode(info.kind, raw, info.values // inputs, inputs)
            except FormatError as error:
                raise FormatError(f"{name}: {error}") from None
        floats = torch.from_numpy(raw.view(_FLOATS[info.kind]).astype(np.float32)).view(info.shape)
        if not bool(floats.isfinite().all()):
            raise FormatError(f"{name}: values that are NaN or infinite")
        return floats


def read_gguf(path: Path) -> GgufFile:
    """Read and check the header of a file; the tensors stay on disk until they are decoded.

    raises  FormatError for bytes that do not follow the format, UnsupportedError for other versions or tensor types
    """
    try:
        data = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise FormatError(f"{path.name}: cannot be read: {error}") from None
    return parse(data, path.name)


def parse(data: np.ndarray[tuple[int], np.dtype[np.uint8]], where: str) -> GgufFile:
    """As `read_gguf`, from the bytes of a file."""
    reader = _Reader(data, where)
    if reader.take(4) != MAGIC:
        raise FormatError(f"{where}: not a GGUF file")
    version = reader.number("I")
    if version not in (2, 3):
        raise UnsupportedError(f"{where}: GGUF version {version}; 2 and 3 are read (is the file big-endian?)")
    tensor_count, value_count = reader.count(24), reader.count(13)  # the least bytes that one of them takes
    metadata: dict[str, Value] = {}
    for _ in range(value_count):
        key = reader.string()
        if key in metadata:
            raise FormatError(f"{where}: metadata {key!r} is given twice")
        metadata[key] = reader.value(reader.number("I"))
    tensors: dict[str, TensorInfo] = {}
    for _ in range(tensor_count):
        info = _tensor_info(reader)
        if info.name in tensors:
            raise FormatError(f"{where}: tensor {info.name!r} is given twice")
        tensors[info.name] = info
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= MAX_ALIGNMENT:
        raise FormatError(f"{where}: general.alignment {alignment!r} is not between 1 and {MAX_ALIGNMENT}")
    start = -(-reader.position // alignment) * alignment
    for info in tensors.values():
        if info.offset % alignment or start + info.offset + info.bytes > data.size:
            raise FormatError(
                f"{where}: tensor {info.name!r} ends at byte {start + info.offset + info.bytes} or is not aligned to "
                f"{alignment}; the file has {data.size} bytes"
            )
    return GgufFile(metadata, tensors, start, data)


def _tensor_info(reader: _Reader) -> TensorInfo:
    name = reader.string()
    dimensions = reader.number("I")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise FormatError(
            f"{reader.where}: tensor {name!r} has {dimensions} dimensions, expected 1 to {MAX_DIMENSIONS}"
        )
    shape = tuple(reader.number("Q") for _ in range(dimensions))[::-1]
    if min(shape) < 1:
        raise FormatError(f"{reader.where}: tensor {name!r} is empty: {shape}")
    return TensorInfo(name, shape, reader.number("I"), reader.number("Q"))


class _Reader:
    """Little-endian numbers and strings, never past the end."""

    def __init__(self, data: np.ndarray[tuple[int], np.dtype[np.uint8]], where: str) -> None:
        self.data, self.where, self.position = data, where, 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > self.data.size:
            raise FormatError(f"{self.where}: ends at byte {self.data.size}, byte {end} is needed")
        taken = self.data[self.position : end]
        self.position = end
        return taken.tobytes()

    def number(self, code: str) -> int:
        (value,) = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))
        return int(value)

    def count(self, least_bytes: int) -> int:
        """A number of things that take at least so many bytes each: more than the file can hold is refused."""
        value = self.number("Q")
        if value * least_bytes > self.data.size - self.position:
            raise FormatError(f"{self.where}: {value} entries do not fit into the {self.data.size} bytes of the file")
        return value

    def string(self) -> str:
        length = self.number("Q")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise FormatError(f"{self.where}: a string before byte {self.position} is not UTF-8") from None

    def value(self, kind: int, depth: int = 0) -> Value:
        if kind in _SCALARS:
            code = f"<{_SCALARS[kind]}"
            number: Value = struct.unpack(code, self.take(struct.calcsize(code)))[0]
            return number
        if kind == _BOOL:
            return bool(self.number("B"))
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY and depth < MAX_NESTING:
            element, length = self.number("I"), self.count(1)
            if length > MAX_ELEMENTS:
                raise FormatError(
                    f"{self.where}: an array of {length} in the metadata, at most {MAX_ELEMENTS} are read"
                )
            return [self.value(element, depth + 1) for _ in range(length)]
        raise FormatError(f"{self.where}: metadata of type {kind} before byte {self.position}")
