"""A live run is killed with SIGKILL at random moments; it ends in the bytes of a run that was left alone."""

import os
import shutil

import numpy as np
import pytest
from lives import killed
from toy import Toy, data

import edgeq.device
import edgeq.tune
from edgeq import cli
from edgeq._native import tune
from edgeq.tune.journal import Journal

MODEL = "pokebnn-fashion"  # quick: most of a life is the run itself


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.long)])
def test_kill_9_at_any_moment_changes_no_byte(tmp_path, kills):
    toy, deltas = Toy(), set()
    x, y = toy.sample(60, 1, "turn")

    def make(place):
        def run() -> int:
            chosen = tune.settings("t1", flags=("unguarded",), steps=60, batch=16, evaluate_every=5, seed=1)
            tuner = tune.Tuner(toy.model(), data(x, y), chosen)
            return int(tune.converse(tuner, toy.forward(x), Journal(place)).outcome != "committed")

        return run

    def check(place) -> None:
        deltas.add((place / "delta").read_bytes())
        assert len(deltas) == 1

    killed(make, check, tmp_path / "lives", kills)


@pytest.mark.long
@pytest.mark.parametrize("method", ["t0", "t1"])
def test_kill_9_of_the_command(tmp_path, monkeypatch, method):
    """`edgeq finetune` as a user gives it: package, journal, agent, delta, results."""
    home, deltas = tmp_path / "home", set()
    rng, y = np.random.default_rng(1), (np.arange(40) % 10).astype(np.int32)
    x = rng.standard_normal((10, *input_shape(MODEL)))[y] + rng.standard_normal((40, *input_shape(MODEL)))
    np.savez(tmp_path / "mine.npz", x=x.astype(np.float32), y=y)
    command = ["finetune", MODEL, "--data", str(tmp_path / "mine.npz"), "--method", method, "--no-apply"]
    command += ["--flag", "unguarded", "--json", "-d", "local:"]
    for change in ("steps=120", "head_steps=100", "batch=16", "evaluate_every=5", "patience=100", "converged=100"):
        command += ["--set", change]
    monkeypatch.setenv("EDGEQ_HOME", str(home))
    assert edgeq.tune and edgeq.device  # imported before the forks
    assert cli.run(["compile", MODEL, "--tunable", "all"]) == 0

    def make(place):
        if not place.exists():
            shutil.copytree(home, place)

        def run() -> int:
            os.environ["EDGEQ_HOME"] = str(place)
            return cli.run(command)

        return run

    def check(place) -> None:
        found = list(place.glob("deltas/*/*/model.safetensors"))
        assert len(found) == 1
        deltas.add(found[0].read_bytes())
        assert len(deltas) == 1
        assert not list(place.glob("tuning/*"))
        shutil.rmtree(place)

    killed(make, check, tmp_path / "lives", 200)


def input_shape(name: str) -> tuple[int, ...]:
    from edgeq import hub

    found = hub.pull(name).config()["input"]
    assert isinstance(found, dict)
    return tuple(found["shape"])
