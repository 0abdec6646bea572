"""A client that vanished in the middle of a transfer does not keep the file from the next one."""

import hashlib
import subprocess
import time
from contextlib import contextmanager

from edgeq.device import Device
from edgeq.device.agent import Refusal
from edgeq.device.stream import FdStream

DEADLINE_S = 60.0
CONTENT = bytes(100_000)


@contextmanager
def agent(path, store):
    words = [path, "--store", store, "--patience", "1"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    with process, Device(FdStream("local", process.stdout.fileno(), process.stdin.fileno(), process.stdin.close)) as it:
        yield it


def test_the_next_client_gets_the_file(agent_path, tmp_path):
    file = tmp_path / "file.bin"
    file.write_bytes(CONTENT)
    with agent(agent_path, tmp_path / "store") as silent, agent(agent_path, tmp_path / "store") as next_one:
        digest = hashlib.sha256(CONTENT).digest()
        silent._ask("PUT_BEGIN", name="file.bin", sha256=digest, size=len(CONTENT))
        silent._ask("PUT_DATA", offset=0, data=CONTENT[:1000])
        deadline, refused = time.monotonic() + DEADLINE_S, 0
        while True:
            try:
                offset = next_one._ask("PUT_BEGIN", name="file.bin", sha256=digest, size=len(CONTENT))["offset"]
                break
            except Refusal as refusal:
                assert refusal.code == "BUSY" and time.monotonic() < deadline
                refused += 1
                time.sleep(0.1)
        assert refused > 0 and offset == 1000
        assert next_one.put(file).sha256 == digest.hex()
        assert [entry.name for entry in silent.list()] == ["file.bin"]  # it still answers
