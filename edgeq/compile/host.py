"""Run a `.pte` in this process through ExecuTorch's Python runtime: for parity checks, not for measuring."""

from __future__ import annotations

import ctypes
import functools

from torch import Tensor

from edgeq import _paths
from edgeq._errors import CompileError
from edgeq._quiet import quiet


def run(pte: bytes, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Outputs of the program's `forward`.

    raises  CompileError when ExecuTorch cannot load or execute it, UnsupportedError without EdgeQ's operators
    """
    _load_operators()
    with quiet():
        from executorch.runtime import Runtime, Verification

    try:
        method = Runtime.get().load_program(pte, verification=Verification.Minimal).load_method("forward")
        return [output.clone() for output in method.execute(inputs)]
    except (RuntimeError, ValueError) as error:
        raise CompileError(f"program cannot be executed: {error}") from error


@functools.cache
def _load_operators() -> ctypes.CDLL:
    return ctypes.CDLL(str(_paths.native("libedgeq_executorch.so", "EDGEQ_EXECUTORCH")))
