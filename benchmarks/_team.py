"""Threads for EdgeQ's operators: the workers of its LiteRT delegate.

Built with the system's compiler at first use and cached; without one, plain threads that live for a call.
"""

from __future__ import annotations

import ctypes as ct
import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

from edgeq import _paths
from edgeq._native import _library
from edgeq._native._structures import CThreads

_RUNTIME = Path(__file__).parents[1] / "runtime"
_SOURCE = _RUNTIME / "ports" / "litert" / "team.c"
_FLAGS = ("-O2", "-shared", "-fPIC", f"-I{_RUNTIME}", f"-I{_RUNTIME / 'include'}")


@cache
def pool(threads: int) -> int | CThreads:
    """For the `threads` of a prepared call: one thread as it is, more of them as a team that stays."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if threads == 1 or compiler is None or not _SOURCE.is_file():
        return threads
    core = str(_library.library()._name)
    digest = hashlib.sha256(_SOURCE.read_bytes() + core.encode()).hexdigest()[:16]
    file = _paths.cache() / "benchmarks" / f"team-{digest}.so"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        if subprocess.run([compiler, *_FLAGS, _SOURCE, core, "-lpthread", "-o", part], check=False).returncode:
            return threads
        part.replace(file)
    open_team = ct.CDLL(str(file)).eql_team_open
    open_team.restype, open_team.argtypes = ct.POINTER(CThreads), [ct.c_uint]
    team: CThreads = open_team(threads).contents
    return team
