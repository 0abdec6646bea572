"""Both signs of a step in one call: the bits of two calls, and runs that end in the same bytes."""

import numpy as np
import pytest
import torch
from tiny_tunable import SHAPE, EagerNet, poke_network, shift_network, task, tuning_of

from edgeq.compile import executorch, host
from edgeq.compile.layout import PAIR, PARTS, STEP
from edgeq.compile.tunable import base_head, can_pair, layout_of, tunable_method
from edgeq.tune import Learner, Samples, Wishes
from edgeq.tune.forward import DeviceForward, program_method
from edgeq.tune.journal import Journal


@pytest.mark.parametrize("make", [shift_network, lambda: shift_network("f32"), poke_network])
@torch.no_grad()
def test_a_pair_gives_the_bits_of_two_passes(make):
    model, x = make(), torch.from_numpy(task(1, 5)[0])
    assert can_pair(model)
    layout = layout_of(model, (x,), PARTS)
    ac = 0.2 * torch.randn(2, 2 * layout.channels, generator=torch.Generator().manual_seed(7))
    sigma = np.linspace(0.5, 2, len(layout.layers), dtype=np.float32)
    single, _ = tunable_method(model, (x,), layout, sigma, lean=True)
    pair, example = tunable_method(model, (x,), layout, sigma, lean=True, pair=True)
    assert [tuple(y.shape) for y in pair(*example)] == [(2, layout.classes), (2, layout.hidden)]
    together = pair(x, ac, *base_head(model))
    for i in range(2):
        alone = single(x, ac[i : i + 1], *base_head(model))
        assert all(torch.equal(a[i : i + 1], b) for a, b in zip(together, alone, strict=True))


@torch.no_grad()
def test_the_program_parts_the_ways_at_the_first_layer():
    model, x = shift_network(), torch.from_numpy(task(1, 5)[0])
    layout = layout_of(model, (x,), PARTS)
    pair = tunable_method(model, (x,), layout, None, lean=True, pair=True)
    pte = executorch.lower_methods({"forward": (model, (x,)), PAIR: pair}, plain={PAIR}, borrowed={PAIR: 3})
    ac = 0.2 * torch.randn(2, 2 * layout.channels, generator=torch.Generator().manual_seed(7))
    inputs = (x, ac, *base_head(model))
    assert all(map(torch.equal, host.Program(pte).run(PAIR, inputs), pair[0](*inputs)))
    calls = [str(node.target) for node in executorch.fused(*pair).graph.nodes]
    assert sum("quantise_i8" in call for call in calls) == 1


@pytest.mark.parametrize("method", ["t0", "t1"])
def test_runs_by_pairs_end_in_the_bytes_of_single_passes(method, tmp_path):
    model, (x, y) = shift_network(), task(40, 11, gain=0.6, offset=0.7)
    tuning, samples = tuning_of(model), Samples((x,), y, "shifted")
    deltas, example = {}, (torch.zeros(1, *SHAPE),)
    for name, micro in ((STEP, 1), (STEP, 7), (PAIR, 7), (PAIR, 16)):
        net = EagerNet(*tunable_method(model, example, tuning.layout, tuning.base.sigma, lean=True, pair=name == PAIR))
        forward = DeviceForward(net, samples, tuning.layout)
        changes = {"steps": 6, "batch": 9, "micro": micro, "evaluate_every": 4}
        journal = Journal(tmp_path / f"{name}{micro}")
        report = Learner(tuning, samples, Wishes(method, flags=("unguarded",), changes=changes), forward).run(journal)
        assert report.forwards == forward.passes
        deltas[name, micro] = journal.whole("delta")
    assert len(set(deltas.values())) == 1 and all(deltas.values())


def test_which_method_of_a_program_serves():
    assert program_method("t1", [STEP, PAIR]) == program_method("t0", [PAIR], micro=16) == PAIR
    assert program_method("t1", [STEP, PAIR], micro=1) == program_method("t1", [STEP]) == STEP
    assert program_method("mezo", [STEP, PAIR]) == STEP
