"""The module beside a compiled program on a device: micro-batches and a lost snapshot change no byte."""

import sys
from pathlib import Path

import pytest
import torch

from edgeq.compile import executorch
from edgeq.compile.layout import METHOD, PAIR, STEP
from edgeq.compile.tunable import tunable_method
from edgeq.device import connect
from edgeq.tune import Learner, Samples, Wishes
from edgeq.tune.forward import DeviceForward, program_method
from edgeq.tune.journal import Journal

sys.path.append(str(Path(__file__).parents[2] / "tests/unit"))
from tiny_tunable import SHAPE, shift_network, task, tuning_of

SHORT = {"steps": 6, "batch": 9, "evaluate_every": 4, "head_steps": 12}
COUNT = 70  # more than the largest micro-batch


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """File of the compiled network, what a run must know of it, and samples."""
    network, example = shift_network(), (torch.zeros(1, *SHAPE),)
    tuning = tuning_of(network)
    further = {
        name: tunable_method(network, example, tuning.layout, tuning.base.sigma, lean=name != METHOD, pair=name == PAIR)
        for name in (METHOD, STEP, PAIR)
    }
    methods = {"forward": (network, example), **further}
    file = tmp_path_factory.mktemp("programs") / "tiny.pte"
    file.write_bytes(executorch.lower_methods(methods, plain=set(further), borrowed=dict.fromkeys(further, 3)))
    x, y = task(COUNT, 5, gain=0.7, offset=0.4)
    return file, tuning, Samples((x,), y, "tiny")


def learned(program, method, place, micro, **changes):
    """Delta and state of a run, and the passes that it asked for."""
    file, tuning, samples = program
    wishes = Wishes(method, seed=3, flags=("unguarded",), changes={**SHORT, **changes, "micro": micro})
    with connect("local") as device:
        called = program_method(method, [METHOD, STEP, PAIR], micro=micro)
        forward = DeviceForward(device.load(device.put(file).name, called), samples, tuning.layout)
        learner, journal = Learner(tuning, samples, wishes, forward), Journal(place)
        assert learner.run(journal).outcome == "committed"
    return journal.whole("delta"), learner.tuner.state_hash(), forward.passes


@pytest.mark.parametrize("method", ["stats", "solve", "head", "t0", "t1", "mezo", "auto"])
def test_micro_batches_of_a_program_change_no_byte(program, method, tmp_path):
    found = {learned(program, method, tmp_path / str(micro), micro, batch=COUNT)[:2] for micro in (1, 7, 64)}
    assert len(found) == 1


def test_t0_over_a_program_is_replayed_from_its_log_alone(program, tmp_path):
    whole, again = tmp_path / "whole", tmp_path / "again"
    delta, state, passes = learned(program, "t0", whole, 7)
    log = (whole / "log").read_bytes()
    again.mkdir()
    (again / "log").write_bytes(log)
    assert sorted(file.name for file in again.iterdir()) == ["log"]
    replayed, its_state, its_passes = learned(program, "t0", again, 7)
    assert (replayed, its_state) == (delta, state)
    assert its_passes == passes - 2 * SHORT["steps"] * SHORT["batch"]  # evaluations alone, not one step
