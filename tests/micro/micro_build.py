"""Compiles the micro runtime for the tests: on the host under sanitizers, and for Cortex-M."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "runtime"
FIXTURES = ROOT.parent / "shared/fixtures/micro"

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="the micro runtime is not tested here: no gcc")
needs_fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the reader's fixtures are not here: no shared/")

READER = [
    RUNTIME / "micro" / f"{name}.c" for name in ("call", "method", "model", "program", "reader", "status", "value")
]
OPERATORS = [
    *(
        RUNTIME / "micro" / f"{name}.c"
        for name in ("epilogue", "operators", "ops_binary", "ops_glue", "ops_integer", "ops_uniform")
    ),
    *(RUNTIME / "core" / f"{name}.c" for name in ("check", "shape")),
    *sorted((RUNTIME / "kernels/mcu").glob("*.c")),
]

WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror"]
INCLUDES = [f"-I{RUNTIME}", f"-I{RUNTIME / 'include'}"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
FREESTANDING = ["-ffreestanding", "-Os", "-ffunction-sections", "-fdata-sections", "-fstack-usage"]
BOARDS = {
    "mps2-an385": ["-mthumb", "-mcpu=cortex-m3"],
    "mps2-an386": ["-mthumb", "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"],
    "mps2-an500": ["-mthumb", "-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"],
}


def compile_c(compiler: str, *arguments: str | Path) -> None:
    """One compiler call with the flags that all C here has; its messages are the test's failure."""
    command = [compiler, *WARNINGS, "-ffp-contract=off", *INCLUDES, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def sanitized(folder: Path, sources: Sequence[Path]) -> list[Path]:
    """Objects of `sources` for the host, under ASan and UBSan."""
    return objects(folder, sources, "gcc", "-O1", "-D_POSIX_C_SOURCE=200112L", *SANITIZERS)


def for_board(folder: Path, board: str, sources: Sequence[Path]) -> list[Path]:
    """Objects of `sources` for a microcontroller; beside each lies a .su file with its stack frames."""
    return objects(folder, sources, "arm-none-eabi-gcc", *FREESTANDING, *BOARDS[board])


def objects(folder: Path, sources: Sequence[Path], compiler: str, *flags: str) -> list[Path]:
    made = [folder / f"{source.parent.name}_{source.stem}.o" for source in sources]
    for source, out in zip(sources, made, strict=True):
        if not out.exists():
            compile_c(compiler, *flags, "-c", source, "-o", out)
    return made


@dataclass(frozen=True)
class Run:
    """What tests/micro/host.c said. `status` is the `eqm_status`, `sizes` is per method."""

    status: int
    output: bytes
    message: str
    sizes: list[dict[str, list[int]]]


def run(host: Path, program: Path, *methods: str) -> Run:
    """Execute `NAME[:INPUT,INPUT]` of a program, one after the other."""
    done = subprocess.run([host, program, *methods], capture_output=True)
    message = done.stderr.decode()
    assert 0 <= done.returncode < 99, message
    sizes = [
        {"arenas": list(map(int, m[1].split())), "workspace": [int(m[2])], "scratch": [int(m[3])]}
        for m in re.finditer(r"arenas ([\d ]+) workspace (\d+) scratch (\d+)", message)
    ]
    return Run(done.returncode, done.stdout, message, sizes)
