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
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeq import _paths

from .harness import Engine, Session

_SOURCE = Path(__file__).parent / "native" / "probe.c"
_FLAGS = ("-O3", "-shared", "-fPIC")
_STEPS = 20_000
_OPS_A_STEP = {"avx512": 8 * 512 * 2, "avx2": 8 * 256 * 2}
READ = "probe: read"


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
    for isa in _OPS_A_STEP:
        getattr(lib, f"probe_popcount_{isa}").argtypes = [ct.c_uint64]
    lib.probe_read.argtypes, lib.probe_read.restype = [ct.c_void_p, ct.c_size_t], ct.c_uint64
    lib.scalar_4x2.argtypes = [*[ct.c_void_p] * 3, *[ct.c_uint32] * 3, ct.c_void_p]
    return lib


def engines(isas: tuple[str, ...], weights: npt.NDArray[np.uint8] | None = None) -> list[Engine]:
    """One probe of the popcount ceiling for each instruction set, and one that reads `weights` once."""
    lib = library()
    if lib is None:
        return []
    found = [Engine(_name(isa), _popcount(lib, isa)) for isa in isas if isa in _OPS_A_STEP]
    if weights is not None and weights.nbytes >= 128:
        address, size = weights.ctypes.data, weights.nbytes
        found.append(Engine(READ, lambda: (lib.probe_read(address, size), weights)))
    return found


def floor_us(session: Session, isa: str, ops: int) -> float | None:
    """What `ops` binary operations on weights that are read once need at least, by the probes of the same session.

    None where this instruction set has no probe.
    """
    if (compute := session.timings.get(_name(isa))) is None:
        return None
    needed = compute.min_us * ops / (_STEPS * _OPS_A_STEP[isa])
    read = session.timings.get(READ)
    return max(needed, read.min_us) if read else needed


def ceiling_gops(session: Session, isa: str) -> float | None:
    """Binary operations a second in 10^9, one core, registers only."""
    timing = session.timings.get(_name(isa))
    return _STEPS * _OPS_A_STEP[isa] / timing.min_us / 1e3 if timing else None


def scalar_4x2(
    bits: npt.NDArray[np.uint8], weights: npt.NDArray[np.uint8], alpha: npt.NDArray[np.float32], k: int
) -> tuple[Engine, npt.NDArray[np.float32]] | None:
    """The portable loop over packed rows, as a peer, and where it leaves its result (m, o).

    bits (m, k / 8), weights (o, k / 8); k a multiple of 64, o of 4
    """
    lib = library()
    if lib is None or k % 64 or len(weights) % 4:
        return None
    m, o = len(bits), len(weights)
    panels = np.ascontiguousarray(weights.view(np.uint64).reshape(o // 4, 4, -1).transpose(0, 2, 1))
    out = np.empty((m, o), np.float32)
    arguments = (bits.ctypes.data, panels.ctypes.data, alpha.ctypes.data, m, k, o, out.ctypes.data)
    kept = (bits, panels, alpha, out)
    return Engine("scalar 4x2", lambda: (lib.scalar_4x2(*arguments), kept)), out


def _popcount(lib: ct.CDLL, isa: str):  # -> the engine's call
    probe = getattr(lib, f"probe_popcount_{isa}")
    return lambda: probe(_STEPS)


def _name(isa: str) -> str:
    return f"probe: popcount {isa}"
