"""A Power Profiler Kit II behind a pseudo-terminal, as far as a measurement needs one."""

import os
import queue
import select
import threading
import tty
from collections.abc import Iterable

_META, _START, _STOP = 0x19, 0x06, 0x07
_LENGTHS = {0x0D: 3, 0x0C: 2, 0x11: 2}  # of commands with arguments
_RANGE, _SHUNT_OHM, _ADC_V = 2, 10.0, 1.8 / 163840
_COUNT_A = 4 * _ADC_V / _SHUNT_OHM  # one step of the converter
METADATA = "".join(
    f"{name}{i}: {value}\n"
    for name, value in (("R", _SHUNT_OHM), ("GS", 0), ("GI", 1), ("O", 0), ("S", 0), ("I", 0), ("UG", 1))
    for i in range(5)
)


def sample(index: int, amperes: float, logic: int) -> bytes:
    """One word of the stream: 14 bits converter, 3 bits range, 6 bits counter, 8 bits logic."""
    word = round(amperes / _COUNT_A) | _RANGE << 14 | (index & 0x3F) << 18 | logic << 24
    return word.to_bytes(4, "little")


def amperes_of(amperes: float) -> float:
    """What the converter makes of a current."""
    return round(amperes / _COUNT_A) * _COUNT_A


class SimulatedPpk2:
    """Sends `first` after the first START if there is one, `stream` after each other. `port` is its terminal; a context
    manager. `finished` gets one item for every stream that was sent whole."""

    def __init__(
        self,
        stream: Iterable[bytes],
        *,
        first: Iterable[bytes] | None = None,
        metadata: str = f"Calibrated: 1\n{METADATA}HW: 1\nEND",
    ):
        self._stream, self._metadata = b"".join(stream), metadata
        self._first = None if first is None else b"".join(first)
        self.finished = queue.SimpleQueue()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self.sent = threading.Event()
        self.commands = bytearray()
        self._wake_in, self._wake_out = os.pipe()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        os.write(self._wake_out, b"x")
        self._thread.join()
        for fd in (self._master, self._slave, self._wake_in, self._wake_out):
            os.close(fd)

    def _serve(self):
        pending = b""
        while True:
            ready, _, _ = select.select([self._master, self._wake_in], [], [])
            if self._wake_in in ready:
                return
            pending += os.read(self._master, 256)
            while pending and len(pending) >= (length := _LENGTHS.get(pending[0], 1)):
                command, pending = pending[:length], pending[length:]
                self.commands += command
                if command[0] == _META:
                    os.write(self._master, self._metadata.encode())
                elif command[0] == _START:
                    self._send()

    def _send(self):
        view, self._first = memoryview(self._stream if self._first is None else self._first), None
        while view:
            _, writable, _ = select.select([self._wake_in], [self._master], [])
            if not writable:
                return
            view = view[os.write(self._master, view[:2048]) :]
        self.sent.set()
        self.finished.put(True)
