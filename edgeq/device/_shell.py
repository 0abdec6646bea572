"""Commands on another machine: what ssh and adb have in common for the modules above them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from edgeq._errors import DeviceError, NoReplyError

from .stream import FdStream


@dataclass(frozen=True)
class Reply:
    """What a command left: exit code, and its output without the last line feed."""

    code: int
    out: str
    err: str


class Shell(Protocol):
    """A POSIX shell on another machine."""

    name: str  # of the device, for messages

    def run(self, command: str, *, timeout_s: float = 60.0) -> Reply:
        """Carry out a command; raises DeviceError when the machine cannot be reached, NoReplyError after the time."""
        ...

    def put(self, files: Mapping[str, Path], folder: str) -> None:
        """Copy files into a folder under these names; raises DeviceError when they cannot be written."""
        ...

    def start(self, command: str, arguments: str) -> FdStream:
        """Start the agent and return the stream to it. command: how it is called; arguments: what follows."""
        ...

    def close(self) -> None: ...


def call(name: str, words: list[str], *, source: IO[bytes] | None = None, timeout_s: float) -> Reply:
    """Run a program of this machine, its input from a file or empty."""
    try:
        done = subprocess.run(words, stdin=source or subprocess.DEVNULL, capture_output=True, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise NoReplyError(f"{name}: {Path(words[0]).name} was not done within {timeout_s:.0f} s") from error
    except OSError as error:
        raise DeviceError(f"{name}: {words[0]} cannot be started: {error.strerror}") from error
    return Reply(done.returncode, _text(done.stdout), _text(done.stderr))


def last_line(text: str) -> str:
    """Of what a program said."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\n")
