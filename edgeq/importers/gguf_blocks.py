"""Block formats of GGUF: rows of 32 or 256 values with their scales, decoded to groups along the input.

Every decoder takes blocks (n, bytes) uint8 and gives codes (n, values) and one scale and zero (or minimum) per group.
Scales are IEEE float16, little endian. Names are ggml's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from edgeq._errors import FormatError, UnsupportedError
from edgeq.schemes.grouped import GroupedWeight

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Blocks:
    """codes (n, values); scale, zero and minimum (n, groups); either a zero or a minimum."""

    codes: Bytes
    scale: Floats
    zero: float = 0.0
    minimum: Floats | None = None


@dataclass(frozen=True)
class BlockFormat:
    """How many values a block of so many bytes holds, at most 2^bits different codes."""

    name: str
    values: int
    bytes: int
    bits: int
    decode: Callable[[Bytes], Blocks]


def decode(kind: int, data: Bytes, rows: int, inputs: int) -> GroupedWeight:
    """The tensor (rows, inputs) in `data` (bytes,) of ggml type `kind`.

    raises  UnsupportedError for types without a decoder, FormatError when the bytes do not fit or a scale is not finite
    """
    form = _format(kind)
    if data.size != (size := rows * row_bytes(kind, inputs)):
        raise FormatError(f"{form.name}: {rows} x {inputs} take {size} bytes, got {data.size}")
    got = form.decode(data.reshape(-1, form.bytes))
    scale = torch.from_numpy(got.scale.reshape(rows, -1))
    return GroupedWeight(
        bits=form.bits,
        codes=torch.from_numpy(got.codes.reshape(rows, inputs)),
        scale=scale,
        zero=torch.full_like(scale, got.zero),
        minimum=None if got.minimum is None else torch.from_numpy(got.minimum.reshape(rows, -1)),
        stored_scale=torch.float16,
    )


def row_bytes(kind: int, inputs: int) -> int:
    """The bytes of a row of so many values, which must fill whole blocks; raises as `decode`."""
    form = _format(kind)
    if inputs % form.values:
        raise FormatError(f"{form.name}: rows of {inputs} values do not fill whole blocks of {form.values}")
    return inputs // form.values * form.bytes


def _format(kind: int) -> BlockFormat:
    if kind not in FORMATS:
        known = ", ".join(sorted(form.name for form in FORMATS.values()))
        raise UnsupportedError(f"ggml type {kind} is not imported; {known} are")
    return FORMATS[kind]


def _halves(blocks: Bytes, start: int) -> Floats:
    """One float16 of each block, (n, 1)."""
    return np.ascontiguousarray(blocks[:, start : start + 2]).view("<f2").astype(np.float32)


def _fields(data: Bytes, shifts: tuple[int, ...], mask: int) -> Bytes:
    """(n, b) bytes -> (n, shifts, b) fields."""
    return (data[:, None, :] >> np.array(shifts, np.uint8)[:, None]) & np.uint8(mask)


def _nibbles(data: Bytes) -> Bytes:
    """Low nibbles of all bytes, then the high ones."""
    return _fields(data, (0, 4), 15).reshape(len(data), -1)


def _q4_0(b: Bytes) -> Blocks:
    return Blocks(_nibbles(b[:, 2:]), _halves(b, 0), zero=8)


def _q4_1(b: Bytes) -> Blocks:
    return Blocks(_nibbles(b[:, 4:]), _halves(b, 0), minimum=_halves(b, 2))


def _q8_0(b: Bytes) -> Blocks:
    return Blocks(b[:, 2:] ^ np.uint8(128), _halves(b, 0), zero=128)  # a sign bit flipped is 128 added


def _two_bits(data: Bytes) -> Bytes:
    """(n, 64) -> (n, 256): of each half, all lowest fields first."""
    return np.concatenate([_fields(half, (0, 2, 4, 6), 3).reshape(len(data), -1) for half in np.split(data, 2, 1)], 1)


def _q2_k(b: Bytes) -> Blocks:
    pairs = b[:, :16]
    return Blocks(
        _two_bits(b[:, 16:80]),
        _halves(b, 80) * (pairs & 15).astype(np.float32),
        minimum=-(_halves(b, 82) * (pairs >> 4).astype(np.float32)),
    )


def _q4_k(b: Bytes) -> Blocks:
    s = b[:, 4:16]
    scale = np.concatenate((s[:, :4] & 63, (s[:, 8:] & 15) | (s[:, :4] >> 6) << 4), 1)
    minimum = np.concatenate((s[:, 4:8] & 63, (s[:, 8:] >> 4) | (s[:, 4:8] >> 6) << 4), 1)
    codes = np.concatenate([_nibbles(part) for part in np.split(b[:, 16:], 4, 1)], 1)
    return Blocks(
        codes,
        _halves(b, 0) * scale.astype(np.float32),
        minimum=-(_halves(b, 2) * minimum.astype(np.float32)),
    )


def _q6_k(b: Bytes) -> Blocks:
    codes = []
    for half in range(2):
        low = _nibbles(b[:, 64 * half : 64 * half + 64])  # elements of r < 64, then of r >= 64
        high = _fields(b[:, 128 + 32 * half : 160 + 32 * half], (0, 2, 4, 6), 3).reshape(len(b), -1)
        codes.append(low | high << 4)
    scales = np.ascontiguousarray(b[:, 192:208]).view(np.int8).astype(np.float32)
    return Blocks(np.concatenate(codes, 1), _halves(b, 208) * scales, zero=32)


def _tq1_0(b: Bytes) -> Blocks:
    trits = []
    for start, stop, count in ((0, 32, 5), (32, 48, 5), (48, 52, 4)):
        powers = np.array([3**k for k in range(count)], np.uint8)[:, None]
        rotated = b[:, None, start:stop] * powers  # modulo 256
        trits.append(((rotated.astype(np.uint16) * 3) >> 8).astype(np.uint8).reshape(len(b), -1))
    return Blocks(np.concatenate(trits, 1), _halves(b, 52), zero=1)


def _tq2_0(b: Bytes) -> Blocks:
    return Blocks(_two_bits(b[:, :64]), _halves(b, 64), zero=1)


FORMATS = {
    2: BlockFormat("Q4_0", 32, 18, 4, _q4_0),
    3: BlockFormat("Q4_1", 32, 20, 4, _q4_1),
    8: BlockFormat("Q8_0", 32, 34, 8, _q8_0),
    10: BlockFormat("Q2_K", 256, 84, 2, _q2_k),
    12: BlockFormat("Q4_K", 256, 144, 4, _q4_k),
    14: BlockFormat("Q6_K", 256, 210, 6, _q6_k),
    34: BlockFormat("TQ1_0", 256, 54, 2, _tq1_0),
    35: BlockFormat("TQ2_0", 256, 66, 2, _tq2_0),
}
