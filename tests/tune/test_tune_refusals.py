"""`edgeq finetune` as a user gives it, with everything that it must refuse: one line each, and the base stays."""

import hashlib
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from tiny_package import CLASSES, task, write

from edgeq import cli, deltas
from edgeq._paths import native
from edgeq.bench import host
from edgeq.device import Condition
from edgeq.tune import care
from edgeq.tune.journal import Journal

QUICK = {"head": ["head_steps=20"], "t1": ["steps=4", "head_steps=8", "batch=8"], "auto": [], "t0": ["steps=8"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("refusals")


@pytest.fixture(autouse=True)
def one_home(clean_environment, home, monkeypatch):
    """Programs are compiled once."""
    monkeypatch.setenv("EDGEQ_HOME", str(home / "edgeq"))


@pytest.fixture(scope="module")
def base(home) -> Path:
    return write(home / "base")


@pytest.fixture(autouse=True)
def the_base_stays(base):
    def digest() -> dict[str, str]:
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(base.iterdir())}

    before = digest()
    yield
    assert digest() == before


@pytest.fixture
def teach(base, tmp_path, capsys):
    """(exit code, what the command answered, its line of error) for samples x, y and further words."""

    def run(x, y, *words, method="head", package=base):
        np.savez(tmp_path / "mine.npz", x=x, **({} if y is None else {"y": y}))
        command = ["finetune", str(package), "--data", str(tmp_path / "mine.npz"), "--method", method, "-d", "local:"]
        changes = [word for change in QUICK.get(method, []) for word in ("--set", change)]
        capsys.readouterr()
        code = cli.run([*command, "--allow-unsigned", "--json", *changes, *map(str, words)])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out.strip() else None, said.err.splitlines()[-1]

    return run


def refused(found, code, text):
    assert found[0] == code, found
    assert text in found[2], found
    assert "Traceback" not in found[2]


def test_samples_that_cannot_be_learned_from(teach):
    x, y = task(40, 5, gain=0.7, offset=0.4)
    nan, high, negative = x.copy(), y.copy(), y.copy()
    nan[3, 0, 0, 0], high[7], negative[9] = np.nan, CLASSES, -1
    refused(teach(nan, y), 2, "1 of 40 samples hold NaN or infinity, first 3")
    refused(teach(x, high), 2, f"label 7 is {CLASSES}, the model knows 0 to {CLASSES - 1}")
    refused(teach(x, negative), 2, "label 9 is -1")
    refused(teach(x[:0], y[:0]), 2, "holds no sample")
    refused(teach(x, None), 2, "no labels")
    refused(teach(x[:, :5], y), 2, "the network takes")
    refused(teach(x[:20], y[:20], method="t1"), 2, "too few samples")
    refused(teach(x, y, "--set", "lr_head=-1"), 2, "setting")


def test_a_journal_of_another_run_is_refused(teach, home, monkeypatch):
    """As if the folder of one had got the name of another: other settings, other data, another version, other bytes."""
    monkeypatch.setattr(Journal, "remove", lambda journal: None)
    x, y = task(40, 5, gain=0.7, offset=0.4)
    others = ((y + 1) % CLASSES).astype(np.int32)

    def place_of(y, *words) -> Path:
        before = set((home / "edgeq/tuning").glob("*"))
        assert teach(x, y, *words)[0] == 0
        (place,) = set((home / "edgeq/tuning").glob("*")) - before
        return place

    def again(place, y, *words, change=lambda slot: None):
        shutil.rmtree(place)
        shutil.copytree(whole, place)
        for slot in place.glob("slot*"):
            blob = bytearray(slot.read_bytes())
            change(blob)
            slot.write_bytes(blob)
        return teach(x, y, *words)

    def refused(found, text):
        code, answer, line = found
        assert (code, answer) == (1, None)
        assert line.startswith("edgeq: tiny: nothing was learned: ") and text in line

    whole = place_of(y)
    shutil.copytree(whole, home / "whole")
    whole, own = home / "whole", whole
    rate = ("--set", "lr_head=0.2")
    refused(again(place_of(y, *rate), y, *rate), "run with other settings; start afresh")
    refused(again(place_of(others), others), "run on other samples or labels; start afresh")

    def flip(at):
        def change(slot):
            slot[at] ^= 2
            slot[172:176] = zlib.crc32(slot[:172]).to_bytes(4, "little")

        return change

    def torn(slot):
        slot[-1] ^= 1

    refused(again(own, y, change=flip(4)), "another version of EdgeQ")
    refused(again(own, y, change=flip(8)), "another base model")
    refused(again(own, y, change=flip(40)), "another layout")
    assert again(own, y, change=torn)[0] == 0  # as after a crash while writing: the run is made once more


def test_a_journal_that_lost_its_delta_becomes_no_delta(teach, home, monkeypatch):
    """The run is over, so it is not made again; what lies there instead of its delta is not kept."""
    monkeypatch.setattr(Journal, "remove", lambda journal: None)
    x, y = task(40, 6, gain=0.7, offset=0.4)
    words, before = ("--flag", "unguarded"), set((home / "edgeq/tuning").glob("*"))
    code, answer, _ = teach(x, y, *words)
    assert (code, answer["verdict"]) == (0, "kept")
    (place,) = set((home / "edgeq/tuning").glob("*")) - before
    whole, kept = (place / "delta").read_bytes(), {delta.id for delta in deltas.listed()}
    for damage in (b"", whole[:-1], bytes([whole[0] ^ 1]) + whole[1:]):
        (place / "delta").write_bytes(damage)
        code, answer, line = teach(x, y, *words)
        assert code != 0 and answer is None
        assert str(place) in line and line.endswith("--flag fresh starts over")
    assert {delta.id for delta in deltas.listed()} == kept
    assert teach(x, y, *words, "--flag", "fresh")[0] == 0


def test_a_delta_of_something_else_is_refused(teach, base, capsys, tmp_path):
    x, y = task(60, 5, gain=0.6, offset=0.7)
    code, found, _ = teach(x, y, "--no-apply", "--flag", "unguarded")
    assert (code, found["outcome"]) == (0, "committed")
    path = Path(found["delta"]["path"])

    def deploy(package, delta):
        capsys.readouterr()
        code = cli.run(["deploy", str(package), "--delta", str(delta), "-d", "local:", "--allow-unsigned"])
        return code, None, capsys.readouterr().err.splitlines()[-1]

    assert deploy(base, found["delta"]["id"])[0] == 0
    blob = deltas.read(path, allow_unsigned=True).blob
    facts = dict(deltas.read(path, allow_unsigned=True).facts)

    def forged(name, blob=blob, **changes):
        return deltas.keep(bytes(blob), {**facts, **changes}, None, tmp_path / name).path

    refused(deploy(base, forged("base", base_sha256="00" * 32)), 3, "learned on base 000000000000")
    refused(deploy(base, forged("layout", identity="00" * 32)), 3, "another layout")
    for at, text in ((0, "format"), (4, "version"), (8, ""), (40, ""), (300, ""), (len(blob) - 1, "")):
        bad = bytearray(blob)
        bad[at] ^= 1
        refused(deploy(base, forged(f"byte{at}", bad)), 3, text)
    (path / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:-1] + b"x")
    refused(deploy(base, path), 3, "sha256")
    shutil.rmtree(path)


@pytest.mark.parametrize("method", ["head", "t1"])
def test_a_thousandfold_rate_leaves_the_base_or_something_no_worse(teach, method):
    x, y = task(60, 5)  # the base's own world: little to gain
    rates = ("lr_head=100", "lr_bias=10", *(("lr_ac=3",) if method == "t1" else ()))
    code, found, _ = teach(x, y, *(word for rate in rates for word in ("--set", rate)), method=method)
    assert code == 0
    report = found["report"]
    assert found["outcome"] in ("rejected", "diverged") or report["best"]["metric"] >= report["base"]["metric"]
    assert (found["delta"] is None) == (found["outcome"] != "committed")


@pytest.mark.parametrize(
    ("method", "seeds"), [("head", 3), *(pytest.param(m, 20, marks=pytest.mark.long) for m in QUICK)]
)
def test_shuffled_labels_are_refused(teach, method, seeds):
    x, _ = task(60, 5, gain=0.6, offset=0.7)
    kept = []
    for seed in range(seeds):
        y = np.random.default_rng(seed).integers(0, CLASSES, len(x)).astype(np.int32)
        _, found, _ = teach(x, y, "--seed", seed, "--no-apply", method=method)
        kept += [seed] if found["outcome"] == "committed" else []
    print(f"\n{method}: {len(kept)} of {seeds} seeds kept")
    assert len(kept) <= seeds // 20


def test_a_warm_or_empty_device_stops_and_goes_on_later(teach, monkeypatch):
    x, y = task(60, 5, gain=0.6, offset=0.7)
    words = ("--max-celsius", 40, "--min-battery", 30, "--flag", "unguarded", "--set", "steps=30")
    told = [Condition(35.0, battery_percent=80)]  # the last one stays
    monkeypatch.setattr(host, "condition", lambda: told[0] if len(told) == 1 else told.pop(0))
    monkeypatch.setattr(care, "EVERY_S", 0.0)
    _, whole, _ = teach(x, y, *words, "--no-apply", method="t1")
    assert whole["outcome"] == "committed"

    def stopped(looks, last, why):
        told[:] = [Condition(35.0, battery_percent=80)] * looks + [last]
        _, found, line = teach(x, y, *words, "--no-apply", method="t1")
        assert (found["outcome"], found["delta"]) == ("stopped", None)
        assert why in line

    stopped(8, Condition(41.0, battery_percent=80), "stopped: 41 degrees, above 40; the same command goes on")
    stopped(9, Condition(30.0, battery_percent=29), "stopped: battery at 29 %, below 30")
    told[:] = [Condition(30.0, battery_percent=5, charging=True)]
    _, found, _ = teach(x, y, *words, "--no-apply", method="t1")
    assert found["delta"]["id"] == whole["delta"]["id"]
    assert found["passes"] < whole["passes"]


def test_a_device_that_does_not_tell_cannot_be_watched(teach, monkeypatch):
    x, y = task(40, 5, gain=0.7, offset=0.4)
    monkeypatch.setattr(host, "condition", Condition)
    refused(teach(x, y, "--min-battery", 30), 7, "tells of no battery; learn without --min-battery")
    refused(teach(x, y, "--max-celsius", 40), 7, "tells no temperature; learn without --max-celsius")


def test_costs_and_a_score_of_ones_own(teach, tmp_path):
    x, y = task(60, 5, gain=0.6, offset=0.7)
    costs = np.ones((CLASSES, CLASSES)) - np.eye(CLASSES)
    costs[1, costs[1] > 0] = 10
    np.savetxt(tmp_path / "costs.csv", costs, delimiter=",")
    code, found, _ = teach(x, y, "--cost", tmp_path / "costs.csv", method="auto")
    assert (code, found["outcome"]) == (0, "committed")
    assert found["report"]["base"]["metric"] < found["report"]["best"]["metric"] <= 0  # minus mean costs
    assert found["measure"] == "cost"
    plain = teach(x, y, method="auto")[1]
    assert found["report"]["base"]["metric"] != plain["report"]["base"]["metric"]

    (tmp_path / "mine.py").write_text(
        "def wrong(logits, labels):\n    return (logits.argmax(1) != labels) * 1.0\n"
        "def short(logits, labels):\n    return logits[:1, 0]\n"
    )
    score = ("--score", f"{tmp_path}/mine.py:wrong")
    code, found, _ = teach(x, y, *score, "--flag", "unguarded", method="t0")
    assert (code, found["outcome"]) == (0, "committed")
    assert found["measure"] == "score"
    assert found["report"]["base"]["loss"] == -found["report"]["base"]["metric"] > 0.5  # the share of wrong ones
    refused(teach(x, y, *score), 2, "a score of your own is for t0, zeroqat, mezo, not for head")
    refused(teach(x, y, *score, "--on-device", method="t0"), 7, "runs on the host")
    refused(teach(x, y, "--score", f"{tmp_path}/mine.py:short", method="t0"), 2, "a finite number for each of")
    refused(teach(x, y, "--score", f"{tmp_path}/mine.py:none", method="t0"), 2, "AttributeError")
    refused(teach(x, y, "--score", "mine", method="t0"), 2, "expected FILE.py:FUNCTION")
    (tmp_path / "flat.csv").write_text("1,2,3\n")
    refused(teach(x, y, "--cost", tmp_path / "flat.csv", method="auto"), 3, "a square of finite numbers")


def test_automatic_mode_takes_the_head_where_memory_is_short(teach, tmp_path, monkeypatch):
    """Agents of 60 kB and of 30 kB for a run; with all the memory it solves."""
    x, y = task(60, 5, gain=0.6, offset=0.7)
    agent = native("edgeq-agent", "EDGEQ_AGENT")
    _, whole, _ = teach(x, y, "--on-device", "--no-apply", method="auto")
    assert whole["judged_by"] == "leave-one-out" and not any("too little memory" in w for w in whole["warnings"])

    def with_memory(count):
        wrapper = tmp_path / f"agent{count}"
        wrapper.write_text(f'#!/bin/sh\nexec {agent} "$@" --memory-limit {count}\n')
        wrapper.chmod(0o755)
        monkeypatch.setenv("EDGEQ_AGENT", str(wrapper))
        return teach(x, y, "--on-device", "--no-apply", "--set", "head_steps=20", method="auto")

    _, short, line = with_memory(whole["module_bytes"])  # less than the module and its plan
    assert "too little memory for solve; a head instead" in line
    assert short["module_bytes"] < whole["module_bytes"]
    refused(with_memory(8192), 7, "need less")
