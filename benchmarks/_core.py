"""The C core as a competitor: its prepared calls, and the instruction sets that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeq import _native
from edgeq._errors import UsageError
from edgeq._native import _library
from edgeq._native.prepared import (
    Array,
    Call,
    conv2d,
    epilogue,
    linear,
    mean_hw,
    operator,
    pack_b1,
    quant,
    quantise_i8,
    tiled_conv2d_b1b1,
    tiled_linear,
    tiles,
    tiles_conv2d_b1b1,
)

__all__ = [
    "Array",
    "Call",
    "aligned",
    "conv2d",
    "epilogue",
    "isas",
    "library",
    "linear",
    "mean_hw",
    "operator",
    "pack_b1",
    "quant",
    "quantise_i8",
    "tiled_conv2d_b1b1",
    "tiled_linear",
    "tiles",
    "tiles_conv2d_b1b1",
]


def aligned(shape: int | Sequence[int], kind: npt.DTypeLike) -> npt.NDArray[Any]:
    """An empty array at the start of a cache line, where engines put their own tensors; numpy's begin anywhere."""
    kind, line = np.dtype(kind), 64
    size = int(np.prod(shape)) * kind.itemsize
    memory = np.empty(size + line, np.uint8)
    first = -memory.ctypes.data % line
    return memory[first : first + size].view(kind).reshape(shape)


def isas(chosen: Sequence[str] = ()) -> tuple[str, ...]:
    """The instruction sets to run: the chosen ones, else every vector set of this machine, best first."""
    usable = _native.usable_isas()
    if missing := set(chosen) - set(usable):
        raise UsageError(f"--isa {', '.join(sorted(missing))}: not usable on this machine; usable: {', '.join(usable)}")
    vector = [name for name in reversed(usable) if name != "ref"]
    return tuple(chosen) or tuple(vector) or tuple(usable)


def library() -> bytes:
    """The file of the core that is measured."""
    return Path(_library.library()._name).read_bytes()
