"""`sim:cortex-m4`: a microcontroller in QEMU that runs the real firmware, for as long as the connection.

It counts instructions, not time. Its flash begins empty.
"""

from __future__ import annotations

import shutil
import socket
import subprocess

from edgeq._errors import DeviceError, UsageError

from . import firmware
from .records import Found
from .stream import FdStream

_CLOSE_S = 10.0


def open_stream(url: str) -> FdStream:
    """Build the firmware unless that was done, and start the emulator.

    raises  UsageError for an unknown core, UnsupportedError when compiler or emulator are missing
    """
    board = _board(url)
    emulator = firmware.tool(board.qemu[0])
    image = firmware.build(board)
    ours, its = socket.socketpair()
    options = ["-kernel", str(image), "-display", "none", "-monitor", "none", "-nodefaults", "-nic", "none"]
    serial = ["-chardev", f"socket,id=line,fd={its.fileno()}", "-serial", "chardev:line", "-icount", "shift=0"]
    command = [emulator, *board.qemu[1:], *options, *serial]
    try:
        with its:
            process = subprocess.Popen(
                command,
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
    except OSError as error:
        ours.close()
        raise DeviceError(f"{emulator}: cannot be started: {error.strerror}") from error

    def close() -> None:
        ours.close()
        process.kill()
        process.communicate(timeout=_CLOSE_S)

    # lossy: what comes before the firmware has started its serial line may be lost, as on a real board
    return FdStream(url, ours.fileno(), ours.fileno(), close, lambda: _why(process), lossy=True)


def discover() -> list[Found]:
    """The simulators, whether or not their tools are installed."""
    return [_found(board) for board in firmware.boards().values() if board.qemu]


def _board(url: str) -> firmware.Board:
    cores = [board.name for board in firmware.boards().values() if board.qemu]
    name = url.partition(":")[2]
    if name not in cores:
        raise UsageError(f"{url}: no such simulator; there are: {', '.join(f'sim:{core}' for core in cores)}")
    return firmware.find(name)


def _found(board: firmware.Board) -> Found:
    tools = (board.qemu[0], firmware.core(board.core).compiler)
    missing = [name for name in tools if shutil.which(name) is None]
    packages = " ".join(firmware.package_of(name) for name in missing)
    detail = f"apt-get install {packages}" if missing else f"{board.title} in QEMU: instructions, not time"
    return Found(f"sim:{board.name}", "simulator", "no-runtime" if missing else "ready", detail)


def _why(process: subprocess.Popen[bytes]) -> str:
    _, errors = process.communicate(timeout=_CLOSE_S)
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return f" (the emulator ended with {process.returncode}{': ' + lines[-1] if lines else ''})"
