"""Tables of choices: they change which kernel runs and no result, and what is no table changes nothing."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from edgeq import _native, cli
from edgeq._errors import DeviceError, FormatError, UsageError
from edgeq._native import prepared
from edgeq._native._structures import CWeightsI4
from edgeq._native.choices import TITLE, choices, read_table
from edgeq.bench import kernels
from edgeq.device import AgentProgram, open_program
from edgeq.device._shell import Reply

ISAS = [isa for isa in _native.usable_isas() if isa != "ref"]
GOOD = f"{TITLE}\n"


@pytest.fixture(autouse=True)
def built_in():
    before = _native.isa()
    yield
    _native.select_isa(before)
    for isa in _native.isa_names():
        for choice in choices(isa):
            choice.set(choice.built_in)


def product(choice, m):
    """A ready call of what the choice acts on, and what it writes."""
    rng, k, o, tiled = np.random.default_rng(m), 96, 130, choice.endswith(("unit", "tiled-rows")) or choice[:2] == "t2"
    row, op, out = _native.row_bytes(k), prepared.linear(m, k, o), np.empty((m, o), np.float32)
    e, codes = prepared.epilogue({"out": out}), rng.integers(-127, 128, (m, k), np.int8)
    if choice.startswith("i4"):
        fours, scale = rng.integers(0, 256, (o, k // 2), np.uint8), np.full((o, k // 32), 0.01, np.float16)
        weights = CWeightsI4(fours.ctypes.data, scale.ctypes.data, 0, None, 32)
        weights.kept = (fours, scale)
        if not tiled:
            return prepared.i4i8(op, codes, weights, e), out
        return prepared.tiled_linear("i4i8", op, (codes, None), prepared.tiles("i4", o, k, weights), e), out
    if choice == "shift-rows":
        planes = rng.integers(0, 256, (4, o, row), np.uint8)
        return prepared.tiled_linear("s4i8", op, (codes,), prepared.tiles("s4", o, k, planes), e), out
    name, planes, x = "b1", 1, rng.integers(0, 256, (m, row), np.uint8)
    if not choice.startswith("b1"):
        name, planes, x = "t2", 2, codes
    w = rng.integers(0, 256, (planes, o, row), np.uint8)
    w[0] &= w[-1]
    operator = f"{name}{'b1' if name == 'b1' else 'i8'}"
    if not tiled:
        return prepared.operator(f"linear_{operator}", op, (x, w), e), out
    return prepared.tiled_linear(operator, op, (x,), prepared.tiles("t2" if planes == 2 else operator, o, k, w), e), out


@pytest.mark.parametrize("isa", ISAS)
def test_every_value_of_every_choice_gives_the_same_bits(isa):
    _native.select_isa(isa)
    for choice in choices(isa):
        if choice.name == "shared" or (choice.name == "shift-rows" and "neon" in isa):  # of threads; has no such tiles
            continue
        for rows in (1, 2, 3, 4, 9):
            results = []
            for value in {choice.least, choice.built_in, choice.most, choice.least + max(1, choice.least)}:
                choice.set(value)
                call, result = product(choice.name, rows)
                call()
                results.append(result)
            assert all(np.array_equal(results[0], other) for other in results), (choice, rows)


@pytest.mark.parametrize("isa", ISAS)
def test_a_choice_chooses(isa):
    """Canonical weights need no memory for tiles."""
    _native.select_isa(isa)
    rows = next(choice for choice in choices(isa) if choice.name == "b1-rows")
    x, w, out = np.zeros((2, 96), np.uint8), np.zeros((256, 96), np.uint8), np.empty((2, 256), np.float32)
    e = prepared.epilogue({"out": out, "row_scale": np.ones(2, np.float32)})  # not plain: both ways keep accumulators

    def scratch():
        call = prepared.operator("linear_b1b1", prepared.linear(2, 768, 256), (x, w), e)
        return call.kept[0].size

    rows.set(2)
    few = scratch()
    rows.set(1)
    assert scratch() >= few + w.nbytes


def test_a_table_is_read():
    read_table(f"{TITLE}\n# about\n\navx2 b1-rows 7\nneon-i8mm t2-words 12\n".encode())
    values = {(c.isa, c.name): c.value for isa in ("avx2", "neon-i8mm", "neon") for c in choices(isa)}
    assert (values["avx2", "b1-rows"], values["neon-i8mm", "t2-words"], values["neon", "b1-rows"]) == (7, 12, 3)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("edgeq kernels 2\n", 1),
        ("\0" * 100, 1),
        (GOOD + "avx2 b1-rows 64\n", 2),
        (GOOD + "avx2 b1-rows -1\n", 2),
        (GOOD + "avx2 b1-rows 99999999999999999999\n", 2),
        (GOOD + "avx2 b1-rows\n", 2),
        (GOOD + "avx2 b1-rows 3 4\n", 2),
        (GOOD + "avx2 b1-unit 100\n", 2),
        (GOOD + "avx2 b1-row 3\n", 2),
        (GOOD + "avx3 b1-rows 3\n", 2),
        (GOOD + "avx2 b1-rows 5\n\navx2 b1-rows 5\n", 4),
        (GOOD + "avx2 b1-rows 5\n" + "#" * (1 << 14), 1),
    ],
)
def test_what_is_no_table_changes_nothing(text, line):
    with pytest.raises(FormatError, match=f"line {line} "):
        read_table(text.encode())
    assert all(c.value == c.built_in for isa in _native.isa_names() for c in choices(isa))


def test_random_bytes_are_no_table():
    rng = np.random.default_rng(0)
    for _ in range(300):
        text = bytearray((GOOD + "avx2 b1-rows 5\navx512 t2-words 31\n").encode())
        for _ in range(rng.integers(1, 4)):
            text[rng.integers(len(text))] = rng.integers(256)
        try:
            read_table(bytes(text))
        except FormatError:
            continue
        assert all(c.least <= c.value <= c.most for isa in _native.isa_names() for c in choices(isa))


def test_values_outside_the_limits_are_refused():
    choice = choices("avx2")[0]
    for value in (-1, choice.most + 1, 1 << 40):
        with pytest.raises(UsageError, match="avx2 b1-rows: expected 0 to 63"):
            choice.set(value)


def test_the_command_shows_what_is_in_force(tmp_path, monkeypatch, capsys):
    (tmp_path / "kernels.txt").write_text(f"{TITLE}\n{ISAS[0]} b1-rows 5\n")
    monkeypatch.setenv("EDGEQ_HOME", str(tmp_path))
    assert cli.run(["bench", "kernels", "--json"]) == 0
    rows = {(row["isa"], row["choice"]): row for row in json.loads(capsys.readouterr().out)}
    assert rows[ISAS[0], "b1-rows"]["value"] == 5
    for isa in ISAS:
        for choice in choices(isa):
            told = rows[isa, choice.name]
            assert (told["built_in"], told["least"], told["most"]) == (choice.built_in, choice.least, choice.most)
    assert {isa for isa, _ in rows} == set(ISAS)


def test_what_tuning_stores_is_read_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEQ_HOME", str(tmp_path))
    said, program = [], open_program("local")
    assert kernels.tune(program, said.append, isas=ISAS[:1]) == str(tmp_path / "kernels.txt")
    file = tmp_path / "kernels.txt"
    stored = {tuple(line.split()[:2]): line.split()[2] for line in file.read_text().splitlines()[2:]}
    assert stored.keys() == {(ISAS[0], choice.name) for choice in choices(ISAS[0])}
    assert len(said) == len(stored)
    in_force = {(c.isa, c.choice): str(c.value) for c in kernels.table(program) if c.isa == ISAS[0]}
    assert in_force == stored
    file.write_text(file.read_text() + "neon b1-rows 5\n")
    assert started(tmp_path) == ("5", "")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"--kernels": "avx2 b1-rows 3"}, "x: 'avx2 b1-rows 3' is no line about kernels"),
        ({"--kernels": "avx2 b1-rows 3 3 0 63", "--fastest": "64"}, "x: avx2 b1-rows: '64' is no value of it"),
        ({"--kernels": "avx2 b1-rows 3 3 0 63", "--fastest": "many"}, "x: avx2 b1-rows: 'many' is no value of it"),
        ({}, "x: unknown option --kernels"),
    ],
)
def test_what_another_machine_answers_is_checked(answers, why):
    def call(words, timeout_s):
        answer = answers.get(words[0])
        return Reply(0, answer, "") if answer else Reply(1, "", f"unknown option {words[0]}")

    stored = []
    with pytest.raises(DeviceError) as caught:
        kernels.tune(AgentProgram("x", call, stored.append, lambda: None))
    assert str(caught.value) == why
    assert not stored


@pytest.mark.parametrize("url", ["sim:cortex-m4", "tcp://127.0.0.1:1", "serial:///dev/null"])
def test_devices_that_choose_no_kernels(url, capsys):
    assert cli.run(["bench", "kernels", "-d", url]) == 7
    assert "when it was compiled" in capsys.readouterr().err or url.startswith("tcp")


@pytest.mark.parametrize("text", [b"", b"\xff" * 50, GOOD.encode() + b"neon b1-rows 64\n", GOOD.encode() * 2000])
def test_a_corrupt_file_is_told_in_one_line_and_left_alone(tmp_path, text):
    (tmp_path / "kernels.txt").write_bytes(text)
    value, told = started(tmp_path)
    assert value == "3"
    assert "kernels.txt: line " in told
    assert told.count("\n") == 1


def started(home):
    """A new process: the choice b1-rows of NEON, and what it says on standard error."""
    code = "from edgeq._native.choices import choices; print(choices('neon')[0].value)"
    environment = {**{k: v for k, v in os.environ.items() if k != "EDGEQ_KERNELS"}, "EDGEQ_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr
