"""An agent on a pipe, spoken to by hand: for what a well-behaved client never sends."""

import hashlib
import os
import select
import struct
import subprocess
import time

from edgeq.device import frames

PROTOCOL = frames.protocol()
ERROR = PROTOCOL.constants["ERROR"]
ANSWER = PROTOCOL.constants["ANSWER"]
DEADLINE_S = 60.0


def frame(request, seq=1, **fields):
    """A sound request."""
    kind = PROTOCOL.kinds[request]
    return frames.seal(kind.number, seq, PROTOCOL.pack(kind.request, fields))


def put_frames(name, content, chunk, seq=1):
    """All requests of a transfer."""
    digest = hashlib.sha256(content).digest()
    yield frame("PUT_BEGIN", seq, name=name, sha256=digest, size=len(content))
    for at in range(0, len(content), chunk):
        seq += 1
        yield frame("PUT_DATA", seq, offset=at, data=content[at : at + chunk])
    yield frame("PUT_COMMIT", seq + 1)


class RawAgent:
    """edgeq-agent on two pipes, or other firmware; a context manager that ends it."""

    def __init__(self, path, store, *options, environment=None):
        command = [path, "--store", store, *options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment
        )
        self.parser = frames.Parser(1 << 21)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def send(self, data):
        view = memoryview(data)
        while view:
            view = view[os.write(self.process.stdin.fileno(), view) :]

    def receive(self):
        """The next frame."""
        deadline = time.monotonic() + DEADLINE_S
        while (found := self.parser.next()) is None:
            ready, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            assert ready, "the agent does not answer"
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, f"the agent ended with {self.process.wait()}"
            self.parser.feed(data)
        assert found.sound
        return found

    def ask(self, request, seq=1, **fields):
        """The fields of the answer, or the name of the error code."""
        self.send(frame(request, seq, **fields))
        return self.answer_to(request, seq)

    def answer_to(self, request, seq=1):
        found = self.receive()
        if found.number == ERROR:
            return PROTOCOL.code_name(struct.unpack_from("<H", found.payload)[0])
        kind = PROTOCOL.kinds[request]
        assert (found.number, found.seq) == (kind.number | ANSWER, seq)
        return PROTOCOL.unpack(kind.answer, found.payload)

    def read(self, name):
        """A stored file, None when there is none."""
        answer = self.ask("GET", source=PROTOCOL.constants["GET_OBJECT"], name=name, offset=0, length=1 << 20)
        return None if answer == "NOT_FOUND" else answer["data"]

    def entries(self):
        return {entry["name"]: entry["sha256"] for entry in self.ask("LIST", start=0)["entries"]}
