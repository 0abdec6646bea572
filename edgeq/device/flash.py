"""Putting the firmware on a board, through the programs for that: pyocd, openocd, esptool, st-flash, dfu-util.

What a runner needs to know of a board stands in its board.toml. Nothing here has met a real board.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from edgeq._errors import DeviceError, UnsupportedError, UsageError

from . import firmware
from .firmware import Board

_PATIENCE_S = 600
Words = list[str]


def _pyocd(board: Mapping[str, str], image: Path, port: str, erase: bool) -> Words:
    probe = ["--uid", port] if port else []
    return ["pyocd", "flash", *probe, "--target", board["target"], *(["--erase", "chip"] if erase else []), str(image)]


def _openocd(board: Mapping[str, str], image: Path, port: str, erase: bool) -> Words:
    serial = ["-c", f"adapter serial {port}"] if port else []
    wipe = ["-c", f"init; reset halt; {board['erase']}"] if erase and "erase" in board else []
    files = ["-f", board["interface"], "-f", board["target"]]
    return ["openocd", *files, *serial, *wipe, "-c", f"program {{{image}}} verify reset exit"]


def _esptool(board: Mapping[str, str], image: Path, port: str, erase: bool) -> Words:
    line = ["--port", port] if port else []
    wipe = ["--erase-all"] if erase else []
    return ["esptool", "--chip", board["chip"], *line, "write-flash", *wipe, board["at"], str(image)]


def _stlink(board: Mapping[str, str], image: Path, port: str, erase: bool) -> Words:
    serial = ["--serial", port] if port else []
    return ["st-flash", *serial, "--reset", "write", str(image), board["at"]]


def _dfu(board: Mapping[str, str], image: Path, port: str, erase: bool) -> Words:
    serial = ["--serial", port] if port else []
    wipe = ":mass-erase:force" if erase else ""
    return ["dfu-util", *serial, "-a", "0", "-s", f"{board['at']}{wipe}:leave", "-D", str(image)]


Runner = Callable[[Mapping[str, str], Path, str, bool], Words]
RUNNERS: dict[str, tuple[Runner, str]] = {  # how to call it, what image it takes
    "pyocd": (_pyocd, "elf"),
    "openocd": (_openocd, "elf"),
    "esptool": (_esptool, "esp"),
    "stlink": (_stlink, "bin"),
    "dfu": (_dfu, "bin"),
}


def flash(
    board: Board,
    runner: str = "",
    *,
    port: str = "",
    operators: tuple[str, ...] = (),
    features: tuple[str, ...] = (),
    erase: bool = False,
    run: Callable[[Words], None] | None = None,
) -> list[Words]:
    """Build the firmware of a board and put it there.

    runner   one of the board's; its first one where it is not given
    operators those of the models that it will run, and no other kernels; (): all
    features what the firmware has by choice: names of firmware.FEATURES
    port     serial number of the probe, or esptool's port, where there are several
    erase    the whole flash first
    run      carries out one command; None: only tell them
    return   the commands, in their order
    raises   UsageError for a runner that the board does not have, UnsupportedError for a program that is not installed,
             DeviceError when one fails
    """
    runner = runner or next(iter(board.runners), "")
    if runner not in board.runners:
        known = ", ".join(board.runners) or "none: it is a simulator, connect to it"
        raise UsageError(f'{board.name}: no runner "{runner}"; there are: {known}')
    how, kind = RUNNERS[runner]
    facts = board.runners[runner]
    if run:
        _need(how(facts, Path(), port, erase)[0])
    elf = firmware.build(board, operators=operators, features=features)
    commands = []
    image = elf
    if kind != "elf":
        image = elf.with_suffix(".bin")
        commands.append(_to_bin(board, elf, image) if kind == "bin" else _to_esp(facts, elf, image))
    commands.append(how(facts, image, port, erase))
    if run:
        for command in commands:
            run(command)
    return commands


def _need(program: str) -> None:
    """Before minutes of building."""
    if shutil.which(program) is None:
        raise UnsupportedError(f"{program} is not installed: {firmware.how_to_install(program)}")


def execute(command: Words) -> None:
    """Run a flashing program to its end; its last words are the error."""
    _need(command[0])
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{command[0]}: not done after {_PATIENCE_S} s") from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or ["it says nothing"]
        raise DeviceError(f"{command[0]} ended with {done.returncode}: {lines[-1].strip()}")


def _to_bin(board: Board, elf: Path, image: Path) -> Words:
    objcopy = firmware.core(board.core).compiler.removesuffix("gcc") + "objcopy"
    return [objcopy, "-O", "binary", str(elf), str(image)]


def _to_esp(facts: Mapping[str, str], elf: Path, image: Path) -> Words:
    return ["esptool", "--chip", facts["chip"], "elf2image", "--output", str(image), str(elf)]
