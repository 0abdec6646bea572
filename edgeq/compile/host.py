"""Run a `.pte` in this process through ExecuTorch's Python runtime: for parity checks, not for measuring."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from edgeq import _paths
from edgeq._errors import CompileError
from edgeq._quiet import quiet


class Program:
    """A loaded `.pte`; its methods share what they keep between runs.

    raises  CompileError when ExecuTorch cannot load or execute it, UnsupportedError without EdgeQ's operators
    """

    def __init__(self, pte: bytes) -> None:
        _load_operators()
        with quiet():
            from executorch.runtime import Runtime, Verification

        with _refused():
            self._program = Runtime.get().load_program(pte, verification=Verification.Minimal)
        self._methods: dict[str, Any] = {}

    def run(self, method: str, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        with _refused():
            if method not in self._methods:
                self._methods[method] = self._program.load_method(method)
            return [output.clone() for output in self._methods[method].execute(inputs)]


def run(pte: bytes, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Outputs of the program's `forward`; raises as `Program`."""
    return Program(pte).run("forward", inputs)


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise CompileError(f"program cannot be executed: {error}") from error


@functools.cache
def _load_operators() -> ctypes.CDLL:
    return ctypes.CDLL(str(_paths.native("libedgeq_executorch.so", "EDGEQ_EXECUTORCH")))
