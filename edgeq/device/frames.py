"""The frames of the device protocol, read from the description that the C side includes (`runtime/proto/frames.def`).

That file says what a frame looks like and what the layouts mean; nothing of it is repeated here.
"""

from __future__ import annotations

import ast
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgeq._errors import FormatError, UnsupportedError

Value = Any  # int, str, bytes, a list of these, or the dict of a structure
Fields = dict[str, Value]

_INTEGERS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q"}
_SHA256_BYTES = 32
_HEADER = struct.Struct("<BHI")  # type, seq, length
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class Kind:
    """One request of the protocol: its number and the layouts of request and answer."""

    name: str
    number: int
    request: str
    answer: str


@dataclass(frozen=True)
class Protocol:
    """The whole description: constants, requests by name, structures, error codes and element types.

    meanings  what an error code says where the device says no more
    """

    constants: Mapping[str, int]
    kinds: Mapping[str, Kind]
    structures: Mapping[str, str]
    codes: Mapping[str, int]
    meanings: Mapping[str, str]
    dtypes: Mapping[str, tuple[int, int]]  # name: code, bytes of one element

    @property
    def magic(self) -> bytes:
        return bytes((self.constants["MAGIC_0"], self.constants["MAGIC_1"]))

    def code_name(self, code: int) -> str:
        """The name of an error code; a newer agent may know more of them."""
        return next((name for name, number in self.codes.items() if number == code), f"code {code}")

    def dtype_name(self, code: int) -> str:
        """The name of an element type; raises FormatError for an unknown one."""
        for name, (number, _) in self.dtypes.items():
            if number == code:
                return name
        raise FormatError(f"the device describes a tensor of unknown element type {code}")

    def pack(self, layout: str, fields: Mapping[str, Value]) -> bytes:
        """The payload of a layout; every field must be given, unless it may be missing, and be in range."""
        names = [name for name, kind in _fields(layout) if name in fields or not kind.endswith("?")]
        if sorted(names) != sorted(fields):
            raise ValueError(f"layout has fields {names}, got {sorted(fields)}")
        return b"".join(self._pack(kind.rstrip("?"), fields[name]) for name, kind in _fields(layout) if name in fields)

    def unpack(self, layout: str, payload: bytes) -> Fields:
        """The fields of a payload; bytes past the layout are ignored. Raises FormatError when it ends too early."""
        fields, _ = self._unpack_fields(layout, payload, 0)
        return fields

    def _pack(self, kind: str, value: Value) -> bytes:
        if kind.endswith("[]"):
            return struct.pack("<B", len(value)) + b"".join(self._pack(kind[:-2], item) for item in value)
        if kind.endswith("*"):
            return b"".join(self._pack(kind[:-1], item) for item in value)
        if kind in _INTEGERS:
            return struct.pack(_INTEGERS[kind], value)
        if kind == "text":
            text: bytes = value.encode()
            return struct.pack("<B", len(text)) + text
        if kind == "sha256":
            if len(value) != _SHA256_BYTES:
                raise ValueError(f"a SHA-256 has 32 bytes, got {len(value)}")
            return bytes(value)
        return bytes(value) if kind == "bytes" else self.pack(self.structures[kind], value)

    def _unpack_fields(self, layout: str, payload: bytes, at: int) -> tuple[Fields, int]:
        fields = {}
        for name, kind in _fields(layout):
            missing = kind.endswith("?") and at == len(payload)
            fields[name], at = (0, at) if missing else self._unpack(kind.rstrip("?"), payload, at)
        return fields, at

    def _unpack(self, kind: str, payload: bytes, at: int) -> tuple[Value, int]:
        if kind == "bytes":
            return payload[at:], len(payload)
        if kind.endswith("*"):
            return self._unpack_rest(kind[:-1], payload, at)
        if kind.endswith("[]"):
            count, at = self._unpack("u8", payload, at)
            items = []
            for _ in range(count):
                item, at = self._unpack(kind[:-2], payload, at)
                items.append(item)
            return items, at
        if kind in _INTEGERS:
            end = at + struct.calcsize(_INTEGERS[kind])
            return struct.unpack(_INTEGERS[kind], _slice(payload, at, end))[0], end
        if kind == "text":
            length, at = self._unpack("u8", payload, at)
            return _slice(payload, at, at + length).decode("utf-8", "replace"), at + length
        if kind == "sha256":
            return _slice(payload, at, at + _SHA256_BYTES), at + _SHA256_BYTES
        return self._unpack_fields(self.structures[kind], payload, at)

    def _unpack_rest(self, kind: str, payload: bytes, at: int) -> tuple[Value, int]:
        size = struct.calcsize(_INTEGERS[kind])
        if (len(payload) - at) % size:
            raise FormatError(f"payload of {len(payload)} bytes ends inside a {kind}")
        return list(struct.unpack(f"<{(len(payload) - at) // size}{_INTEGERS[kind][1:]}", payload[at:])), len(payload)


def _slice(payload: bytes, start: int, end: int) -> bytes:
    if end > len(payload):
        raise FormatError(f"payload ends at byte {len(payload)}, a field goes to {end}")
    return payload[start:end]


def _fields(layout: str) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind in (field.split(":") for field in layout.split())]


@cache
def protocol() -> Protocol:
    """The description, from beside this file (installed) or from the source tree."""
    here = Path(__file__).resolve()
    for path in (here.with_name("frames.def"), here.parents[2] / "runtime" / "proto" / "frames.def"):
        if path.is_file():
            return parse(path.read_text(encoding="utf-8"))
    raise UnsupportedError(f"frames.def is not beside {here}: reinstall EdgeQ")


def parse(text: str) -> Protocol:
    """The macro calls of a frames.def."""
    calls: dict[str, dict[str, list[Any]]] = {}
    for macro, arguments in re.findall(r"^EQ_(\w+)\((.*)\)$", text, re.MULTILINE):
        name, _, rest = arguments.partition(",")
        calls.setdefault(macro, {})[name.strip()] = list(ast.literal_eval(f"({rest},)"))
    return Protocol(
        constants={name: values[0] for name, values in calls["CONST"].items()},
        kinds={name: Kind(name, *values) for name, values in _frames(calls).items()},
        structures={name: values[0] for name, values in calls["STRUCT"].items()},
        codes={name: values[0] for name, values in calls["CODE"].items()},
        meanings={name: values[1] for name, values in calls["CODE"].items()},
        dtypes={name: (values[0], values[1]) for name, values in calls["DTYPE"].items()},
    )


def _frames(calls: dict[str, dict[str, list[Any]]]) -> dict[str, list[Any]]:
    """Of every agent, of those that are no microcontrollers, and of those that learn."""
    return {
        name: values for macro, found in calls.items() if macro.startswith("FRAME") for name, values in found.items()
    }


def seal(number: int, seq: int, payload: bytes) -> bytes:
    """A whole frame."""
    body = _HEADER.pack(number, seq, len(payload)) + payload
    return protocol().magic + body + _CRC.pack(zlib.crc32(body))


@dataclass(frozen=True)
class Frame:
    """A frame that arrived; `sound` is False when its checksum did not match."""

    number: int
    seq: int
    payload: bytes
    sound: bool = True


class Parser:
    """Finds frames in a stream of bytes; what belongs to none is skipped."""

    def __init__(self, max_payload: int) -> None:
        self.max_payload = max_payload
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def drop(self) -> None:
        """Forget a frame that is not complete."""
        self._buffer.clear()

    def next(self) -> Frame | None:
        """The next frame, or None when more bytes are needed."""
        magic = protocol().magic
        buffer = self._buffer
        while True:
            start = buffer.find(magic)
            if start < 0:
                del buffer[: max(0, len(buffer) - 1)]
                return None
            del buffer[:start]
            header = len(magic) + _HEADER.size
            if len(buffer) < header:
                return None
            number, seq, length = _HEADER.unpack_from(buffer, len(magic))
            if length > self.max_payload:
                del buffer[: len(magic)]
                continue
            end = header + length + _CRC.size
            if len(buffer) < end:
                return None
            body = bytes(buffer[len(magic) : end - _CRC.size])
            (crc,) = _CRC.unpack_from(buffer, end - _CRC.size)
            del buffer[:end]
            return Frame(number, seq, body[_HEADER.size :], crc == zlib.crc32(body))
