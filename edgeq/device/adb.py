"""`adb:SERIAL`: an Android phone behind the platform's `adb`; `adb:` alone is the only one that is connected.

Our files lie in /data/local/tmp/edgeq there. `?threads=2`, `?cores=4-7` (else the fastest ones) and `?isa=neon` go to
the agent. With shell protocol 2 the agent speaks through the shell; older phones lose exit codes and binary input, so
there exit codes come as text and the agent through a forwarded port.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs

from edgeq._errors import DeviceError, NoReplyError, UnsupportedError, UsageError

from . import _board
from ._pipe import end, open_pipe
from ._shell import Reply, call, last_line
from .program import AgentProgram
from .records import Found
from .runtime import Progress
from .stream import FdStream

_ROOT = "/data/local/tmp/edgeq"
_LIST_S, _PUT_S = 30.0, 1800.0
_START_S = 60.0
_CLOSE_S = 5.0
_CODE = "edgeq-exit-code="
_GONE = " (unplugged, restarted, or its agent was stopped)"
_TROUBLE = {
    "unauthorized": "unlock the phone and allow this computer on its screen",
    "offline": "it does not answer: plug it in again, or adb reconnect",
    "no permissions": "not yours to open: apt-get install android-sdk-platform-tools-common, then plug it in again",
    "recovery": "it is in recovery: adb reboot",
    "sideload": "it is in sideload: adb reboot",
    "bootloader": "it is in its boot loader: fastboot reboot",
    "authorizing": "unlock the phone and allow this computer on its screen",
}
_USB_INTERFACES = Path("/sys/bus/usb/devices")
_ADB_INTERFACE = ("ff", "42", "01")  # class, subclass, protocol


def open_stream(url: str, progress: Progress = lambda stage: None, target: str = "") -> FdStream:
    """Put the agent on the phone unless it is there, start it.

    raises  UnsupportedError without adb or a runtime for it, UsageError when several phones could be meant, DeviceError
            when it is not allowed, gone, full
    """
    serial, options = _parse(url)
    phone = _chosen(serial, _phones())
    stream, _ = _board.start(Adb(phone), options, _ROOT, progress, target)
    return stream


def open_program(url: str, progress: Progress = lambda stage: None) -> AgentProgram:
    """Put the agent on the phone unless it is there; raises as `open_stream`."""
    serial, options = _parse(url)
    return _board.program(Adb(_chosen(serial, _phones())), options, _ROOT, progress)


def discover() -> list[Found]:
    """The phones that adb sees. Its server is started only when something is plugged in that speaks its protocol."""
    if shutil.which("adb") is None or not (_server_runs() or _is_plugged()):
        return []
    try:
        return [_found(serial, state, detail) for serial, (state, detail) in _phones().items()]
    except (DeviceError, UnsupportedError) as error:
        return [Found("adb:", "phone", "offline", str(error))]


def examine(url: str) -> _board.Facts:
    """What is at the other end; nothing is put there."""
    serial, _ = _parse(url)
    return _board.examine(Adb(_chosen(serial, _phones())))


def clean(url: str) -> str:
    """Remove everything of ours from the phone; the folder."""
    serial, _ = _parse(url)
    return _board.clean(Adb(_chosen(serial, _phones())), _ROOT)


class Adb:
    """The shell of one phone."""

    def __init__(self, serial: str) -> None:
        self.name = f"adb:{serial}"
        self._words = [_program(), "-s", serial]
        features = call(self.name, [*self._words, "features"], timeout_s=_LIST_S)
        if features.code:
            raise self._failure(features)
        self._has_codes = "shell_v2" in features.out.split()

    def run(self, command: str, *, timeout_s: float = 60.0) -> Reply:
        if self._has_codes:
            reply = call(self.name, [*self._words, "shell", "-T", f"sh -c {shlex.quote(command)}"], timeout_s=timeout_s)
            if reply.code and _is_ours(reply.err):
                raise self._failure(reply)
            return reply
        told = f"sh -c {shlex.quote(command)}; echo; echo {_CODE}$?"
        reply = call(self.name, [*self._words, "shell", told], timeout_s=timeout_s)
        out, found, code = reply.out.rpartition(f"\n{_CODE}")
        if not found or not code.strip().isdecimal():
            raise self._failure(reply)
        return Reply(int(code), out.removesuffix("\n"), out)

    def put(self, files: Mapping[str, Path], folder: str) -> None:
        with tempfile.TemporaryDirectory(prefix="edgeq-") as stage:
            for name, path in files.items():
                shutil.copy(path, Path(stage) / name)
            words = [*self._words, "push", *(str(Path(stage) / name) for name in sorted(files)), f"{folder}/"]
            reply = call(self.name, words, timeout_s=_PUT_S)
        if reply.code:
            said = reply.err.splitlines() or reply.out.splitlines()
            why = next((line for line in said if "remote" in line or "No space" in line), last_line("\n".join(said)))
            raise DeviceError(f"{self.name}: cannot write to {folder}: {_plain(why)}")

    def start(self, command: str, arguments: str) -> FdStream:
        return self._piped(command, arguments) if self._has_codes else self._forwarded(command, arguments)

    def close(self) -> None:
        """Nothing is kept open."""

    def _piped(self, command: str, arguments: str) -> FdStream:
        return open_pipe(
            self.name,
            [*self._words, "shell", "-e", "none", "-T", f"exec {command} {arguments}"],
            lambda code, said: "" if code is None else f" ({_plain(said)})" if said else _GONE,
            condition=lambda: _board.condition(self),
        )

    def _forwarded(self, command: str, arguments: str) -> FdStream:
        listen = f"exec {command} {arguments} --listen 127.0.0.1:0 --once {_START_S:.0f}"
        agent = subprocess.Popen([*self._words, "shell", listen], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert agent.stdout is not None
        pipe, told = agent.stdout, b""
        deadline = time.monotonic() + _START_S
        try:
            while not (port := re.search(rb"listening tcp://127\.0\.0\.1:(\d+)\s", told)):
                if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    raise NoReplyError(f"{self.name}: the agent did not start within {_START_S:.0f} s")
                if not (data := os.read(pipe.fileno(), 4096)):
                    said = last_line(told.decode("utf-8", "replace"))
                    raise DeviceError(f"{self.name}: the agent does not start: {said or 'it says nothing'}")
                told += data
            forward = call(self.name, [*self._words, "forward", "tcp:0", f"tcp:{port[1].decode()}"], timeout_s=_LIST_S)
            if forward.code or not forward.out.strip().isdecimal():
                raise self._failure(forward)
            near = forward.out.strip()
            connection = socket.create_connection(("127.0.0.1", int(near)), _LIST_S)
        except BaseException:
            end(agent, 0.0)
            pipe.close()
            raise
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def close() -> None:
            connection.close()
            call(self.name, [*self._words, "forward", "--remove", f"tcp:{near}"], timeout_s=_LIST_S)
            end(agent, _CLOSE_S)
            pipe.close()

        return FdStream(
            self.name,
            connection.fileno(),
            connection.fileno(),
            close,
            lambda: _GONE,
            condition=lambda: _board.condition(self),
        )

    def _failure(self, reply: Reply) -> DeviceError:
        return DeviceError(f"{self.name}: {_plain(last_line(reply.err) or last_line(reply.out) or 'adb says nothing')}")


def _program() -> str:
    if (program := shutil.which("adb")) is None:
        raise UnsupportedError("adb is not installed: apt-get install adb")
    return program


def _phones() -> dict[str, tuple[str, str]]:
    """Serial to state and description, as `adb devices -l` lists them."""
    reply = call("adb", [_program(), "devices", "-l"], timeout_s=_LIST_S)
    if reply.code:
        raise DeviceError(f"adb: {_plain(last_line(reply.err) or last_line(reply.out))}")
    phones = {}
    for line in reply.out.partition("List of devices attached")[2].splitlines():
        if found := re.match(r"(\S+)\s+(no permissions|\S+)\s*(.*)", line):
            phones[found[1]] = (found[2], found[3])
    return phones


def _chosen(serial: str, phones: dict[str, tuple[str, str]]) -> str:
    if not serial and len(phones) > 1:
        raise UsageError(
            f"several phones are connected: {', '.join(f'adb:{name}' for name in phones)}; name one with -d"
        )
    if not serial and not phones:
        raise DeviceError("adb: no phone is connected (is USB debugging on? try: adb devices)")
    serial = serial or next(iter(phones))
    if serial not in phones:
        there = ", ".join(f"adb:{name}" for name in phones) or "none"
        raise DeviceError(f"adb:{serial}: not connected; there are: {there}")
    state = phones[serial][0]
    if state != "device":
        raise DeviceError(f"adb:{serial}: {state}: {_TROUBLE.get(state, 'adb cannot use it')}")
    return serial


def _found(serial: str, state: str, detail: str) -> Found:
    model = re.search(r"model:(\S+)", detail)
    name = model[1].replace("_", " ") if model else "Android"
    if state == "device":
        return Found(f"adb:{serial}", "phone", "ready", name)
    trouble = _TROUBLE.get(state, state)
    return Found(f"adb:{serial}", "phone", "unauthorized" if "allow" in trouble else "offline", trouble)


def _parse(url: str) -> tuple[str, _board.Options]:
    """ "adb:SERIAL?threads=2" -> serial or "", options."""
    address, _, query = url.partition("?")
    serial = address.partition(":")[2].removeprefix("//")
    try:
        options = _board.Options.of(url, parse_qs(query, strict_parsing=bool(query)))
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error
    if not re.fullmatch(r"[A-Za-z0-9._:\[\]-]*", serial) or serial.startswith("-"):
        raise UsageError(f"{url}: expected adb:SERIAL as `adb devices` lists it, or adb: for the only one")
    return serial, options


def _server_runs() -> bool:
    port = os.environ.get("ANDROID_ADB_SERVER_PORT", "5037")
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return port.isdecimal() and probe.connect_ex(("127.0.0.1", int(port))) == 0


def _is_plugged() -> bool:
    """Is a USB device there that speaks adb? Where the kernel does not tell, perhaps."""
    if not _USB_INTERFACES.is_dir():
        return os.name != "posix" or not Path("/proc").is_dir()
    names = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
    for interface in _USB_INTERFACES.iterdir():
        try:
            if tuple((interface / name).read_text().strip() for name in names) == _ADB_INTERFACE:
                return True
        except OSError:
            continue
    return False


def _is_ours(said: str) -> bool:
    """Did adb itself fail, not the command on the phone?"""
    return bool(re.match(r"(adb: |error: )", last_line(said)))


def _plain(said: str) -> str:
    return re.sub(r"^(adb: )?(error: )?", "", said.strip())
