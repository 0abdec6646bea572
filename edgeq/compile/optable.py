"""The micro runtime's table of operators: which C function is which operator, and a table of fewer of them.

Firmware links what its table names, so a table of a model's own operators leaves out every other kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgeq import _paths

_ENTRY = re.compile(r'\{"([\w:.]+)", (\w+)\}')


def functions() -> dict[str, str]:
    """The C function of each operator, by name and overload."""
    return dict(_ENTRY.findall((_paths.runtime() / "micro/operators.c").read_text(encoding="utf-8")))


def tuned() -> dict[str, str]:
    """Those of tunable programs beside: in no table that does not ask for them."""
    return dict(_ENTRY.findall((_paths.runtime() / "micro/tuned/rows.inc").read_text(encoding="utf-8")))


def source(operators: Iterable[str]) -> str:
    """C in place of `runtime/micro/operators.c`; KeyError for an operator that the runtime does not have."""
    operators = list(operators)
    known = functions()
    tunable = bool(set(operators) - known.keys())
    if tunable:
        known |= tuned()
    rows = "\n".join(f'    {{"{operator}", {known[operator]}}},' for operator in operators)
    return f"""\
{"#define EQM_TUNED" + chr(10) if tunable else ""}#include "micro/operators.h"

const eqm_operator eqm_operators[] = {{
{rows}
}};
const uint32_t eqm_operator_count = sizeof eqm_operators / sizeof *eqm_operators;
"""
