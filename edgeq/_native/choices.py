"""Which of several kernels runs where all give the same bits (runtime/include/edgeq/choices.h)."""

from __future__ import annotations

import ctypes as ct
from dataclasses import dataclass

from edgeq._errors import FormatError, UsageError

from ._library import isa_names, kernels_file, library

__all__ = ["TITLE", "Choice", "choices", "kernels_file", "read_table"]

TITLE = "edgeq kernels 1"


@dataclass(frozen=True)
class Choice:
    """One number of an instruction set; a value is a multiple of `least`, unless that is 0 or 1."""

    isa: str
    name: str
    least: int
    most: int
    built_in: int

    @property
    def value(self) -> int:
        return int(library().eq_choice_get(*self._numbers()))

    def set(self, value: int) -> None:
        """From the next call on, process-wide. UsageError outside the limits."""
        if not 0 <= value <= self.most or library().eq_choice_set(*self._numbers(), value):
            raise UsageError(f"{self.isa} {self.name}: expected {self.least} to {self.most}, got {value}")

    def _numbers(self) -> tuple[int, int]:
        return isa_names().index(self.isa), _names().index(self.name)


def choices(isa: str) -> list[Choice]:
    """Every choice of an instruction set."""
    lib, number, found = library(), isa_names().index(isa), []
    for i, name in enumerate(_names()):
        least, most = ct.c_uint32(), ct.c_uint32()
        lib.eq_choice_range(i, ct.byref(least), ct.byref(most))
        found.append(Choice(isa, name, least.value, most.value, int(lib.eq_choice_default(number, i))))
    return found


def read_table(text: bytes) -> None:
    """Set all choices that a table names, or none. FormatError when it is no table."""
    line = ct.c_uint32()
    if library().eq_choices_read(text, len(text), ct.byref(line)):
        raise FormatError(f"line {line.value} is not of a table of kernels: {TITLE!r}, then ISA CHOICE VALUE lines")


def _names() -> list[str]:
    lib, names = library(), list[str]()
    while name := lib.eq_choice_name(len(names)):
        names.append(name.decode())
    return names
