"""Arrays on their way to C: checked, never converted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeq._errors import UsageError

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I8 = npt.NDArray[np.int8]
U8 = npt.NDArray[np.uint8]


def row_bytes(k: int) -> int:
    """Bytes of one packed row of k bits: 1, 2, 4, or a multiple of 8."""
    return 1 if k <= 8 else 2 if k <= 16 else 4 if k <= 32 else (k + 63) // 64 * 8


def scratch_memory(size: int) -> U8:
    """size bytes, 64-byte aligned. An operator answers 0 to arguments that it will refuse."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + max(size, 1)]


def u32s(*values: int) -> list[int]:
    for value in values:
        if not 0 <= int(value) < 2**31:
            raise UsageError(f"extent {value}: expected 0 to 2^31 - 1")
    return [int(value) for value in values]


def code(what: str, name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise UsageError(f"{what}: expected one of {', '.join(names)}, got {name!r}")
    return names.index(name)


def matrix(what: str, a: npt.NDArray[np.generic]) -> tuple[int, int]:
    if a.ndim != 2:
        raise UsageError(f"{what}: expected 2 axes, got shape {a.shape}")
    return a.shape[0], a.shape[1]


def check(what: str, a: npt.NDArray[np.generic], dtype: npt.DTypeLike, shape: tuple[int, ...] | None = None) -> None:
    if a.dtype != dtype:
        raise UsageError(f"{what}: expected dtype {np.dtype(dtype)}, got {a.dtype}")
    if shape is not None and a.shape != shape:
        raise UsageError(f"{what}: expected shape {shape}, got {a.shape}")
    if not a.flags.c_contiguous or not a.flags.aligned:
        raise UsageError(f"{what}: expected a C-contiguous, aligned array; use numpy.ascontiguousarray")


def floats(what: str, a: F32 | None, shape: tuple[int, ...] | None = None) -> int | None:
    if a is None:
        return None
    check(what, a, np.float32, shape)
    return address(a)


def address(a: npt.NDArray[np.generic] | None) -> int | None:
    return None if a is None else a.ctypes.data
