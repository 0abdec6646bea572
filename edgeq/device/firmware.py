"""The firmware of microcontrollers: which boards there are, and building it for one of them.

A board is an entry of `runtime/ports/boards/*/board.toml`. What is built is kept under the hash of its sources, its
compiler and its flags.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from edgeq import _paths
from edgeq._errors import CompileError, UnsupportedError, UsageError

_PACKAGES = {  # of Debian
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-riscv32": "qemu-system-misc",
    "arm-none-eabi-objcopy": "binutils-arm-none-eabi",
    "st-flash": "stlink-tools",
}
_OF_PYPI = ("pyocd", "esptool")
_FLAGS = (
    *("-std=c11", "-Os", "-g", "-ffreestanding", "-ffp-contract=off", "-fno-common"),
    *("-ffunction-sections", "-fdata-sections", "-fstack-usage", "-DEQ_MICRO"),
    *("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion"),
)
_PROTO = ("wire", "frame", "sha256", "agent", "agent_store", "agent_engine")
_LINK = ("-nostdlib", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments")
# All but kernels and board: smaller when optimised as one. memory.c, which gcc itself calls, stays apart.
_SMALL = (
    *("-flto", "-fno-inline-functions-called-once", "-fno-jump-tables"),
    *("-fno-move-loop-invariants", "-fno-if-conversion"),
)
_FAST = ("-O2",)
FEATURES: dict[str, tuple[str, ...]] = {  # what firmware has by choice: -DEQ_WITH_MLPERF and so on, and these files
    "mlperf": ("proto/mlperf.c",),
    "marker": (),
    "mlperf-energy": ("proto/mlperf.c",),
    "tune": ("proto/tune/*.c", "tune/*.c", "ports/mcu/tune/*.c", "micro/tuned/*.c", "core/quarters.c"),
}
_OF_THE_PIN = {"marker", "mlperf-energy"}


@dataclass(frozen=True)
class Board:
    """A board that the firmware can be built for.

    state    "runs in QEMU" or "not run on silicon"
    port     folder of `runtime/ports` for its architecture
    qemu     the emulator's command line, empty for a real board
    runners  what `edgeq flash --runner` needs to know: runner to arguments of its own
    marker   the pin of `runtime/ports/mcu/marker.h`: `pin` in words, `setup`, `high` and `low` as registers' address,
             bits to clear and bits to set; empty where there is none
    """

    name: str
    family: str
    title: str
    state: str
    port: str
    core: str
    memory: str
    defines: dict[str, str]
    qemu: tuple[str, ...]
    runners: dict[str, dict[str, str]]
    marker: dict[str, str]


@dataclass(frozen=True)
class Core:
    """How to compile for a core, and what the firmware says of it."""

    compiler: str
    flags: tuple[str, ...]
    libraries: tuple[str, ...]  # flags that choose libgcc
    arch: str
    cpu: str
    isa: str


@functools.cache
def boards() -> dict[str, Board]:
    """Every board by name, the emulated ones first."""
    found = []
    for file in sorted((_ports() / "boards").glob("*/board.toml")):
        family = tomllib.loads(file.read_text(encoding="utf-8"))
        for name, entry in family["boards"].items():
            found.append(
                Board(
                    name=name,
                    family=file.parent.name,
                    title=entry["title"],
                    state=family["state"],
                    port=family["port"],
                    core=entry["core"],
                    memory=entry["memory"],
                    defines=entry.get("defines", {}),
                    qemu=tuple(entry.get("qemu", ())),
                    runners=entry.get("runners", {}),
                    marker=entry.get("marker", {}),
                )
            )
    return {board.name: board for board in sorted(found, key=lambda board: not board.qemu)}


def find(name: str) -> Board:
    """The board of that name; UsageError lists what there is."""
    if name not in boards():
        raise UsageError(f'no board "{name}"; there are: {", ".join(boards())}')
    return boards()[name]


@functools.cache
def core(name: str) -> Core:
    entry = tomllib.loads((_ports() / "boards" / "cores.toml").read_text(encoding="utf-8"))[name]
    libraries = tuple(entry.get("libraries", entry["flags"]))
    return Core(**{**entry, "flags": tuple(entry["flags"]), "libraries": libraries})


def tool(name: str) -> str:
    """The path of a program; UnsupportedError says which package has it."""
    if (path := shutil.which(name)) is None:
        raise UnsupportedError(f"{name} is not installed: {how_to_install(name)}")
    return path


def how_to_install(name: str) -> str:
    """The command that brings a program."""
    return f"pip install {name}" if name in _OF_PYPI else f"apt-get install {package_of(name)}"


def package_of(name: str) -> str:
    """Debian's package of a program."""
    return _PACKAGES.get(name, name)


def build(board: Board, *, operators: tuple[str, ...] = (), features: tuple[str, ...] = ()) -> Path:
    """The firmware of a board as ELF file, from the cache or made now.

    operators  those of the models that it will run (`edgeq.compile.micro.operators`), and no other kernels; (): all
    features   of FEATURES
    raises     UsageError for another feature, or one that the board has no pin for, UnsupportedError without its
               compiler, CompileError with the compiler's first words, StoreError when nothing can be kept
    """
    from edgeq.compile import optable

    if unknown := set(features) - FEATURES.keys():
        raise UsageError(f"firmware has no feature {', '.join(sorted(unknown))}; there are: {', '.join(FEATURES)}")
    if pinned := sorted(_OF_THE_PIN & set(features)):
        if not board.marker:
            raise UsageError(f"{board.name}: {pinned[0]} needs a pin, and its board.toml names none under `marker`")
        if len(pinned) > 1:
            raise UsageError(f"{' and '.join(pinned)} both want the pin {board.marker['pin']}; choose one")
    made_for = core(board.core)
    if "tune" in features:  # a program with forward_tune calls more than `forward` says
        operators = (*(operators or optable.functions()), *optable.tuned())
    table = optable.source(operators) if operators else None
    files = sources(board, features)
    compile_one = [*command(board), *definitions(board, features)]
    compiler = compile_one[0]
    digest = hashlib.sha256("\0".join((_version(compiler), *compile_one, *_SMALL, *_FAST, table or "")).encode())
    for file in (*files, *_headers()):
        digest.update(file.read_bytes())
    out = _paths.writable_home() / "firmware" / digest.hexdigest()[:32] / f"{board.name}.elf"
    if out.is_file():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as name:
        folder = Path(name)
        if table is not None:
            own = folder / "operators.c"
            own.write_text(table)
            files = [own if file.name == own.name else file for file in files]
        objects = _compile(compile_one, files, folder)
        link = [*_LINK, f"-L{_ports() / board.port}", "-T", str(_family(board) / board.memory)]
        made = folder / "firmware.elf"
        _run([*compile_one, *_SMALL, *made_for.libraries, *map(str, objects), *link, "-lgcc", "-o", str(made)])
        os.replace(made, out)
    return out


def definitions(board: Board, features: tuple[str, ...]) -> list[str]:
    """What the compiler is told of the chosen features."""
    found = [f"-DEQ_WITH_{feature.upper().replace('-', '_')}" for feature in features]
    if "tune" in features:
        found.append("-DEQ_MOMENTS")  # kernels/mcu: what forward_tune asks of them
    if _OF_THE_PIN & set(features):
        found += [f"-DMARKER_{key.upper()}={board.marker[key]}" for key in ("setup", "high", "low")]
    return found


def extra(source: Path) -> tuple[str, ...]:
    """Flags of one source file besides those of `command`: kernels fast, the rest small."""
    if source.parent.parent.name == "kernels" or source.parent in (
        _paths.runtime() / "tune",
        _paths.runtime() / "micro/tuned",
    ):
        return _FAST
    return _SMALL if source.parent.name in ("proto", "micro", "mcu") and source.name != "memory.c" else ()


def command(board: Board) -> list[str]:
    """How its files are compiled: everything but the file and the output."""
    made_for = core(board.core)
    texts = {"NAME": board.title, "ARCH": made_for.arch, "CPU": made_for.cpu, "ISA": made_for.isa}
    texts["TARGET"] = f"micro:{board.core}"
    return [
        tool(made_for.compiler),
        *_FLAGS,
        *made_for.flags,
        *(f'-DBOARD_{key}="{value}"' for key, value in texts.items()),
        *(f"-D{key}={value}" for key, value in board.defines.items()),
        f"-I{_paths.runtime()}",
        f"-I{_paths.runtime() / 'include'}",
    ]


def _compile(compile_one: list[str], files: list[Path], folder: Path) -> list[Path]:
    objects = []
    for source in files:
        made = folder / f"{source.parent.name}_{source.stem}.o"
        _run([*compile_one, *extra(source), "-c", str(source), "-o", str(made)])
        objects.append(made)
    return objects


def sources(board: Board, features: tuple[str, ...] = ()) -> list[Path]:
    """The C and assembler files that the firmware of a board is made of."""
    runtime = _paths.runtime()
    return [
        *sorted((runtime / "ports/mcu").glob("*.c")),
        *(file for name in ("start.[cS]", "clock.c") for file in (_ports() / board.port).glob(name)),
        *sorted(_family(board).glob("*.[cS]")),
        *(runtime / "proto" / f"{name}.c" for name in _PROTO),
        *_of_features(features),
        *sorted(file for file in (runtime / "micro").glob("*.c") if not file.name.startswith("fuzz")),
        *(runtime / "core" / f"{name}.c" for name in ("check", "shape")),
        *sorted((runtime / "kernels/mcu").glob("*.c")),
    ]


def _of_features(features: tuple[str, ...]) -> list[Path]:
    patterns = dict.fromkeys(pattern for feature in features for pattern in FEATURES[feature])
    return [file for pattern in patterns for file in sorted(_paths.runtime().glob(pattern))]


def _headers() -> list[Path]:
    return sorted(file for end in ("h", "def", "ld", "inc") for file in _paths.runtime().rglob(f"*.{end}"))


def _ports() -> Path:
    return _paths.runtime() / "ports"


def _family(board: Board) -> Path:
    return _ports() / "boards" / board.family


@functools.cache
def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout


def _run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.splitlines() or ["it says nothing"]
        telling = [line for line in lines if re.search(r"error:(?! ld returned)|undefined|overflowed|warning:", line)]
        why = (telling or lines)[0].strip()
        raise CompileError(f"the firmware cannot be built with {Path(words[0]).name}: {why}")
