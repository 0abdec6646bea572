"""Damaged programs with a right hash: the agent refuses them and goes on."""

import random

import pytest
from wire import ERROR, RawAgent, put_frames


def load(agent, content):
    """The answer to LOAD after the content was put."""
    for data in put_frames("damaged", content, 1 << 16):
        agent.send(data)
        assert agent.receive().number != ERROR
    return agent.ask("LOAD", 100, name="damaged", method="forward")


@pytest.fixture
def agent(agent_path, tmp_path):
    with RawAgent(agent_path, tmp_path / "store") as agent:
        yield agent


def test_what_is_no_program_is_refused(agent):
    for content in (b"", b"\0", b"not a program at all" * 10, bytes(4096)):
        assert load(agent, content) == "BAD_PROGRAM"


@pytest.mark.parametrize("name", ["float", "operators"])
def test_truncated_programs_are_refused(agent, programs, name):
    whole = programs(name).path.read_bytes()
    for size in (16, 64, 200, len(whole) // 2, len(whole) - 2000):
        assert load(agent, whole[:size]) in ("BAD_PROGRAM", "UNSUPPORTED", "RUN_FAILED"), size


@pytest.mark.parametrize("name", ["mixed", "operators"])
def test_flipped_bits_never_take_the_agent_down(agent, programs, name):
    """A flipped bit may lie in a weight and be harmless; whatever happens, the next request is answered."""
    whole = programs(name).path.read_bytes()
    rng = random.Random(7)
    refused = 0
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        answer = load(agent, bytes(content))
        if isinstance(answer, str):
            refused += 1
        else:
            assert isinstance(agent.ask("RUN", 101, net=answer["net"], data=b""), dict | str)
            agent.ask("RESET", 102)
    assert refused > 10
    assert isinstance(load(agent, whole), dict)
