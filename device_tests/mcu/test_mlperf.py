"""The serial dialect of the MLPerf Tiny runner: its conversation, every error, and lines that are none of it."""

import os
import random
import select
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlperf_runner import ENERGY_CHUNK, Runner, floats

HERE = Path(__file__).parent
RUNTIME = HERE.parents[1] / "runtime"
FLAGS = ("-std=gnu11", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
ROOM = 64


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The dialect for this machine, under ASan and UBSan."""
    out = tmp_path_factory.mktemp("mlperf") / "dialect"
    sources = [HERE / "mlperf_host.c", RUNTIME / "proto/mlperf.c", RUNTIME / "proto/wire.c"]
    includes = (f"-I{RUNTIME}", f"-I{RUNTIME / 'include'}")
    subprocess.run(["gcc", *FLAGS, *SANITIZERS, *includes, *sources, "-o", out], check=True)
    return out


@contextmanager
def talk(program, *stored):
    """A runner in conversation with the program; it must end well."""
    process = subprocess.Popen([program, *stored], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def read(seconds):
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        assert ready, "no answer"
        return os.read(process.stdout.fileno(), 4096)

    runner = Runner(read, process.stdin.write, patience_s=30)
    runner.raw = process.stdin.write
    try:
        assert runner.answer() == ["m-init-done"]
        yield runner
    finally:
        process.stdin.close()
        code = process.wait(30)
        process.stdout.close()
    assert code == 0


def test_the_conversation_of_one_input(program):
    with talk(program, "ic01") as runner:
        assert (runner.name(), runner.model()) == ("edgeq", "ic01")
        runner.load(floats(1.0, -0.25, 1000.5))
        assert runner.infer(10, 2) == ([-0.5, 0.125, -500.25], 10_000)
        assert runner.infer(1) == ([-0.5, 0.125, -500.25], 1000)  # the input is still there
        assert runner.ask("results") == ["m-results-[-0.500,0.125,-500.250]"]
        assert runner.ask("timestamp") == ["m-lap-us-13000"]
        lines = runner.ask("infer 1")
        assert lines[0] == "m-warmup-start-10"
        assert "infer" in runner.ask("help")[0]


def test_in_energy_mode_time_stamps_are_edges_of_the_pin(program, tmp_path):
    edges = tmp_path / "edges"
    with talk(program, "ic01", edges) as runner:
        runner.load(floats(1.0, -0.25, 1000.5), chunk=ENERGY_CHUNK)
        assert runner.infer_between_edges(10, 2) == [-0.5, 0.125, -500.25]
        begin, end = map(int, edges.read_text().split())
        assert (begin, end) == (2000, 12_000)  # the warm-up is before the first
        assert runner.ask("timestamp") == []
        assert edges.read_text().split()[2:] == ["12000"]
        assert runner.ask("infer 0 0") == ["e-[infer needs a number of runs]"]
        assert runner.ask("results") == ["m-results-[-0.500,0.125,-500.250]"]
    assert len(edges.read_text().split()) == 3


def test_numbers_are_rounded_to_three_decimals(program):
    with talk(program, "m") as runner:
        for value, text in (
            (0.0012, "-0.001"),
            (1.9998, "-1.000"),
            (-1e30, "4294967040.000"),
            (float("nan"), "nan"),
            (float("-inf"), "4294967040.000"),
        ):
            runner.load(floats(value, 0, 0))
            assert runner.ask("infer 1 0")[-1].startswith(f"m-results-[{text},")


def test_the_buffer_is_printed_eight_bytes_a_line(program):
    with talk(program, "m") as runner:
        runner.ask("db load 10")
        assert runner.ask("db 00FFaB0102030405") == []
        assert runner.ask("db print") == ["m-buffer-00-ff-ab-01-02-03-04-05"]
        assert runner.ask("db 0607AA") == ["m-load-done"]  # what is too much is ignored
        assert runner.ask("db print")[1:] == ["m-buffer-06-07"]


@pytest.mark.parametrize(
    ("commands", "error"),
    [
        (["hello world"], "Unknown command: hello"),
        ([""], "Empty command"),
        (["db"], "db needs load, print or hexadecimal digits"),
        (["db load"], "db load needs a number of bytes"),
        (["db load 0"], "db load needs a number of bytes"),
        (["db load -4"], "db load needs a number of bytes"),
        (["db load 99999999999999999999999"], "db load needs a number of bytes"),
        ([f"db load {ROOM + 1}"], f"Room for {ROOM} bytes, not {ROOM + 1}"),
        (["db 0011"], "db load comes first"),
        (["db load 4", "db 001"], "an odd number of digits"),
        (["db load 4", "db 00xy"], "not a hexadecimal digit"),
        (["db load 2", "db 0011", "db 22"], "all bytes are here"),
        (["db print"], "the buffer is empty"),
        (["infer"], "infer needs a number of runs"),
        (["infer 0 1"], "infer needs a number of runs"),
        (["infer 1 many"], "infer: no such number of warm-up runs"),
        (["infer 1 0"], "no input is loaded"),
        (["db load 12", "db 00", "infer 1 0"], "no input is loaded"),
        (["db load 4", "db 00000000", "infer 1 0"], "The input has 12 bytes, not 4"),
        (["results"], "nothing was inferred"),
        (["db load 12", "\x01db print"], None),
        (["x" * 81], "a command has at most 80 characters"),
        (["db " + "0" * 400], "a command has at most 80 characters"),
    ],
)
def test_every_error_is_one_line_and_ready_follows(program, commands, error):
    with talk(program, "m") as runner:
        for command in commands[:-1]:
            runner.ask(command)
        if error is not None:
            assert runner.ask(commands[-1]) == [f"e-[{error}]"]
        else:
            runner.raw(commands[-1].encode() + b"%")  # not printable: no answer at all
        assert runner.name() == "edgeq"


def test_nothing_stored_and_what_another_conversation_unloads(program):
    with talk(program) as runner:
        assert runner.model() == ""
        assert runner.ask("db load 12") == ["e-[no program is stored]"]
    with talk(program, "m") as runner:
        runner.load(floats(1, 2, 3))
        runner.raw(b"\x01%")
        assert runner.ask("infer 1 0") == ["e-[no input is loaded]"]
        runner.load(floats(1, 2, 3))
        assert runner.infer(1)[0] == [-0.5, -1.0, -1.5]


def test_garbage_between_commands_and_terminals(program):
    with talk(program, "m") as runner:
        runner.load(floats(2, 2, 2))
        for garbage in (b"\x00\xff infer 9 9%", b"EQ\x80\x81name%"):
            runner.raw(garbage)
        assert runner.ask("\r\n infer  1   0")[-1] == "m-results-[-1.000,-1.000,-1.000]"


def test_any_bytes(program):
    rng = random.Random(5)
    words = [
        b"db load 12",
        b"db 00112233",
        b"infer 1 0",
        b"results",
        b"%",
        b"%%",
        b" ",
        b"\x01",
        b"db print",
        b"profile",
    ]
    with talk(program, "m") as runner:
        for _ in range(300):
            runner.raw(rng.choice(words) if rng.random() < 0.8 else rng.randbytes(rng.randrange(1, 90)))
        runner.raw(b"%name%")
        while runner.answer() != ["m-name-dut-[edgeq]"]:
            pass
