"""The firmware as a process behind a pseudo-terminal, and a line between them that misbehaves."""

import os
import random
import select
import subprocess
import threading

from edgeq.device import firmware

_CHUNK = 256
_FLAGS = ("-std=gnu11", "-O0", "-DEQ_MICRO", "-ffp-contract=off", "-Wall", "-Wextra")
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def build(folder, board_source):
    """The firmware for this machine, under ASan and UBSan."""
    board = firmware.find("cortex-m4")
    sources = [
        source
        for source in firmware.sources(board)
        if source.name != "memory.c" and source.parent.name not in ("cortex_m", board.family)
    ]
    program = folder / "firmware"
    runtime = board_source.parents[2] / "runtime"
    includes = [f"-I{runtime}", f"-I{runtime / 'include'}"]
    command = ["gcc", *_FLAGS, *_SANITIZERS, *includes, *sources, board_source, "-o", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


class Line:
    """A pseudo-terminal (`url`) joined to a firmware process; a context manager.

    every  one of so many blocks is damaged (0: none): a byte lost, twice, or with a wrong bit
    """

    def __init__(self, program, flash, *, every=0, seed=0, slow_ms=0, unplug_after=None):
        self._master, self._slave = os.openpty()
        self.url = f"serial://{os.ttyname(self._slave)}"
        self._rng, self._every = random.Random(seed), every
        self._unplug_after = unplug_after  # bytes towards the device
        self.damaged = self.written = 0
        environment = {**os.environ, "FLASH": str(flash), "SLOW_MS": str(slow_ms)}
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
        )
        self._stop_in, self._stop_out = os.pipe()
        self._thread = threading.Thread(target=self._pump)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.write(self._stop_out, b"x")
        self._thread.join()
        self._process.stdin.close()
        assert self._process.wait(30) == 0
        self._process.stdout.close()
        for fd in (self._stop_in, self._stop_out, self._master, self._slave):
            if fd >= 0:
                os.close(fd)

    def _pump(self):
        device_in, device_out = self._process.stdin.fileno(), self._process.stdout.fileno()
        while True:
            ready, _, _ = select.select([self._master, device_out, self._stop_in], [], [])
            if self._stop_in in ready:
                return
            for source, target in ((self._master, device_in), (device_out, self._master)):
                if source not in ready:
                    continue
                data = os.read(source, _CHUNK)
                if target == device_in:
                    self.written += len(data)
                    if self._unplug_after is not None and self.written > self._unplug_after:
                        os.close(self._master)
                        os.close(self._slave)
                        self._master = self._slave = -1
                        return
                self._send(target, self._damage(data))

    def _send(self, target, data):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]

    def _damage(self, data):
        if not self._every or self._rng.randrange(self._every):
            return data
        self.damaged += 1
        at = self._rng.randrange(len(data))
        byte = data[at : at + 1]
        instead = self._rng.choice((b"", byte * 2, bytes((byte[0] ^ 1 << self._rng.randrange(8),))))
        return data[:at] + instead + data[at + 1 :]
