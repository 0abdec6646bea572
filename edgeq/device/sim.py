"""`sim:cortex-m4`: a microcontroller in QEMU that runs the real firmware, for as long as the connection.

Without QEMU, a Cortex-M runs in unicorn (PyPI, extra `sim`), much slower; `?emulator=qemu` or `unicorn` asks for one.
It counts instructions, not time. Its flash begins empty. `?with=tune` builds the firmware with that feature.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from edgeq._errors import DeviceError, UnsupportedError, UsageError

from . import firmware
from .records import Found
from .stream import FdStream

_CLOSE_S = 10.0
_UNICORN = ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33")  # cores that unicorn has


def open_stream(url: str) -> FdStream:
    """Build the firmware unless that was done, and start the emulator.

    raises  UsageError for an unknown core or emulator, UnsupportedError when compiler or emulator are missing
    """
    board, asked, features = _parse(url)
    command = _emulator(url, board, asked)
    image = firmware.build(board, features=features)
    ours, its = socket.socketpair()
    words = command(image, its.fileno())
    try:
        with its:
            process = subprocess.Popen(
                words,
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
    except OSError as error:
        ours.close()
        raise DeviceError(f"{words[0]}: cannot be started: {error.strerror}") from error

    def close() -> None:
        ours.close()
        process.kill()
        process.communicate(timeout=_CLOSE_S)

    # lossy: what comes before the firmware has started its serial line may be lost, as on a real board
    return FdStream(url, ours.fileno(), ours.fileno(), close, lambda: _why(process), lossy=True)


def discover() -> list[Found]:
    """The simulators, whether or not their tools are installed."""
    return [_found(board) for board in firmware.boards().values() if board.qemu]


def with_feature(url: str, feature: str) -> str:
    """The same simulator with a feature of the firmware; other addresses, and those that say so, as they are."""
    if urlsplit(url).scheme != "sim" or "with=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}with={feature}"


def _parse(url: str) -> tuple[firmware.Board, str, tuple[str, ...]]:
    """ "sim:cortex-m4?emulator=unicorn" -> its board, the emulator or "", features of the firmware"""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    emulator, features = options.pop("emulator", [""])[-1], tuple(options.pop("with", ()))
    if options or emulator not in ("", "qemu", "unicorn"):
        raise UsageError(f"{url}: expected sim:CORE, with ?emulator=qemu or unicorn and ?with=FEATURE")
    cores = [board.name for board in firmware.boards().values() if board.qemu]
    if parts.path not in cores:
        raise UsageError(f"{url}: no such simulator; there are: {', '.join(f'sim:{core}' for core in cores)}")
    return firmware.find(parts.path), emulator, features


def _emulator(url: str, board: firmware.Board, asked: str) -> Callable[[Path, int], list[str]]:
    """The command line that runs an image with its serial line at a descriptor."""
    qemu = None if asked == "unicorn" else shutil.which(board.qemu[0])
    if qemu:
        return lambda image, line: [
            *(qemu, *board.qemu[1:], "-kernel", str(image), "-display", "none", "-monitor", "none", "-nodefaults"),
            *("-nic", "none", "-chardev", f"socket,id=line,fd={line}", "-serial", "chardev:line", "-icount", "shift=0"),
        ]
    if asked != "qemu" and board.name in _UNICORN and _has_unicorn():
        module, uart, mhz = f"{__package__}._emulator", board.defines["UART"], board.defines["MHZ"]
        return lambda image, line: [sys.executable, "-m", module, str(image), str(line), board.core, uart, mhz]
    ways = [] if asked == "unicorn" else [f"{board.qemu[0]} is not installed: {firmware.how_to_install(board.qemu[0])}"]
    if asked != "qemu" and board.name in _UNICORN:
        ways.append("unicorn is not installed: pip install 'edgeq[sim]'")
    elif asked == "unicorn":
        ways.append(f"unicorn has no such core, only {', '.join(_UNICORN)}")
    raise UnsupportedError(f"{url}: {'; or '.join(ways)}")


def _has_unicorn() -> bool:
    return importlib.util.find_spec("unicorn") is not None


def _found(board: firmware.Board) -> Found:
    compiler, emulator = firmware.core(board.core).compiler, board.qemu[0]
    instead = shutil.which(emulator) is None and board.name in _UNICORN and _has_unicorn()
    missing = [
        name for name in (emulator, compiler) if shutil.which(name) is None and not (name == emulator and instead)
    ]
    packages = " ".join(firmware.package_of(name) for name in missing)
    ready = f"{board.title} in {'unicorn' if instead else 'QEMU'}: instructions, not time"
    return Found(
        f"sim:{board.name}",
        "simulator",
        "no-runtime" if missing else "ready",
        f"apt-get install {packages}" if missing else ready,
    )


def _why(process: subprocess.Popen[bytes]) -> str:
    _, errors = process.communicate(timeout=_CLOSE_S)
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return f" (the emulator ended with {process.returncode}{': ' + lines[-1] if lines else ''})"
