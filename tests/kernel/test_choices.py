"""Tables of choices: they change which kernel runs and no result, and what is no table changes nothing."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from edgeq import _native, cli
from edgeq._errors import FormatError, UsageError
from edgeq._native import prepared
from edgeq._native.choices import TITLE, choices, read_table
from edgeq.bench import kernels

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


@pytest.mark.parametrize("isa", ISAS)
def test_every_value_of_every_choice_gives_the_same_bits(isa):
    _native.select_isa(isa)
    shape = (9, 96, 130)
    for choice in choices(isa):
        if choice.name not in kernels.WORK:
            continue
        for rows in (1, 2, 3, 4, 9):
            results = []
            for value in {choice.least, choice.built_in, choice.most, choice.least + max(1, choice.least)}:
                choice.set(value)
                call, result = kernels.WORK[choice.name].product((rows, *shape[1:]))
                call()
                results.append(result)
            assert all(np.array_equal(results[0], other) for other in results), (choice, rows)


@pytest.mark.parametrize("isa", ISAS)
def test_a_choice_chooses(isa):
    """Canonical weights need no memory for tiles."""
    _native.select_isa(isa)
    rows = next(choice for choice in choices(isa) if choice.name == "b1-rows")
    x, w, out = np.zeros((2, 96), np.uint8), np.zeros((256, 96), np.uint8), np.empty((2, 256), np.float32)

    def scratch():
        call = prepared.operator("linear_b1b1", prepared.linear(2, 768, 256), (x, w), prepared.epilogue({"out": out}))
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


def test_the_command_shows_what_is_in_force(capsys):
    choices(ISAS[0])[0].set(5)
    assert cli.run(["bench", "kernels", "--json"]) == 0
    rows = {(row["isa"], row["choice"]): row["value"] for row in json.loads(capsys.readouterr().out)}
    assert rows[ISAS[0], "b1-rows"] == 5
    assert {isa for isa, _ in rows} == set(ISAS)


def test_what_tuning_stores_is_read_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEQ_HOME", str(tmp_path))
    small = {name: replace(work, shapes=((128, 64),), rows=(1, 2)) for name, work in kernels.WORK.items()}
    monkeypatch.setattr(kernels, "WORK", small)
    said = []
    file = kernels.tune(said.append, isas=ISAS[:1], rounds=1)
    assert file == tmp_path / "kernels.txt"
    assert len(said) == len(small)
    file.write_text(file.read_text() + "neon b1-rows 5\n")
    assert started(tmp_path) == ("5", "")


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
