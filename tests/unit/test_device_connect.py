"""URLs and transports, and the client against an agent that misbehaves."""

import os
import threading
import time

import pytest

from edgeq import device
from edgeq._errors import DeviceError, NoReplyError, UnsupportedError, UsageError
from edgeq.device import agent, frames, local
from edgeq.device.stream import FdStream

PROTOCOL = frames.protocol()
INFO = {
    "protocol": PROTOCOL.constants["PROTOCOL"],
    "max_payload": 512,
    "nets": 1,
    "threads": 1,
    "memory_bytes": 0,
    "store_free_bytes": 0,
    "kind": "mcu",
    "name": "board",
    "arch": "armv7em",
    "cpu": "Cortex-M4",
    "isa": "armv7em",
    "tick": "instructions",
    "targets": ["micro"],
}


@pytest.mark.parametrize("url", ["", "nope:", "agent:", "frames", "localhost:", "LOCAL", "../local"])
def test_unknown_schemes_name_the_known_ones(url):
    with pytest.raises(UsageError, match=r"there are: .*local.*tcp"):
        device.connect(url)


@pytest.mark.parametrize("url", ["local:?threads=0", "local:?threads=many", "local:?speed=9", "tcp:", "tcp://host"])
def test_bad_urls_are_refused_before_anything_is_opened(url, monkeypatch):
    monkeypatch.setenv("EDGEQ_AGENT", "/does/not/exist")
    with pytest.raises(UsageError):
        device.connect(url)


def test_missing_agent_is_no_runtime(monkeypatch):
    monkeypatch.setenv("EDGEQ_AGENT", "/does/not/exist")
    with pytest.raises(UnsupportedError, match="/does/not/exist"):
        device.connect("local")
    assert [found.state for found in device.discover() if found.url == "local"] == ["no-runtime"]


def test_agent_that_cannot_be_started_is_named(monkeypatch, tmp_path):
    file = tmp_path / "agent"
    file.write_text("not executable")
    monkeypatch.setenv("EDGEQ_AGENT", str(file))
    with pytest.raises(DeviceError, match="cannot be started"):
        device.connect("local")


def test_threads_come_from_the_url_or_else_the_environment(monkeypatch):
    assert [local._threads(url) for url in ("local", "local:?threads=3")] == [1, 3]
    monkeypatch.setenv("EDGEQ_THREADS", "2")
    assert [local._threads(url) for url in ("local", "local:?threads=3")] == [2, 3]


@pytest.mark.parametrize("threads", ["abc", "0", "257", ""])
def test_a_thread_count_that_is_none_is_refused(monkeypatch, threads):
    monkeypatch.setenv("EDGEQ_THREADS", threads)
    with pytest.raises(UsageError, match=f"^EDGEQ_THREADS={threads} is not a number from 1 to 256$"):
        device.connect("local")


def test_an_agent_busy_with_what_nobody_will_read_is_not_waited_for(monkeypatch, tmp_path):
    file = tmp_path / "agent"
    file.write_text("#!/bin/sh\nexec sleep 60\n")
    file.chmod(0o700)
    monkeypatch.setenv("EDGEQ_AGENT", str(file))
    stream = local.open_stream("local")
    begin = time.monotonic()
    stream.close()
    assert time.monotonic() - begin < 5


@pytest.fixture
def talk():
    """Connects a client to a thread that answers each request with the next of some bytes; None ends the connection."""
    ends = []

    def start(*answers):
        to_agent, to_client = os.pipe(), os.pipe()
        ends.extend(to_agent + to_client)

        def serve():
            parser = frames.Parser(1 << 20)
            for answer in answers:
                while (request := parser.next()) is None:
                    data = os.read(to_agent[0], 1 << 16)
                    if not data:
                        return
                    parser.feed(data)
                if answer is None:
                    break
                os.write(to_client[1], answer(request) if callable(answer) else answer)
            os.close(to_client[1])
            ends.remove(to_client[1])

        thread = threading.Thread(target=serve)
        threads.append(thread)
        thread.start()
        return FdStream("fake", to_client[0], to_agent[1], lambda: None)

    threads = []
    yield start
    for thread in threads:
        thread.join(10)
    for fd in ends:
        os.close(fd)


def answer(kind, /, **fields):
    """A right answer to any request of this kind."""
    layout = PROTOCOL.kinds[kind]
    return lambda request: frames.seal(
        layout.number | PROTOCOL.constants["ANSWER"], request.seq, PROTOCOL.pack(layout.answer, fields)
    )


def refusal(code, text):
    payload = PROTOCOL.pack(PROTOCOL.structures["FAILURE"], {"code": code, "text": text})
    return lambda request: frames.seal(PROTOCOL.constants["ERROR"], request.seq, payload)


def test_info_is_typed(talk):
    connected = agent.Agent(talk(answer("HELLO", **INFO)))
    assert connected.info.targets == ("micro",)
    assert connected.info.tick == "instructions"


def test_another_version_is_refused_with_both_numbers(talk):
    with pytest.raises(UnsupportedError, match="protocol 7, this EdgeQ 1"):
        agent.Agent(talk(answer("HELLO", **{**INFO, "protocol": 7})))


def test_silence_points_to_the_doctor(talk, monkeypatch):
    monkeypatch.setattr(agent, "_HELLO_TIMEOUT_S", 0.05)
    with pytest.raises(NoReplyError, match="edgeq doctor"):
        agent.Agent(talk(b"boot message without a frame", None))


def test_refusals_carry_code_and_text(talk):
    connected = agent.Agent(talk(answer("HELLO", **INFO), refusal(PROTOCOL.codes["BAD_NET"], "no net 4")))
    with pytest.raises(agent.Refusal, match="UNLOAD refused, BAD_NET: no net 4") as caught:
        connected.request("UNLOAD", timeout_s=5, net=4)
    assert caught.value.code == "BAD_NET"


def test_stale_answers_are_passed_over(talk):
    def late(request):
        old = frames.seal(PROTOCOL.constants["ERROR"], request.seq - 1, b"\x63\0\x04late")
        return old + answer("UNLOAD")(request)

    connected = agent.Agent(talk(answer("HELLO", **INFO), late))
    assert connected.request("UNLOAD", timeout_s=5, net=4) == {}


def test_damage_leads_to_a_second_try_and_then_to_an_error(talk):
    def damaged(request):
        good = bytearray(answer("UNLOAD")(request))
        good[-1] ^= 1
        return bytes(good)

    connected = agent.Agent(talk(answer("HELLO", **INFO), damaged, answer("UNLOAD"), *[damaged] * 5))
    assert connected.request("UNLOAD", timeout_s=5, net=4) == {}
    with pytest.raises(DeviceError, match="damaged 5 times; check the cable"):
        connected.request("UNLOAD", timeout_s=5, net=4)


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x00" * 9])
def test_short_answers_are_errors_of_the_device(talk, payload):
    kind = PROTOCOL.kinds["LOAD"]

    def short(request):
        return frames.seal(kind.number | PROTOCOL.constants["ANSWER"], request.seq, payload)

    connected = agent.Agent(talk(answer("HELLO", **INFO), short))
    with pytest.raises(DeviceError, match="answer to LOAD"):
        connected.request("LOAD", timeout_s=5, name="a", method="b")


def test_answers_of_another_kind_are_errors_of_the_device(talk):
    connected = agent.Agent(talk(answer("HELLO", **INFO), answer("RESET")))
    with pytest.raises(DeviceError, match="answered UNLOAD with frame type 0x82"):
        connected.request("UNLOAD", timeout_s=5, net=4)


def test_end_of_the_connection_is_named(talk):
    connected = agent.Agent(talk(answer("HELLO", **INFO), None))
    with pytest.raises(DeviceError, match="fake: the connection ended"):
        connected.request("UNLOAD", timeout_s=5, net=4)
