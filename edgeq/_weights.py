"""Tensors in the safetensors format: read as hostile, written so that the same reader accepts them.

The `safetensors` library checks the layout (no holes, no overlaps, sizes that fit the shapes). This module adds what
it does not: a small header, every name once, only the types that EdgeQ stores, only finite numbers.
"""

import json
import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from . import _json
from ._errors import FormatError

MAX_HEADER_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")
_DTYPES = {
    "F32": np.float32,
    "F16": np.float16,
    "I8": np.int8,
    "U8": np.uint8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
}

Array = npt.NDArray[np.generic]


def read_tensors(data: bytes, where: str = "model.safetensors") -> dict[str, Array]:
    """The tensors of a safetensors file, by name; each array is the caller's own and writable.

    data    the whole file
    raises  FormatError naming the file and the tensor: header of more than 1 MiB, a name given twice, a type other
            than F32 F16 I8 U8 I16 I32 I64, NaN or infinity, holes, overlaps, bytes missing or left over
    """
    _check_header(data, where)
    try:
        tensors = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise FormatError(f"{where}: {str(error).removeprefix('Error while deserializing header: ')}") from None
    for name, array in tensors.items():
        _check_finite(array, f'{where}: tensor "{name}"')
    return {name: np.array(tensors[name]) for name in sorted(tensors)}


def write_tensors(tensors: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """The safetensors file of these tensors. Raises FormatError for what `read_tensors` would refuse."""
    for name, array in tensors.items():
        if array.dtype.type not in _DTYPES.values():
            raise FormatError(f'tensor "{name}": type {array.dtype} is not stored; use {_names()}')
    data: bytes = safetensors.numpy.save({name: np.array(array, order="C") for name, array in tensors.items()})
    read_tensors(data, "tensors")
    return data


def _check_header(data: bytes, where: str) -> None:
    if len(data) < _LENGTH.size:
        raise FormatError(f"{where}: {len(data)} bytes, a safetensors file has at least {_LENGTH.size}")
    (length,) = _LENGTH.unpack_from(data)
    if length > MAX_HEADER_BYTES:
        raise FormatError(f"{where}: header of {length} bytes, at most {MAX_HEADER_BYTES} are read")
    if (end := _LENGTH.size + length) > len(data):
        raise FormatError(f"{where}: header ends at byte {end}, file has {len(data)}")
    for name, entry in _json.parse(data[_LENGTH.size : end], f"{where}: header").items():
        if not name.isprintable():
            raise FormatError(f"{where}: tensor name {name!r} holds unprintable characters")
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if name != "__metadata__" and dtype not in _DTYPES:
            raise FormatError(f'{where}: tensor "{name}": type {json.dumps(dtype)} is not read; use {_names()}')


def _check_finite(array: Array, where: str) -> None:
    if not np.issubdtype(array.dtype, np.floating):
        return
    bad = np.flatnonzero(~np.isfinite(array.astype(np.float32, copy=False)))
    if bad.size:
        raise FormatError(f"{where}: {bad.size} of {array.size} values are NaN or infinite, first at {bad[0]}")


def _names() -> str:
    return " ".join(_DTYPES)
