"""The agent of a microcontroller, by the book and against it: the firmware as a process, under sanitizers."""

import hashlib
import os
import random
from pathlib import Path

import pytest
from serial_line import build
from wire import ERROR, PROTOCOL, RawAgent, frame, put_frames

from edgeq.device import frames

OLD, NEW, OTHER = b"old content " * 500, b"new content, longer " * 700, b"another " * 300
CHUNK = 1000
LEFT_OUT = ("BENCH", "EVAL", "PROFILE", "GET")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("host"), Path(__file__).with_name("host_board.c"))


@pytest.fixture
def start(program, tmp_path):
    return lambda: RawAgent(program, tmp_path, environment={**os.environ, "FLASH": str(tmp_path / "flash")})


@pytest.fixture
def agent(start):
    with start() as agent:
        yield agent


def put(agent, name, content):
    for data in put_frames(name, content, CHUNK):
        agent.send(data)
        assert agent.receive().number != ERROR


def begin(agent, content, name="model", size=None):
    digest = hashlib.sha256(content).digest()
    return agent.ask("PUT_BEGIN", name=name, sha256=digest, size=len(content) if size is None else size)


def test_hello_names_the_core_and_the_memory(agent):
    info = agent.ask("HELLO", protocol=1)
    assert info["kind"] == "mcu" and info["targets"] == ["micro:cortex-m4"] and info["nets"] == 1
    assert info["max_payload"] == 4096 and info["memory_bytes"] == 262144
    assert info["store_free_bytes"] == 917504 // 2 - 512


def test_what_was_put_can_be_listed_got_and_erased(agent):
    put(agent, "model", OLD)
    assert agent.entries() == {"model": hashlib.sha256(OLD).digest()}
    assert agent.ask("ERASE", name="model") == {}
    assert agent.entries() == {}
    assert agent.ask("ERASE", name="model") == "NOT_FOUND"


def test_programs_outlive_the_power(start):
    with start() as agent:
        put(agent, "model", OLD)
        put(agent, "model", NEW)
    with start() as agent:
        assert agent.entries() == {"model": hashlib.sha256(NEW).digest()}


def test_an_update_replaces_the_older_slot(agent):
    put(agent, "a", OLD)
    put(agent, "b", NEW)
    assert sorted(agent.entries()) == ["a", "b"]
    put(agent, "c", OTHER)
    assert sorted(agent.entries()) == ["b", "c"]
    put(agent, "c", NEW)
    assert agent.entries() == {"c": hashlib.sha256(NEW).digest()}
    assert agent.ask("ERASE", name="c") == {}
    assert agent.entries() == {}


def test_what_is_there_is_not_sent_again(agent):
    put(agent, "model", OLD)
    assert begin(agent, OLD) == {"offset": len(OLD)}
    assert agent.ask("PUT_COMMIT") == {"sha256": hashlib.sha256(OLD).digest()}


def test_a_transfer_goes_on_at_the_page_where_it_stopped(start):
    with start() as agent:
        put(agent, "model", OLD)
        assert begin(agent, NEW) == {"offset": 0}
        for at in range(0, 9000, CHUNK):
            agent.ask("PUT_DATA", seq=2 + at, offset=at, data=NEW[at : at + CHUNK])
    with start() as agent:
        assert list(agent.entries().values()) == [hashlib.sha256(OLD).digest()]
        offset = begin(agent, NEW)["offset"]
        assert offset == 2 * 4096 - 512  # 9000 bytes and the header reach into the third page
        for at in range(offset, len(NEW), CHUNK):
            agent.ask("PUT_DATA", seq=2 + at, offset=at, data=NEW[at : at + CHUNK])
        assert agent.ask("PUT_COMMIT", seq=60000) == {"sha256": hashlib.sha256(NEW).digest()}


def test_abort_and_a_wrong_hash_leave_the_old_program(agent):
    put(agent, "model", OLD)
    begin(agent, NEW)
    agent.ask("PUT_DATA", seq=2, offset=0, data=NEW[:1000])
    assert agent.ask("PUT_ABORT", seq=3) == {}
    assert begin(agent, OTHER, "other")["offset"] == 0
    wrong = b"?" + OTHER[1:]
    for at in range(0, len(wrong), CHUNK):
        agent.ask("PUT_DATA", seq=10 + at, offset=at, data=wrong[at : at + CHUNK])
    assert agent.ask("PUT_COMMIT", seq=50000) == "BAD_HASH"
    assert agent.entries() == {"model": hashlib.sha256(OLD).digest()}


def test_more_than_a_slot_holds_is_refused_at_once(agent):
    assert begin(agent, NEW, size=917504 // 2) == "TOO_LARGE"
    assert begin(agent, NEW, size=(1 << 32) + 5) == "TOO_LARGE"
    assert begin(agent, NEW, size=(1 << 64) - 1) == "TOO_LARGE"


def test_what_is_no_program_is_refused_and_falls_back(start):
    with start() as agent:
        put(agent, "model", OLD)
        assert agent.ask("LOAD", name="model", method="forward") == "BAD_HEADER"
        assert agent.entries() == {"model": hashlib.sha256(OLD).digest()}  # the only one is kept
        put(agent, "model", NEW)
        assert agent.ask("LOAD", seq=2, name="model", method="forward") == "BAD_HEADER"
        assert agent.entries() == {"model": hashlib.sha256(OLD).digest()}
        assert agent.ask("RUN", net=1, data=b"") == "BAD_NET"


@pytest.mark.parametrize("request_name", LEFT_OUT)
def test_what_it_leaves_out_is_refused_politely(agent, request_name):
    agent.send(frames.seal(PROTOCOL.kinds[request_name].number, 5, b"anything"))
    assert agent.answer_to(request_name, 5) == "UNKNOWN_TYPE"


@pytest.mark.parametrize("seed", range(3))
def test_mutated_frames_never_take_it_down(agent, seed):
    rng = random.Random(seed)
    put(agent, "model", OLD)
    kinds = list(PROTOCOL.kinds.values())
    for _ in range(300):
        kind = rng.choice(kinds)
        payload = rng.choice((b"", rng.randbytes(rng.randrange(60)), b"\x05model\x07forward", b"\x05model" + bytes(60)))
        data = bytearray(frames.seal(kind.number, rng.randrange(1, 1 << 16), payload))
        if rng.random() < 0.3:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        agent.send(bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))]))
    agent.send(bytes(4096 + 13))  # ends whatever frame a mutation has begun
    agent.send(frame("HELLO", 1, protocol=1) + frame("LIST", 2, start=0))
    while (found := agent.receive()).seq != 2 or found.number == ERROR:
        pass
    assert found.number == PROTOCOL.kinds["LIST"].number | PROTOCOL.constants["ANSWER"]
