"""kill -9 at any moment of a transfer leaves the old file or the new one."""

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from wire import ERROR, RawAgent, put_frames

from edgeq._errors import DeviceError
from edgeq.device import connect

OLD = random.Random(1).randbytes(300_000)
NEW = random.Random(2).randbytes(400_000)
CHUNK = 1 << 16

FLOOD = """
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
data = open(sys.argv[2], "rb").read()
print("go", flush=True)
s.sendall(data[: int(sys.argv[3])])
sys.stdin.read()
"""


def put(agent, content):
    for data in put_frames("model", content, CHUNK):
        agent.send(data)
        assert agent.receive().number != ERROR


def spin(seconds):
    """Busy waiting: sleep() is too coarse to land inside a commit."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.fixture
def store(agent_path, tmp_path):
    store = tmp_path / "store"
    with RawAgent(agent_path, store) as agent:
        put(agent, OLD)
    return store


def check(agent_path, store):
    """Which one is there; then finish the transfer."""
    with RawAgent(agent_path, store) as agent:
        found = agent.read("model")
        assert found in (OLD, NEW), "neither the old file nor the new one"
        assert agent.entries() == {"model": hashlib.sha256(found).digest()}
        put_rest(agent)
        assert agent.read("model") == NEW
        put(agent, OLD)
    assert len(list((store / "objects").iterdir())) == 1
    return found == NEW


def put_rest(agent):
    offset = agent.ask("PUT_BEGIN", name="model", sha256=hashlib.sha256(NEW).digest(), size=len(NEW))["offset"]
    if offset < len(NEW):
        agent.ask("PUT_DATA", offset=offset, data=NEW[offset:])
    assert agent.ask("PUT_COMMIT") == {"sha256": hashlib.sha256(NEW).digest()}


@pytest.mark.parametrize("seed", range(6))
def test_killed_agent(agent_path, store, seed):
    rng = random.Random(seed)
    requests = list(put_frames("model", NEW, CHUNK))
    for _ in range(12):
        last = rng.choice((len(requests) - 1, rng.randrange(len(requests))))
        with RawAgent(agent_path, store) as agent:
            for data in requests[:last]:
                agent.send(data)
                assert agent.receive().number != ERROR
            agent.send(requests[last])
            spin(rng.random() * 0.006)
            os.kill(agent.process.pid, signal.SIGKILL)
        check(agent_path, store)


def test_a_kill_can_come_before_and_after_the_rename(agent_path, store):
    """The test above would prove little if its kills always came too early or too late."""
    requests = list(put_frames("model", NEW, CHUNK))
    seen = set()
    delay = 0.0
    for _ in range(400):
        with RawAgent(agent_path, store) as agent:
            for data in requests[:-1]:
                agent.send(data)
                agent.receive()
            agent.send(requests[-1])
            spin(delay)
            os.kill(agent.process.pid, signal.SIGKILL)
        seen.add(check(agent_path, store))
        if seen == {True, False}:
            return
        delay = delay * 1.3 + 0.0002
    raise AssertionError(f"new file after a kill: {seen}")


@pytest.fixture
def server(agent_path, tmp_path):
    process = subprocess.Popen(
        [agent_path, "--store", tmp_path / "store", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    )
    word, url = process.stdout.readline().split()
    assert word == "listening"
    yield url
    process.kill()
    process.wait()
    process.stdout.close()


def test_killed_client(server, tmp_path):
    """The client is a process that pours a whole transfer into the socket and is killed on the way."""
    old = tmp_path / "model"
    old.write_bytes(OLD)
    transfer = tmp_path / "transfer"
    transfer.write_bytes(b"".join(put_frames("model", NEW, CHUNK)))
    rng = random.Random(5)
    for _ in range(12):
        with connect(server) as device:
            device.put(old)
        stop = rng.randrange(transfer.stat().st_size + 1)
        command = [sys.executable, "-S", "-c", FLOOD, server.rpartition(":")[2], str(transfer), str(stop)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            client.stdout.readline()
            spin(rng.random() * 0.005)
            client.kill()
        with connect(server) as device:
            found = device.get("model")
            assert found in (OLD, NEW)
            assert [entry.sha256 for entry in device.list()] == [hashlib.sha256(found).hexdigest()]


def test_dead_agent_is_named(agent_path, programs):
    with connect("local") as device:
        net = device.deploy(programs("mixed").path)
        (agent,) = (child for child in psutil.Process().children() if child.name() == "edgeq-agent")
        agent.kill()
        with pytest.raises(DeviceError, match=r"the connection ended \(the agent ended with signal 9\)"):
            net.run(*programs("mixed").inputs)


def test_a_silent_port_is_no_device():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(DeviceError, match="cannot connect"):
        connect(f"tcp://127.0.0.1:{port}")
