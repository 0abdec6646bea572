"""A connected device: programs on it, and nets loaded from them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from edgeq._errors import DeviceError, IntegrityError, UsageError

from .agent import Agent, Refusal
from .frames import Fields, Value
from .net import Net, read_all
from .records import Condition, Entry, Info, Loaded
from .stream import Stream

_QUICK_S = 30.0
_SLOW_S = 600.0  # hashing a large file on a slow card, compiling a delegate, a trial run
_LOSSY_CHUNK = 1024  # bytes: what is sent again when one of them is damaged
Progress = Callable[[str, int, int], None]


def _silent(stage: str, done: int, total: int) -> None:
    pass


class Device:
    """The agent at the other end of a stream; a context manager that closes the connection.

    timeout_s  for its first answer
    """

    def __init__(self, stream: Stream, *, timeout_s: float | None = None) -> None:
        try:
            self._agent = Agent(stream, timeout_s=timeout_s)
        except BaseException:
            stream.close()
            raise

    @property
    def info(self) -> Info:
        return self._agent.info

    def condition(self) -> Condition | None:
        """Temperature, clock and battery of the machine now; None where the transport cannot ask for them."""
        return self._agent.condition()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._agent.close()

    def deploy(self, path: Path | str, *, name: str | None = None, progress: Progress = _silent) -> Net:
        """Put a program on the device, verify it there and load its method `forward`."""
        return self.load(self.put(path, name=name, progress=progress).name)

    def put(self, path: Path | str, *, name: str | None = None, progress: Progress = _silent) -> Entry:
        """Send a file under a name (its own unless given); what the device already holds of it is not sent again.

        raises  IntegrityError when the device cannot store it unaltered, RefusedError when it will not store it
        """
        path = Path(path)
        name = name or _stored_name(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            size = file.tell()
            for _ in range(2):  # a second time when an earlier, interrupted transfer left damaged bytes
                begun = offset = self._ask("PUT_BEGIN", name=name, sha256=digest, size=size)["offset"]
                while offset < size:
                    progress(f"sending {path.name}", offset, size)
                    file.seek(offset)
                    room = self._agent.room("PUT_DATA", offset=offset)
                    data = file.read(min(room, _LOSSY_CHUNK) if self._agent.lossy else room)
                    if not data:
                        raise DeviceError(f"{path}: became shorter while it was sent")
                    offset = self._ask("PUT_DATA", offset=offset, data=data)["offset"]
                if begun < size:
                    progress(f"sending {path.name}", size, size)
                try:
                    stored = self._ask("PUT_COMMIT", timeout_s=_SLOW_S)["sha256"]
                except Refusal as refusal:
                    if refusal.code != "BAD_HASH":
                        raise
                    continue
                if stored == digest:
                    return Entry(name, digest.hex(), size)
        raise IntegrityError(f"{self._agent.name}: {path.name} arrives altered: SHA-256 is not {digest.hex()}")

    def load(self, name: str, method: str = "forward") -> Net:
        """Load a method of a stored program."""
        return Net(self._agent, Loaded.of(self._ask("LOAD", timeout_s=_SLOW_S, name=name, method=method)))

    def list(self) -> list[Entry]:
        """What is stored."""
        entries: list[Entry] = []
        while True:
            answer = self._ask("LIST", start=len(entries))
            entries += [Entry(item["name"], item["sha256"].hex(), item["size"]) for item in answer["entries"]]
            if len(entries) >= answer["total"] or not answer["entries"]:
                return entries

    def get(self, name: str) -> bytes:
        """A stored program, byte for byte."""
        return read_all(self._agent, self._agent.constant("GET_OBJECT"), name)

    def erase(self, name: str) -> None:
        """Forget a stored program; nets loaded from it go on."""
        self._ask("ERASE", name=name)

    def reset(self) -> None:
        """Unload every net; an open transfer can still be resumed."""
        self._ask("RESET")

    def _ask(self, request: str, *, timeout_s: float = _QUICK_S, **fields: Value) -> Fields:
        return self._agent.request(request, timeout_s=timeout_s, **fields)


class SentOnce(Device):
    """The same connection for who loads the same files again and again: a file is sent and checked the first time only,
    and after another one took its name.

    It must not change meanwhile. Closing is left to the device itself.
    """

    def __init__(self, device: Device) -> None:
        self._agent = device._agent
        self._held: dict[str, tuple[Path, Entry]] = {}

    def put(self, path: Path | str, *, name: str | None = None, progress: Progress = _silent) -> Entry:
        path = Path(path)
        name = name or _stored_name(path)
        if name not in self._held or self._held[name][0] != path:
            self._held[name] = (path, super().put(path, name=name, progress=progress))
        return self._held[name][1]


def _stored_name(path: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", path.name).lstrip(".")[:64]
    if not name:
        raise UsageError(f"{path}: no character of the file's name can be used on a device; give a name")
    return name
