"""What a device tells, as plain records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .frames import Fields, protocol

Array = np.ndarray[Any, Any]

_NUMPY = {
    "u8": np.uint8,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
    "bool": np.bool_,
    "bf16": np.uint16,  # numpy has no such type: the bits as they are
}


@dataclass(frozen=True)
class Found:
    """A device within reach, or the place where one could be; state "unknown": it has not been asked (`probe`).

    name    what the user calls it, "" if nothing
    """

    url: str
    kind: str
    state: Literal["ready", "unauthorized", "offline", "no-runtime", "unknown"]
    detail: str
    name: str = ""


@dataclass(frozen=True)
class Condition:
    """A machine at one moment; None or empty: it does not tell.

    temperature_c   of the battery where there is one, else of the warmest zone
    frequency_hz    of the fastest core now
    """

    temperature_c: float | None = None
    frequency_hz: int | None = None
    governor: str = ""
    zones_c: tuple[float, ...] = ()
    battery_percent: int | None = None
    charging: bool | None = None


@dataclass(frozen=True)
class Info:
    """The agent's answer to the first request.

    tick          unit of every number of ticks: "ns" or "instructions"
    memory_bytes  0 when not known, like every other number of bytes
    code_bytes    flash of the agent itself
    peak_bytes    the most memory in use since the last load, everything counted
    """

    protocol: int
    max_payload: int
    nets: int
    threads: int
    memory_bytes: int
    store_free_bytes: int
    kind: str
    name: str
    arch: str
    cpu: str
    isa: str
    tick: str
    targets: tuple[str, ...]
    code_bytes: int = 0
    peak_bytes: int = 0

    @classmethod
    def of(cls, fields: Fields) -> Info:
        return cls(**{**fields, "targets": tuple(fields["targets"])})


@dataclass(frozen=True)
class Entry:
    """A stored program."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: `element` is its type in the protocol's words, `dtype` the numpy type that carries it."""

    element: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, fields: Fields) -> TensorSpec:
        return cls(protocol().dtype_name(fields["dtype"]), tuple(fields["shape"]))

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(_NUMPY[self.element])

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Loaded:
    """What loading a method cost.

    planned_bytes  memory that the program plans for activations, inputs and outputs
    program_bytes  size of the file
    before_bytes   resident memory of the agent before
    """

    net: int
    load_ticks: int
    planned_bytes: int
    program_bytes: int
    before_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def of(cls, fields: Fields) -> Loaded:
        specs = {key: tuple(TensorSpec.of(item) for item in fields[key]) for key in ("inputs", "outputs")}
        return cls(**{**fields, **specs})


@dataclass(frozen=True)
class Run:
    """One execution: every output, and how long it took on the device (inputs already there)."""

    outputs: tuple[Array, ...]
    ticks: int


@dataclass(frozen=True)
class Timing:
    """Raw samples of repeated executions; peak_bytes is the most memory that the agent has had since the load."""

    ticks: Sequence[int]
    peak_bytes: int


@dataclass(frozen=True)
class Outcome:
    """Results over many samples: outputs with the samples along the first axis, and ticks per execution."""

    outputs: tuple[Array, ...]
    ticks: Sequence[int]


@dataclass(frozen=True)
class Predictions:
    """The greatest element of the first output per execution (the first of equals), and ticks per execution."""

    classes: Array
    ticks: Sequence[int]
