"""The native side of the benchmarks (native/probe.c): ceilings of this core, and the scalar loop as a peer.

Built with the system's compiler at first use and cached; without a compiler, or on another processor than x86-64, the
figures that need it are left out.
"""

from __future__ import annotations

import ctypes as ct
import hashlib
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeq import _paths
from edgeq._errors import UsageError

from . import _core
from .harness import Engine, Session

_SOURCE = Path(__file__).parent / "native" / "probe.c"
_FLAGS = ("-O3", "-shared", "-fPIC")
_STEPS = 20_000
_OPS_A_STEP = {
    "popcount": {"avx512": 8 * 512 * 2, "avx2": 8 * 256 * 2, "avx-vnni": 8 * 256 * 2},
    "dot": {"avx512": 12 * 64 * 2, "avx-vnni": 12 * 32 * 2, "avx2": 8 * 32 * 2},
}
_INSTRUCTIONS_A_STEP = {"popcount": 8 * 3, "dot": 12}  # of 512 bits
_LOOPS = {("popcount", "avx-vnni"): "popcount_avx2"}  # bits are counted as AVX2 does
READ, EMPTY = "probe: read", "probe: empty call"


@cache
def library() -> ct.CDLL | None:
    """The probes, or None where they cannot be built."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or platform.machine() != "x86_64":
        return None
    digest = hashlib.sha256(_SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    file = _paths.cache() / "benchmarks" / f"probe-{digest}.so"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        if subprocess.run([compiler, *_FLAGS, _SOURCE, "-o", part], check=False).returncode:
            return None
        part.replace(file)
    lib = ct.CDLL(str(file))
    for kind, isas in _OPS_A_STEP.items():
        for isa in isas:
            _loop(lib, kind, isa).argtypes = [ct.c_uint64]
    lib.scalar_4x2.argtypes = [*[ct.c_void_p] * 3, *[ct.c_uint32] * 3, ct.c_void_p]
    lib.probe_sequence.argtypes = [ct.c_void_p, ct.c_size_t]
    lib.i2s_avx2.argtypes = [*[ct.c_void_p] * 5, *[ct.c_uint32] * 3, ct.c_void_p]
    return lib


class _Prepared(ct.Structure):
    _fields_ = (("function", ct.c_void_p), ("arguments", ct.c_size_t * 10))


@dataclass(frozen=True)
class Step:
    """A C function that returns 0, its arguments as they are passed, and what these point to."""

    function: Any
    arguments: Sequence[int]
    kept: object

    def words(self) -> Sequence[int]:
        return self.arguments


def sequence(*steps: Step | _core.Call) -> Callable[[], None]:
    """All steps in one foreign call, where there is a compiler; else one by one."""
    lib = library()
    if lib is None:

        def each() -> None:
            for step in steps:
                step()

        return each
    calls = (_Prepared * len(steps))()
    for made, step in zip(calls, steps, strict=True):
        made.function = ct.cast(step.function, ct.c_void_p).value
        for i, word in enumerate(step.words()):
            made.arguments[i] = word
    run, start, count = lib.probe_sequence, ct.addressof(calls), len(calls)

    def call(_kept: object = (calls, steps)) -> None:
        if status := run(start, count):
            raise UsageError(f"the core refused the arguments of a prepared call (status {status})")

    return call


def engines(
    isas: tuple[str, ...], weights: npt.NDArray[np.uint8] | None = None, kind: str = "popcount", read: str = READ
) -> list[Engine]:
    """One probe of the ceiling for each instruction set, and one, called `read`, that reads `weights` once.

    kind  popcount: operations on bits; dot: on bytes
    """
    lib = library()
    if lib is None:
        return []
    found = [Engine(_name(kind, isa), _steps(lib, kind, isa)) for isa in isas if isa in _OPS_A_STEP[kind]]
    if weights is not None and weights.nbytes >= 128:
        found.append(Engine(read, sequence(Step(lib.probe_read, (weights.ctypes.data, weights.nbytes), weights))))
    return found


def empty_call() -> Engine:
    """A prepared call of nothing: what calling from Python costs, which every time of EdgeQ contains."""
    return Engine(EMPTY, sequence())


def floor_us(session: Session, isa: str, ops: int, kind: str = "popcount", read: str = READ) -> float | None:
    """What `ops` operations on weights that are read once need at least, by the probes of the same session.

    None where this instruction set has no probe.
    """
    if (compute := session.timings.get(_name(kind, isa))) is None:
        return None
    needed = compute.min_us * ops / (_STEPS * _OPS_A_STEP[kind][isa])
    reading = session.timings.get(read)
    return max(needed, reading.min_us) if reading else needed


def kernel_floor_us(
    session: Session, isa: str, instructions: float, kind: str = "popcount", read: str = READ
) -> float | None:
    """What a kernel of so many instructions of 512 bits needs at least, with the call; None for other sets.

    Two ports: as many a microsecond as the loop of the probe of the same session passed.
    """
    compute, empty = session.timings.get(_name(kind, isa)), session.timings.get(EMPTY)
    if isa != "avx512" or compute is None or empty is None:
        return None
    needed = compute.min_us * instructions / (_STEPS * _INSTRUCTIONS_A_STEP[kind])
    reading = session.timings.get(read)
    return empty.min_us + (max(needed, reading.min_us) if reading else needed)


def ceiling_gops(session: Session, isa: str, kind: str = "popcount") -> float | None:
    """Operations a second in 10^9, one core, registers only."""
    timing = session.timings.get(_name(kind, isa))
    return _STEPS * _OPS_A_STEP[kind][isa] / timing.min_us / 1e3 if timing else None


def scalar_4x2(
    bits: npt.NDArray[np.uint8], weights: npt.NDArray[np.uint8], alpha: npt.NDArray[np.float32], k: int
) -> tuple[Step, npt.NDArray[np.float32]] | None:
    """The portable loop over packed rows, and where it leaves its result (m, o).

    bits (m, k / 8), weights (o, k / 8); k a multiple of 64, o of 4
    """
    lib = library()
    if lib is None or k % 64 or len(weights) % 4:
        return None
    m, o = len(bits), len(weights)
    panels = np.ascontiguousarray(weights.view(np.uint64).reshape(o // 4, 4, -1).transpose(0, 2, 1))
    out = _core.aligned((m, o), np.float32)
    arguments = (bits.ctypes.data, panels.ctypes.data, alpha.ctypes.data, m, k, o, out.ctypes.data)
    return Step(lib.scalar_4x2, arguments, (bits, panels, alpha, out)), out


def i2s(
    codes: npt.NDArray[np.int8],
    steps: npt.NDArray[np.float32],
    weights: npt.NDArray[np.int8],
    scale: npt.NDArray[np.float32],
) -> tuple[tuple[Step, Step], npt.NDArray[np.float32]] | None:
    """Ternary weights as BitNet's I2_S computes them with AVX2, and where it leaves its result (m, o).

    codes (m, k), their steps (m,); weights (o, k) of -1, 0 and 1, scale (o,); k a multiple of 128
    """  # fmt: skip
    lib = library()
    (m, k), o = codes.shape, len(weights)
    if lib is None or k % 128:
        return None
    quarters = (weights + 1).astype(np.uint8).reshape(o, k // 128, 4, 32)
    packed = _core.aligned((o, k // 128, 32), np.uint8)
    packed[:] = (quarters << np.array([6, 4, 2, 0], np.uint8)[:, None]).sum(2, dtype=np.uint8)
    out, sums = _core.aligned((m, o), np.float32), np.empty(m, np.int32)
    given = codes, sums, steps, packed, scale
    arguments = (*(array.ctypes.data for array in given), m, k, o, out.ctypes.data)
    summed = Step(lib.probe_row_sums, (codes.ctypes.data, m, k, sums.ctypes.data), (codes, sums))
    return (summed, Step(lib.i2s_avx2, arguments, (given, out))), out


def _steps(lib: ct.CDLL, kind: str, isa: str):  # -> the engine's call
    probe = _loop(lib, kind, isa)
    return lambda: probe(_STEPS)


def _loop(lib: ct.CDLL, kind: str, isa: str):  # -> the function
    return getattr(lib, f"probe_{_LOOPS.get((kind, isa)) or f'{kind}_{isa}'.replace('-', '_')}")


def _name(kind: str, isa: str) -> str:
    return f"probe: {kind} {isa}"
