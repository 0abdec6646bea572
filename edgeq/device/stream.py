"""Byte streams with deadlines over file descriptors: pipes and sockets."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Protocol

from edgeq._errors import DeviceError, NoReplyError

from .records import Condition

_CHUNK = 1 << 16


class Stream(Protocol):
    """What a transport opens: an ordered stream of bytes to an agent."""

    name: str  # for messages
    lossy: bool  # bytes may be lost or altered on the way (a serial line): requests are repeated after a silence

    def read(self, timeout_s: float) -> bytes:
        """At least one byte; raises NoReplyError after the timeout, DeviceError when the other side is gone."""
        ...

    def write(self, data: bytes, timeout_s: float) -> None:
        """All of it; raises like read."""
        ...

    def close(self) -> None: ...

    def condition(self) -> Condition | None:
        """Temperature and clock of the machine at the other end, None where the transport has no way to ask."""
        ...


class FdStream:
    """A stream over one or two descriptors, which it does not own.

    lossy      bytes may be lost on the way
    close_fds  called once by close()
    why        called when the other side is gone: what is known about the reason
    condition  how the machine is asked for its temperature
    """

    def __init__(
        self,
        name: str,
        in_fd: int,
        out_fd: int,
        close_fds: Callable[[], None],
        why: Callable[[], str] = lambda: "",
        *,
        lossy: bool = False,
        condition: Callable[[], Condition | None] = lambda: None,
    ) -> None:
        self.name = name
        self.lossy = lossy
        self._in, self._out = in_fd, out_fd
        self._close, self._why, self._condition = close_fds, why, condition
        self._closed = False
        os.set_blocking(out_fd, False)

    def read(self, timeout_s: float) -> bytes:
        self._wait(self._in, select.POLLIN, timeout_s, "sent nothing")
        try:
            data = os.read(self._in, _CHUNK)
        except OSError as error:
            raise self._gone() from error
        if not data:
            raise self._gone()
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        rest = memoryview(data)
        while rest:
            self._wait(self._out, select.POLLOUT, deadline - time.monotonic(), "took no data")
            try:
                rest = rest[os.write(self._out, rest[:_CHUNK]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._gone() from error

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._close()

    def condition(self) -> Condition | None:
        return self._condition()

    def _wait(self, fd: int, event: int, timeout_s: float, silence: str) -> None:
        if self._closed:
            raise DeviceError(f"{self.name}: the connection was closed")
        poll = select.poll()
        poll.register(fd, event)
        if not poll.poll(max(0.0, timeout_s) * 1000):
            raise NoReplyError(f"{self.name}: the device {silence} for {timeout_s:.1f} s")

    def _gone(self) -> DeviceError:
        return DeviceError(f"{self.name}: the connection ended{self._why()}")
