"""`ssh://user@host:port/folder` or `ssh:NAME`: a Linux board behind the system's OpenSSH client and its config.

The folder is where our files lie there, `~/.cache/edgeq` unless given. `?threads=2`, `?cores=4-7` and `?isa=neon` go to
the agent, `?runner=qemu-aarch64&arch=aarch64` starts it through an emulator. One connection carries everything; nothing
but a POSIX shell with tar and sha256sum is needed on the board. EDGEQ_SSH replaces the command `ssh`.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from edgeq._errors import DeviceError, NoReplyError, UnsupportedError, UsageError

from . import _board
from ._pipe import end, open_pipe
from ._shell import Reply, call, last_line
from .program import AgentProgram
from .records import Found
from .runtime import Progress
from .stream import FdStream

_CONNECT_S = 30.0
_PUT_S = 1800.0
_CLOSE_S = 5.0
_READY = "edgeq-is-here"
_OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "LogLevel=ERROR")
_ALIVE = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-o", "ControlPersist=no")
_HINTS = (
    ("Permission denied", "put your key there: ssh-copy-id {host}"),
    ("Host key verification failed", "connect once by hand and compare the key: {by_hand}"),
    ("Could not resolve", "is the name right, and the board on the network?"),
    ("Connection refused", "is an SSH server running there?"),
    ("timed out", "is the board switched on, and on this network?"),
    ("No route to host", "is the board switched on, and on this network?"),
)


def open_stream(url: str, progress: Progress = lambda stage: None, target: str = "") -> FdStream:
    """Connect, put the agent there unless it is there, start it.

    raises  DeviceError when the board cannot be reached or written to, UnsupportedError when there is no runtime for it
    """
    words, root, options = _parse(url)
    shell = Ssh(url, words)
    try:
        stream, _ = _board.start(shell, options, root, progress, target)
    except BaseException:
        shell.close()
        raise
    return stream


def open_program(url: str, progress: Progress = lambda stage: None) -> AgentProgram:
    """Connect, put the agent there unless it is there; raises as `open_stream`."""
    words, root, options = _parse(url)
    shell = Ssh(url, words)
    try:
        return _board.program(shell, options, root, progress)
    except BaseException:
        shell.close()
        raise


def discover() -> list[Found]:
    """The hosts that the user's SSH configuration names; nothing is connected to."""
    try:
        text = Path("~/.ssh/config").expanduser().read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    names = [name for line in re.findall(r"(?im)^\s*host\s+(.+)$", text) for name in line.split()]
    plain = [name for name in dict.fromkeys(names) if not set(name) & set("*?!")]
    return [Found(f"ssh:{name}", "ssh", "unknown", "a host of ~/.ssh/config; ask it: --probe") for name in plain]


def examine(url: str) -> _board.Facts:
    """What is at the other end; nothing is put there."""
    words, _, _ = _parse(url)
    shell = Ssh(url, words)
    try:
        return _board.examine(shell)
    finally:
        shell.close()


def clean(url: str) -> str:
    """Remove everything of ours from the board; the folder."""
    words, root, _ = _parse(url)
    shell = Ssh(url, words)
    try:
        return _board.clean(shell, root)
    finally:
        shell.close()


class Ssh:
    """A connection that stays open: its first session holds it, the commands and the agent share it."""

    def __init__(self, url: str, words: list[str]) -> None:
        self.name = url
        self._host = words[-1]
        self._folder = tempfile.TemporaryDirectory(prefix="edgeq-")
        program = shlex.split(os.environ.get("EDGEQ_SSH", "ssh"))
        shared = ["-o", f"ControlPath={self._folder.name}/c"]
        self._by_hand = shlex.join([*program, *words])
        self._words = [*program, *_OPTIONS, *shared, "-o", "ControlMaster=no", *words]
        hold = [*program, *_OPTIONS, *_ALIVE, *shared, "-o", "ControlMaster=yes", *words]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the connection)
        try:
            self._holder = subprocess.Popen(
                [*hold, f"echo {_READY}; exec cat >/dev/null"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
            )
        except OSError as error:
            self._errors.close()
            self._folder.cleanup()
            raise UnsupportedError(f"{program[0]} is not installed: apt-get install openssh-client") from error
        try:
            self._await_ready()
        except BaseException:
            self.close()
            raise

    def run(self, command: str, *, timeout_s: float = 60.0) -> Reply:
        return self._checked(call(self.name, [*self._words, _wrapped(command)], timeout_s=timeout_s))

    def put(self, files: Mapping[str, Path], folder: str) -> None:
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w", dereference=True) as tar:
                for name, path in sorted(files.items()):
                    tar.add(path, name, filter=_anonymous)
            archive.seek(0)
            unpack = _wrapped(f"cd {shlex.quote(folder)} && exec tar -xf -")
            reply = self._checked(call(self.name, [*self._words, unpack], source=archive, timeout_s=_PUT_S))
        if reply.code:
            raise DeviceError(f"{self.name}: cannot write to {folder}: {_reason(reply.err)}")

    def start(self, command: str, arguments: str) -> FdStream:
        return open_pipe(
            self.name,
            [*self._words, _wrapped(f"exec {command} {arguments}")],
            lambda code, said: "" if code is None else f" ({said or 'the board went away, or its agent was stopped'})",
            closed=self.close,
            condition=lambda: _board.condition(self),
        )

    def close(self) -> None:
        if self._holder.stdin is not None:
            self._holder.stdin.close()
        end(self._holder, _CLOSE_S)
        if self._holder.stdout is not None:
            self._holder.stdout.close()
        self._errors.close()
        self._folder.cleanup()

    def _await_ready(self) -> None:
        """Until the session's first line; what the login prints before it is skipped."""
        assert self._holder.stdout is not None
        deadline, told = time.monotonic() + _CONNECT_S, b""
        while _READY.encode() not in told:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._holder.stdout], [], [], left)[0]:
                raise NoReplyError(f"{self.name}: no connection within {_CONNECT_S:.0f} s")
            data = os.read(self._holder.stdout.fileno(), 4096)
            if not data:
                self._holder.wait(_CLOSE_S)
                raise self._failure()
            told = (told + data)[-65536:]

    def _checked(self, reply: Reply) -> Reply:
        if reply.code == 255:  # ssh's own
            raise self._failure(reply.err)
        return reply

    def _failure(self, said: str = "") -> DeviceError:
        self._errors.seek(0)
        said = last_line(said) or last_line(self._errors.read().decode("utf-8", "replace")) or "the connection ended"
        hint = next((hint.format(host=self._host, by_hand=self._by_hand) for sign, hint in _HINTS if sign in said), "")
        return DeviceError(f"{self.name}: {said}{f' ({hint})' if hint else ''}")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def _reason(said: str) -> str:
    """tar's last line says only that it failed."""
    lines = said.strip().splitlines()
    return next(
        (line for line in lines if "No space" in line or "Read-only" in line or "denied" in line), last_line(said)
    )


def _wrapped(command: str) -> str:
    """For a login shell that may be fish or csh."""
    return f"exec sh -c {shlex.quote(command)}"


def _parse(url: str) -> tuple[list[str], str, _board.Options]:
    """URL -> words for ssh (the host last), folder on the board or "", options."""
    parts = urlsplit(url)
    try:
        port = parts.port
        options = _board.Options.of(url, parse_qs(parts.query, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error
    host, root = (parts.hostname or "", parts.path.rstrip("/")) if parts.netloc else (parts.path, "")
    user = unquote(parts.username) if parts.username else ""
    if not re.fullmatch(r"[A-Za-z0-9_.:%-]+", host) or host.startswith("-") or user.startswith("-"):
        raise UsageError(f"{url}: expected ssh://user@host:port/folder, or ssh:NAME for a host of ~/.ssh/config")
    words = [*(("-p", str(port)) if port else ()), *(("-l", user) if user else ()), host]
    return words, unquote(root), options
