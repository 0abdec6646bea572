"""A program is hostile: damage, lies and missing memory end in a status, never in a stray access (ASan, UBSan).

Longer runs: runtime/micro/fuzz_micro.c by hand, or with libFuzzer.
"""

import re
import subprocess

import pytest
from micro_build import FIXTURES, needs_fixtures, needs_gcc, run

pytestmark = needs_gcc

ROUNDS = 2500


def histogram(fuzz, program, seed: int) -> dict[str, int]:
    """Statuses that seeded mutations of a program met."""
    done = subprocess.run([fuzz, program, str(ROUNDS), str(seed)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    met = {m[2]: int(m[1]) for m in re.finditer(r"(\d+) (.+)", done.stdout)}
    assert sum(met.values()) == ROUNDS
    return met


def check(met: dict[str, int]) -> None:
    assert met["ok"] > 0  # some damage is harmless: then the program runs
    for text in ("cut short", "damaged", "limit", "profile", "operator that", "argument"):
        assert sum(count for status, count in met.items() if text in status) > 0, text


@needs_fixtures
@pytest.mark.parametrize("name", ["full", "slim"])
def test_mutated_fixtures_are_run_or_refused(demo_fuzz, name):
    check(histogram(demo_fuzz, FIXTURES / f"{name}.pte", seed=11))


def test_mutated_networks_are_run_or_refused(fuzz, small):
    check(histogram(fuzz, small.program, seed=12))


def word(value: int) -> bytes:
    return value.to_bytes(4, "little")


@pytest.mark.parametrize(
    ("at", "bytes_", "message"),
    [
        (4, b"ET13", "not a program"),
        (12, word(16), "not a program"),  # header too short
        (20, word(1), "not a program"),  # tables longer than 4 GB
        (16, word(0x7FFFFFFF), "not a program"),  # tables past the file
        (24, word(0), "not a program"),  # segments inside the tables
        (32, word(0x7FFFFFFF), "not a program"),  # segments past the file
        (0, word(0xFFFFFFFC), "damaged"),  # root outside
        (0, word(0), "damaged"),
    ],
)
def test_each_lie_of_the_header_is_refused(host, small, tmp_path, at, bytes_, message):
    program = bytearray(small.program.read_bytes())
    program[at : at + len(bytes_)] = bytes_
    (tmp_path / "liar.pte").write_bytes(program)
    done = run(host, tmp_path / "liar.pte", "forward")
    assert done.status > 0
    assert message in done.message


@pytest.mark.parametrize("kept", [0, 8, 63, 64, 1000, -1])
def test_a_file_that_is_cut_short_is_refused(host, small, tmp_path, kept):
    (tmp_path / "short.pte").write_bytes(small.program.read_bytes()[:kept])
    assert "cut short" in run(host, tmp_path / "short.pte", "forward").message
