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
from edgeq._native.tune_types import AREAS
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


def test_a_run_that_is_over_leaves_its_journal_whole_or_not_at_all(tmp_path, monkeypatch):
    """Killed before and after every call that removes something of it, in either order of the areas."""
    real = {name: getattr(os, name) for name in ("rename", "unlink", "rmdir")}
    remaining, order = 0, 1

    class Killed(BaseException): ...

    def counted(name):
        def call(*args, **kwargs):
            nonlocal remaining
            if remaining == 0:
                raise Killed
            remaining -= 1
            return real[name](*args, **kwargs)

        return call

    scandir = os.scandir

    class Ordered:
        """The entries of a folder, backwards if order is -1."""

        def __init__(self, *args):
            with scandir(*args) as found:
                self._found = sorted(found, key=lambda entry: entry.name)[::order]

        def __enter__(self):
            return iter(self._found)

        def __exit__(self, *_):
            return None

    for order in (1, -1):
        for moment in range(20):
            journal = Journal(tmp_path / f"{order}{moment}" / "run")
            for area in AREAS:
                journal.write(area, 0, area.encode())
            remaining = moment
            with monkeypatch.context() as patched:
                patched.setattr(os, "scandir", Ordered)
                for name in real:
                    patched.setattr(os, name, counted(name))
                try:
                    journal.remove()
                    ended = True
                except Killed:
                    ended = False
            left = {area: journal.whole(area) for area in AREAS}
            assert left in ({area: area.encode() for area in left}, dict.fromkeys(left, b""))
            journal.write(AREAS[0], 0, b"again")
            journal.remove()
            assert not list(journal.folder.parent.iterdir())
        assert ended  # the last moment lies behind everything


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
