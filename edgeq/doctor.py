"""What of this machine EdgeQ can use, and what to install for the rest. Looks, changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from edgeq import _paths
from edgeq._errors import EdgeQError

PYTHONS = ((3, 11), (3, 13))
EXECUTORCH = "1.5.1"  # the version the native parts are built against


@dataclass(frozen=True)
class Check:
    """One part: ok, what was found, how to get it. `needed`: without it nothing runs."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    needed: bool = False


def examine() -> list[Check]:
    """Every check, needed ones first; none of them raises."""
    return [
        *(check() for check in (_python, _core, _agent, _executorch, _store, _keys)),
        *_programs(),
        *_sensors(),
        _data(),
    ]


def _python() -> Check:
    low, high = PYTHONS
    ok = low <= sys.version_info[:2] <= high
    fix = "" if ok else f"Python {low[0]}.{low[1]} to {high[0]}.{high[1]}"
    return Check("python", ok, sys.version.split()[0], fix, needed=True)


def _core() -> Check:
    def look() -> str:
        from edgeq import _native

        return f"instruction set {_native.isa()}; usable: {', '.join(_native.usable_isas())} (EDGEQ_ISA picks)"

    return _tried("C core", look, "build it: pip install . (needs a C compiler)", needed=True)


def _agent() -> Check:
    def look() -> str:
        from edgeq.device import local

        (found,) = local.discover()
        if found.state != "ready":
            raise EdgeQError(found.detail)
        return found.detail

    return _tried("local device", look, "build it: pip install . (needs a C++ compiler)", needed=True)


def _executorch() -> Check:
    found = _version("executorch")
    ok = found == EXECUTORCH
    detail = f"{found or 'absent'}, built against {EXECUTORCH}; torch {_version('torch') or 'absent'}"
    return Check("ExecuTorch", ok, detail, "" if ok else f"pip install executorch=={EXECUTORCH}", needed=True)


def _store() -> Check:
    def look() -> str:
        from edgeq.results import Store, default_path

        path = default_path()
        if not path.exists():
            return f"{path}: made by the first measurement"
        with Store.open(path, readonly=True) as store:
            return f"{path}: {len(store.run_ids())} runs"

    return _tried("results store", look, "another path in EDGEQ_DB")


def _keys() -> Check:
    def look() -> str:
        from edgeq import keys

        return ", ".join(key.label for key in keys.load_trusted()) or "none: every package will be refused"

    return _tried("trusted keys", look, f"repair {_paths.trusted()}")


_PROGRAMS = (
    ("gcc", ("gcc", "--version"), "builds the C core", "apt-get install build-essential"),
    ("g++", ("g++", "--version"), "builds the agent", "apt-get install build-essential"),
    (
        "aarch64 compiler",
        ("aarch64-linux-gnu-g++", "--version"),
        "builds the agent for 64-bit ARM boards and phones",
        "apt-get install g++-aarch64-linux-gnu",
    ),
    ("qemu-aarch64", ("qemu-aarch64", "--version"), "tests of the ARM kernels", "apt-get install qemu-user"),
    (
        "ARM MCU compiler",
        ("arm-none-eabi-gcc", "--version"),
        "builds firmware for Cortex-M",
        "apt-get install gcc-arm-none-eabi",
    ),
    (
        "RISC-V compiler",
        ("riscv64-unknown-elf-gcc", "--version"),
        "builds firmware for RISC-V",
        "apt-get install gcc-riscv64-unknown-elf",
    ),
    (
        "qemu-system-arm",
        ("qemu-system-arm", "--version"),
        "sim:cortex-m4 and others",
        "apt-get install qemu-system-arm",
    ),
    (
        "qemu-system-riscv32",
        ("qemu-system-riscv32", "--version"),
        "sim:rv32, sim:rv32-zbb",
        "apt-get install qemu-system-misc",
    ),
    ("adb", ("adb", "version"), "Android phones", "apt-get install adb"),
    ("ssh", ("ssh", "-V"), "Linux boards", "apt-get install openssh-client"),
)


def _programs() -> list[Check]:
    checks = []
    for name, call, use, fix in _PROGRAMS:
        path = shutil.which(call[0])
        checks.append(
            Check(name, path is not None, f"{use}: {_first_line(call)}" if path else use, "" if path else fix)
        )
    return checks


def _sensors() -> list[Check]:
    def sensor(name: str) -> Callable[[], str]:
        def look() -> str:
            from edgeq.bench import energy

            return f"measures {energy.get(name).scope} power"

        return look

    return [
        _tried("RAPL", sensor("rapl"), "without it energy is estimated and says so"),
        _tried("hwmon power", sensor("hwmon"), "a board with a power sensor"),
    ]


def _data() -> Check:
    def look() -> str:
        from edgeq.data import TEST_SETS
        from edgeq.datasets import places

        for folder in (place for name in TEST_SETS for place in places.folders(name)):
            if folder.is_dir():
                return str(folder)
        raise EdgeQError("eval --full would ask the Hub")

    return _tried("Fashion-MNIST", look, "apt-get install dataset-fashion-mnist")


def _tried(name: str, look: Callable[[], str], fix: str, *, needed: bool = False) -> Check:
    """A check whose finding is what `look` returns, or why it could not: `fix`, unless a variable is to blame."""
    try:
        return Check(name, True, look(), needed=needed)
    except (EdgeQError, OSError, ImportError, AttributeError) as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        blamed = [variable for variable in re.findall(r"EDGEQ_[A-Z]+", detail) if variable in os.environ]
        return Check(name, False, detail, f"unset or change {blamed[0]}" if blamed else fix, needed=needed)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _first_line(call: tuple[str, ...]) -> str:
    try:
        run = subprocess.run(call, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "does not start"
    return next(iter((run.stdout + run.stderr).strip().splitlines()), "").strip()
