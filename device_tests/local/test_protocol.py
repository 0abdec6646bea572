"""The conversation with a real agent, by the book and against it."""

import hashlib
import random
import struct
import subprocess
import zlib

import pytest
from wire import ERROR, PROTOCOL, RawAgent, frame, put_frames

from edgeq.device import frames

OLD, NEW = b"old content " * 500, b"new content, longer " * 700
MAX_PAYLOAD = 1 << 20


@pytest.fixture
def agent(agent_path, tmp_path):
    with RawAgent(agent_path, tmp_path / "store") as agent:
        yield agent


def put(agent, name, content, chunk=1 << 16):
    for data in put_frames(name, content, chunk):
        agent.send(data)
        assert agent.receive().number != ERROR


def begin(agent, content, name="model", size=None):
    digest = hashlib.sha256(content).digest()
    return agent.ask("PUT_BEGIN", name=name, sha256=digest, size=len(content) if size is None else size)


# ---- transfers


def test_what_was_put_can_be_listed_got_and_erased(agent):
    put(agent, "model", OLD, chunk=100)
    assert agent.entries() == {"model": hashlib.sha256(OLD).digest()}
    assert agent.read("model") == OLD
    assert agent.ask("ERASE", name="model") == {}
    assert agent.entries() == {}
    assert agent.read("model") is None
    assert agent.ask("ERASE", name="model") == "NOT_FOUND"


def test_one_content_under_two_names_is_stored_once(agent, tmp_path):
    put(agent, "a", OLD)
    assert begin(agent, OLD, "b") == {"offset": len(OLD)}
    agent.ask("PUT_COMMIT")
    assert len(list((tmp_path / "store" / "objects").iterdir())) == 1
    agent.ask("ERASE", name="a")
    assert agent.read("b") == OLD
    put(agent, "b", NEW)
    assert [path.name for path in (tmp_path / "store" / "objects").iterdir()] == [hashlib.sha256(NEW).hexdigest()]


def test_a_transfer_goes_on_where_it_stopped(agent_path, tmp_path):
    with RawAgent(agent_path, tmp_path / "store") as agent:
        assert begin(agent, NEW) == {"offset": 0}
        assert agent.ask("PUT_DATA", offset=0, data=NEW[:1000]) == {"offset": 1000}
    with RawAgent(agent_path, tmp_path / "store") as agent:
        assert begin(agent, NEW) == {"offset": 1000}
        assert agent.ask("PUT_DATA", offset=1000, data=NEW[1000:]) == {"offset": len(NEW)}
        assert agent.ask("PUT_COMMIT") == {"sha256": hashlib.sha256(NEW).digest()}
        assert agent.read("model") == NEW


def test_abort_forgets_the_bytes_and_leaves_the_old_file(agent):
    put(agent, "model", OLD)
    begin(agent, NEW)
    agent.ask("PUT_DATA", offset=0, data=NEW[:1000])
    assert agent.ask("PUT_ABORT") == {}
    assert agent.ask("PUT_COMMIT") == "NO_PUT"
    assert begin(agent, NEW) == {"offset": 0}
    assert agent.read("model") == OLD


def test_wrong_hash_is_refused_and_forgotten(agent):
    put(agent, "model", OLD)
    begin(agent, NEW)
    assert agent.ask("PUT_DATA", offset=0, data=NEW[:-1] + b"?") == {"offset": len(NEW)}
    assert agent.ask("PUT_COMMIT") == "BAD_HASH"
    assert agent.read("model") == OLD
    assert begin(agent, NEW) == {"offset": 0}


def test_data_out_of_order_too_long_or_unasked_is_refused(agent):
    assert agent.ask("PUT_DATA", offset=0, data=b"x") == "NO_PUT"
    begin(agent, NEW)
    assert agent.ask("PUT_DATA", offset=5, data=b"x") == "BAD_OFFSET"
    assert agent.ask("PUT_COMMIT") == "BAD_OFFSET"
    assert agent.ask("PUT_DATA", offset=0, data=NEW + b"x") == "TOO_LARGE"
    assert agent.ask("PUT_DATA", offset=0, data=NEW) == {"offset": len(NEW)}
    assert agent.ask("PUT_DATA", offset=len(NEW), data=b"x") == "TOO_LARGE"


def test_more_than_the_disk_holds_is_refused_at_once(agent):
    assert begin(agent, NEW, size=(1 << 64) - 1) == "TOO_LARGE"


def test_two_agents_do_not_write_the_same_file(agent, agent_path, tmp_path):
    begin(agent, NEW)
    with RawAgent(agent_path, tmp_path / "store") as other:
        assert begin(other, NEW) == "BUSY"
        put(other, "model", OLD)
    assert agent.ask("PUT_DATA", offset=0, data=NEW) == {"offset": len(NEW)}
    assert agent.ask("PUT_COMMIT") == {"sha256": hashlib.sha256(NEW).digest()}


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../up", "a b", "ä", "x" * 65, "nul\0"])
def test_names_that_could_leave_the_store_are_refused(agent, name):
    assert begin(agent, NEW, name) == "BAD_NAME"
    assert agent.ask("LOAD", name=name, method="forward") == "BAD_NAME"
    assert agent.ask("ERASE", name=name) == "BAD_NAME"


# ---- frames that no client sends


def test_damaged_frames_give_an_error_of_the_link(agent):
    damaged = bytearray(frame("HELLO", protocol=1))
    damaged[-1] ^= 1
    agent.send(bytes(damaged))
    found = agent.receive()
    assert (found.number, found.seq) == (ERROR, 0)
    assert PROTOCOL.code_name(struct.unpack_from("<H", found.payload)[0]) == "BAD_CRC"
    assert isinstance(agent.ask("HELLO", protocol=1), dict)


def test_too_long_a_frame_is_refused_at_its_header(agent):
    agent.send(PROTOCOL.magic + struct.pack("<BHI", 1, 1, MAX_PAYLOAD + 1))
    assert agent.answer_to("HELLO") == "TOO_LONG"
    assert isinstance(agent.ask("HELLO", protocol=1), dict)


def test_an_unfinished_frame_does_not_block(agent):
    agent.send(frame("HELLO", protocol=1)[:-3])
    assert agent.answer_to("HELLO") == "TRUNCATED"
    assert isinstance(agent.ask("HELLO", protocol=1), dict)


def test_payloads_that_break_their_layout_are_refused(agent):
    for kind in PROTOCOL.kinds.values():
        if kind.request and not kind.request.endswith("data:bytes"):
            agent.send(frames.seal(kind.number, 1, b""))
            assert agent.answer_to(kind.name) in ("BAD_REQUEST", "BAD_NAME"), kind
        if not kind.request.endswith(("bytes", "text")):
            agent.send(frames.seal(kind.number, 2, bytes(200)))
            assert agent.answer_to(kind.name, 2) in ("BAD_REQUEST", "BAD_NAME"), kind


def test_unknown_types_are_refused_politely(agent):
    known = {kind.number for kind in PROTOCOL.kinds.values()}
    for number in set(range(256)) - known:
        agent.send(frames.seal(number, 5, b"future"))
        found = agent.receive()
        assert (found.number, found.seq) == (ERROR, 5)
        assert PROTOCOL.code_name(struct.unpack_from("<H", found.payload)[0]) == "UNKNOWN_TYPE"


def test_a_repeated_request_is_answered_again_but_not_done_again(agent):
    put(agent, "model", OLD)
    erase = frame("ERASE", 77, name="model")
    agent.send(erase + erase)
    assert agent.answer_to("ERASE", 77) == {}
    assert agent.answer_to("ERASE", 77) == {}
    assert agent.ask("ERASE", 78, name="model") == "NOT_FOUND"


@pytest.mark.parametrize("seed", range(4))
def test_mutated_frames_never_take_the_agent_down(agent, seed):
    """Frames of every type with damaged payloads, re-sealed or not; afterwards the agent still answers."""
    rng = random.Random(seed)
    put(agent, "model", OLD)
    kinds = list(PROTOCOL.kinds.values())
    for _ in range(500):
        kind = rng.choice(kinds)
        payload = bytearray(
            rng.choice((b"", rng.randbytes(rng.randrange(60)), b"\x05model\x07forward", b"\x05model" + bytes(60)))
        )
        data = bytearray(frames.seal(kind.number, rng.randrange(1, 1 << 16), bytes(payload)))
        if rng.random() < 0.3:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        agent.send(bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))]))
    agent.send(bytes(MAX_PAYLOAD + 13))  # ends whatever frame a mutation has begun
    agent.send(frame("HELLO", 1, protocol=1) + frame("LIST", 2, start=0))
    while (found := agent.receive()).seq != 2 or found.number == ERROR:
        pass
    assert found.number == PROTOCOL.kinds["LIST"].number | PROTOCOL.constants["ANSWER"]


# ---- the executable


def test_command_line_errors_are_one_line(agent_path):
    for options, message in (
        ([], "--store DIR is needed"),
        (["--store"], "missing value"),
        (["--store", "x", "--threads", "0"], "from 1 to 256"),
        (["--store", "/proc/nowhere"], "cannot make"),
        (["--store", "x", "--frobnicate", "1"], "unknown option --frobnicate"),
        (["--fastest", "mmx", "b1-rows"], "no instruction set mmx"),
        (["--fastest", "ref", "b9-rows"], "no choice of kernels b9-rows"),
    ):
        done = subprocess.run([agent_path, *options], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("edgeq-agent: ") and message in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1


def test_an_instruction_set_that_is_not_there_is_refused(agent_path, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEQ_ISA", "mmx")
    done = subprocess.run([agent_path, "--store", tmp_path], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "EDGEQ_ISA=mmx cannot be used on this machine; usable are: ref" in done.stderr


@pytest.mark.parametrize("threads", ["abc", "0", "257", "2x", ""])
def test_a_thread_count_that_is_none_is_refused(agent_path, tmp_path, monkeypatch, threads):
    monkeypatch.setenv("EDGEQ_THREADS", threads)
    done = subprocess.run([agent_path, "--store", tmp_path], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (
        1,
        f"edgeq-agent: EDGEQ_THREADS={threads} is not a number from 1 to 256\n",
    )


def test_only_loopback_is_listened_on(agent_path, tmp_path):
    command = [agent_path, "--store", tmp_path, "--listen", "0.0.0.0:0"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "no authentication" in done.stderr


def test_crc_covers_type_and_payload():
    """What the tests above rely on: the Python side computes the CRC itself."""
    data = frame("HELLO", 3, protocol=1)
    assert struct.unpack("<I", data[-4:])[0] == zlib.crc32(data[2:-4])
