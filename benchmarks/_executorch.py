"""ExecuTorch's Python runtime with EdgeQ's operators in it, and its trace of an execution."""

from __future__ import annotations

import ctypes
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from edgeq import _native, _paths
from edgeq._errors import UnsupportedError
from edgeq._quiet import quiet


@cache
def operators() -> ctypes.CDLL:
    """libedgeq_executorch, loaded: its operators are registered from now on."""
    path = _paths.native("libedgeq_executorch.so", "EDGEQ_EXECUTORCH")
    with quiet():
        import_module("executorch.runtime")  # loads the library that the operators register with
    return ctypes.CDLL(str(path))


def set_threads(threads: int) -> None:
    """Of EdgeQ's operators and of XNNPACK; before a program is loaded."""
    operators().edgeq_set_threads(ctypes.c_uint(threads))


def select_isa(name: str) -> None:
    """Instruction set of EdgeQ's operators from the next call on."""
    if operators().eq_isa_select(_native.isa_names().index(name)):
        raise UnsupportedError(f"{name}: not usable on this machine")


def method(program: bytes, name: str = "forward") -> Any:
    """A loaded method; `execute((tensor, ...))` runs it."""
    from executorch.runtime import Runtime, Verification

    return Runtime.get().load_program(program, verification=Verification.Minimal).load_method(name)


def trace(program: bytes, inputs: tuple[Any, ...], runs: int) -> bytes:
    """ETDump of `runs` executions of `forward`; `edgeq.bench.profile` reads it."""
    from executorch.runtime import Runtime, Verification

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "times.etdump"
        loaded = Runtime.get().load_program(
            program, verification=Verification.Minimal, enable_etdump=True, debug_buffer_size=0
        )
        forward = loaded.load_method("forward")
        for _ in range(runs):
            forward.execute(inputs)
        loaded.write_etdump_result_to_file(str(file), str(Path(folder) / "debug"))
        return file.read_bytes()
