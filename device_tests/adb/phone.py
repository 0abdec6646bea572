"""A phone on loopback for the real `adb` client: the device's side of its protocol, over folders of this machine.

The wire is that of AOSP's documents of adb (protocol, services, sync). Spoken: CNXN AUTH OPEN OKAY WRTE CLSE; services
shell (1 and 2), sync (STAT SEND), tcp. Commands run here, as the user of the tests; what they call /data/local/tmp is a
folder of the test.
"""

import os
import queue
import signal
import socket
import struct
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

VERSION, MOST = 0x01000000, 262144
CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(word, "little") for word in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
TEMPORARY = "/data/local/tmp"


@dataclass
class Phone:
    """folder    what /data/local/tmp is
    programs  a folder in front of PATH: `getprop`, `dumpsys`, `uname` as the phone has them
    codes     shell protocol 2
    allowed   False: the owner has not allowed this computer
    """

    folder: Path
    programs: Path
    codes: bool = True
    allowed: bool = True
    model: str = "EdgeQ_Test"
    full_after: int | None = None  # bytes that sync takes before the disk is full
    links: list = field(default_factory=list)
    running: list = field(default_factory=list)

    def __post_init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def reboot(self):
        """Every connection and every process ends at once."""
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        for link in self.links:
            link.end()
        self.links.clear()

    def close(self):
        self._socket.close()
        self.reboot()

    def near(self, text):
        """With the test's folder in place of the phone's."""
        return text.replace(TEMPORARY, str(self.folder))

    def _accept(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(self, client)
            self.links.append(link)
            threading.Thread(target=link.run, daemon=True).start()


class Ended(Exception):
    """The other side is gone."""


class Link:
    """One connection of an adb server."""

    def __init__(self, phone, client):
        self.phone, self._client = phone, client
        self._sending, self._channels, self._last = threading.Lock(), {}, 0

    def run(self):
        try:
            while True:
                command, first, second, size, _, magic = struct.unpack("<6I", self._take(24))
                if magic != command ^ 0xFFFFFFFF or size > MOST:
                    raise Ended
                self._handle(command, first, second, self._take(size))
        except (Ended, OSError):
            self.end()

    def end(self):
        for channel in list(self._channels.values()):
            channel.end()
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)
        self._client.close()

    def send(self, command, first, second, data=b""):
        head = struct.pack("<6I", command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        try:
            with self._sending:
                self._client.sendall(head + data)
        except OSError as error:
            raise Ended from error

    def _handle(self, command, first, second, data):
        if command in (CNXN, AUTH) and not self.phone.allowed:
            self.send(AUTH, 1, 0, bytes(20))  # a token to be signed; no signature will do
        elif command == CNXN:
            features = "shell_v2,cmd" if self.phone.codes else "cmd"
            banner = f"device::ro.product.name=test;ro.product.model={self.phone.model};ro.product.device=test;"
            self.send(CNXN, VERSION, MOST, f"{banner}features={features}".encode())
        elif command == OPEN:
            self._last += 1
            channel = self._channels[self._last] = Channel(self, self._last, first)
            threading.Thread(target=channel.serve, args=(data.rstrip(b"\0").decode(),), daemon=True).start()
        elif second in self._channels:
            channel = self._channels[second]
            if command == OKAY:
                channel.taken.release()
            elif command == WRTE:
                channel.arrived.put(data)
                self.send(OKAY, second, first)
            elif command == CLSE:
                del self._channels[second]
                channel.end()

    def _take(self, count):
        data = b""
        while len(data) < count:
            piece = self._client.recv(count - len(data))
            if not piece:
                raise Ended
            data += piece
        return data


class Channel:
    """One opened service."""

    def __init__(self, link, ours, theirs):
        self._link, self._ours, self._theirs = link, ours, theirs
        self.arrived, self.taken = queue.Queue(), threading.Semaphore(0)
        self._rest, self._ended = b"", False

    def serve(self, service):
        kind, _, rest = service.partition(":")
        try:
            if kind.split(",")[0] == "shell":
                self._shell(self._link.phone.near(rest), codes="v2" in kind.split(","))
            elif kind == "sync":
                self._sync()
            elif kind == "tcp":
                self._forward(int(rest))
            else:
                self._link.send(CLSE, 0, self._theirs)
                return
            if not self._ended:
                self._link.send(CLSE, self._ours, self._theirs)
        except (Ended, OSError):
            self._ended = True

    def end(self):
        self._ended = True
        self.arrived.put(None)
        self.taken.release()

    def write(self, data):
        for at in range(0, len(data), MOST):
            if self._ended:
                raise Ended
            self._link.send(WRTE, self._ours, self._theirs, data[at : at + MOST])
            self.taken.acquire()

    def read(self, count):
        while len(self._rest) < count:
            piece = self.arrived.get()
            if piece is None:
                raise Ended
            self._rest += piece
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def _opened(self):
        self._link.send(OKAY, self._ours, self._theirs)

    def _shell(self, command, *, codes):
        self._opened()
        phone = self._link.phone
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=phone.folder,
            env={**os.environ, "PATH": f"{phone.programs}:{os.environ['PATH']}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if codes else subprocess.STDOUT,
            start_new_session=True,
        )
        phone.running.append(process)
        threading.Thread(target=self._feed, args=(process, codes), daemon=True).start()
        pumps = [threading.Thread(target=self._pump, args=(process.stdout, STDOUT, codes))]
        if codes:
            pumps.append(threading.Thread(target=self._pump, args=(process.stderr, STDERR, codes)))
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        code = process.wait()
        if codes:
            self.write(struct.pack("<BIB", EXIT, 1, code & 255))

    def _pump(self, pipe, kind, codes):
        with pipe:
            while data := os.read(pipe.fileno(), 65536):
                try:
                    self.write(struct.pack("<BI", kind, len(data)) + data if codes else data)
                except Ended:
                    return

    def _feed(self, process, codes):
        try:
            while True:
                kind, size = struct.unpack("<BI", self.read(5)) if codes else (STDIN, 1)
                data = self.read(size)
                if kind == CLOSE_STDIN:
                    break
                if kind == STDIN:
                    process.stdin.write(data)
                    process.stdin.flush()
        except (Ended, OSError):
            if process.poll() is None and self._ended:
                os.killpg(process.pid, signal.SIGHUP)
        with suppress(OSError):
            process.stdin.close()

    def _forward(self, port):
        with socket.create_connection(("127.0.0.1", port)) as near:
            self._opened()

            def up():
                while (data := self.arrived.get()) is not None:
                    near.sendall(data)
                near.shutdown(socket.SHUT_RDWR)

            threading.Thread(target=up, daemon=True).start()
            while data := near.recv(65536):
                self.write(data)

    def _sync(self):
        self._opened()
        while True:
            kind, size = self.read(4), struct.unpack("<I", self.read(4))[0]
            if kind == b"QUIT":
                return
            path = self._link.phone.near(self.read(size).decode())
            if kind == b"STAT":
                try:
                    info = os.stat(path)
                    self.write(kind + struct.pack("<III", info.st_mode, info.st_size, int(info.st_mtime)))
                except OSError:
                    self.write(kind + bytes(12))
            elif kind == b"SEND":
                self._receive(Path(path.rpartition(",")[0]))
            else:
                self._fail(f"{kind!r} is not spoken here")

    def _receive(self, path):
        data = bytearray()
        while self.read(4) == b"DATA":
            data += self.read(struct.unpack("<I", self.read(4))[0])
        self.read(4)  # DONE carries a time
        phone = self._link.phone
        if phone.full_after is not None:
            phone.full_after -= len(data)
        try:
            if phone.full_after is not None and phone.full_after < 0:
                raise OSError(28, "No space left on device")
            path.write_bytes(data)
        except OSError as error:
            self._fail(error.strerror)
            return
        self.write(b"OKAY" + bytes(4))

    def _fail(self, text):
        self.write(b"FAIL" + struct.pack("<I", len(text)) + text.encode())
