"""ExecuTorch's Python runtime with EdgeQ's operators in it, and the times that it keeps of each operator."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgeq import _native, _paths
from edgeq._errors import UnsupportedError

_EXECUTE = "Method::execute"


@dataclass(frozen=True)
class OperatorTime:
    """One call in a program: minimum and median of its executions, wall clock."""

    name: str
    min_us: float
    median_us: float


@cache
def operators() -> ctypes.CDLL:
    """libedgeq_executorch, loaded: its operators are registered from now on."""
    path = _paths.native("libedgeq_executorch.so", "EDGEQ_EXECUTORCH")
    with quiet():
        import executorch.runtime  # noqa: F401  loads the library that the operators register with
    return ctypes.CDLL(str(path))


def set_threads(threads: int) -> None:
    """Of EdgeQ's operators and of XNNPACK; before a program is loaded."""
    operators().edgeq_set_threads(ctypes.c_uint(threads))


def select_isa(name: str) -> None:
    """Instruction set of EdgeQ's operators from the next call on."""
    if operators().eq_isa_select(_native.ISA_NAMES.index(name)):
        raise UnsupportedError(f"{name}: not usable on this machine")


def method(program: bytes, name: str = "forward") -> Any:
    """A loaded method; `execute((tensor, ...))` runs it."""
    from executorch.runtime import Runtime, Verification

    return Runtime.get().load_program(program, verification=Verification.Minimal).load_method(name)


def profile(program: bytes, inputs: tuple[Any, ...], runs: int) -> tuple[list[OperatorTime], OperatorTime]:
    """The operators of `forward` in order of execution, and the whole method: `runs` executions after two others."""
    from executorch.devtools import Inspector
    from executorch.runtime import Runtime, Verification

    with tempfile.TemporaryDirectory() as folder, quiet():
        file = Path(folder) / "times.etdump"
        loaded = Runtime.get().load_program(
            program, verification=Verification.Minimal, enable_etdump=True, debug_buffer_size=0
        )
        forward = loaded.load_method("forward")
        for _ in range(runs + 2):
            forward.execute(inputs)
        loaded.write_etdump_result_to_file(str(file), str(Path(folder) / "debug"))
        events = [event for block in Inspector(etdump_path=str(file)).event_blocks for event in block.events]
    times = [_time(event, skip=2) for event in events if event.perf_data and len(event.perf_data.raw) == runs + 2]
    whole = next(time for time in times if time.name == _EXECUTE)
    return [time for time in times if time.name != _EXECUTE], whole


def _time(event: Any, skip: int) -> OperatorTime:
    """ETDump's scale is milliseconds."""
    raw = sorted(event.perf_data.raw[skip:])
    return OperatorTime(event.name, raw[0] * 1e3, raw[len(raw) // 2] * 1e3)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the start-up chatter of torch and torchao."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().setLevel(level)
