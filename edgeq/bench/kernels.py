"""`edgeq bench kernels`: which kernels a machine takes for which shapes, and finding out what is fastest there.

The machine's own agent measures (`edgeq-agent --fastest`). All values of a choice give the same bits, which it checks,
so a table changes speed only.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

from edgeq._errors import DeviceError
from edgeq._native.choices import TITLE
from edgeq.device import AgentProgram

Progress = Callable[[str], None]
_MEASURE_S = 600.0  # a choice on a slow core


@dataclass(frozen=True)
class Choice:
    """One number of an instruction set, and its limits."""

    isa: str
    choice: str
    value: int
    built_in: int
    least: int
    most: int


def table(program: AgentProgram) -> list[Choice]:
    """What is in force; DeviceError when the answer is none."""
    return [_choice(program, line) for line in program.ask("--kernels").splitlines()]


def tune(program: AgentProgram, progress: Progress = lambda _line: None, *, isas: Container[str] | None = None) -> str:
    """Measure every choice of the machine's instruction sets, and store what is fastest.

    isas     these only; None: all
    returns  the file there; agents and libraries of EdgeQ read it when they start
    """
    lines = [TITLE, "# measured by `edgeq bench kernels --tune`; delete this file to return to what is built in"]
    for choice in table(program):
        if isas is not None and choice.isa not in isas:
            continue
        best = program.ask("--fastest", choice.isa, choice.choice, timeout_s=_MEASURE_S)
        if not (best.isdecimal() and choice.least <= int(best) <= choice.most):
            raise DeviceError(f"{program.name}: {choice.isa} {choice.choice}: {best[:40]!r} is no value of it")
        changed = "" if int(best) == choice.built_in else f" (built in: {choice.built_in})"
        progress(f"{choice.isa} {choice.choice}: {best}{changed}")
        lines.append(f"{choice.isa} {choice.choice} {best}")
    return program.keep("\n".join(lines) + "\n")


def _choice(program: AgentProgram, line: str) -> Choice:
    words = line.split()
    if len(words) != 6 or not all(word.isascii() and word.isdecimal() for word in words[2:]):
        raise DeviceError(f"{program.name}: {line[:80]!r} is no line about kernels")
    return Choice(words[0], words[1], *map(int, words[2:]))
