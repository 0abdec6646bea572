"""Programs whose codes can be learned: bits of the packed network, of eager and .pte; runs of T2, T3, ZeroQAT."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_tunable import SHAPE, EagerNet, poke_network, shift_network, task, tuning_of

from edgeq import ops
from edgeq._errors import FormatError, UnsupportedError, UsageError
from edgeq._native.tune import read_delta
from edgeq.bench.tuned import fixed_inputs, tune_model
from edgeq.compile import executorch, host
from edgeq.compile.layout import METHOD, PARTS, STEP, Layout, Tuning, parse_parts
from edgeq.compile.tunable import base_codes, base_head, layout_of, tunable_method
from edgeq.tune import Learner, Samples, Wishes
from edgeq.tune.forward import DeviceForward, parts_for, program_method
from edgeq.tune.journal import Journal

EXAMPLE = (torch.zeros(1, *SHAPE),)


@pytest.fixture(scope="module")
def model():
    return shift_network()


@pytest.fixture(scope="module")
def tuning(model) -> Tuning:
    """With latents of every layer that can have them."""
    plain = tuning_of(model)
    layout = layout_of(model, EXAMPLE, parse_parts("latents:all"))
    return replace(plain, layout=layout, codes=base_codes(model, layout))


@pytest.fixture(scope="module")
def x():
    return torch.from_numpy(task(3, 5)[0])


def moved(tuning: Tuning, by: float) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(3)
    return [torch.from_numpy(codes).float() + by * torch.randn(codes.shape, generator=g) for codes, _ in tuning.codes]


@torch.no_grad()
def test_latents_at_the_codes_of_the_base_are_the_base(model, tuning, x):
    module, _ = tunable_method(model, EXAMPLE, tuning.layout, tuning.base.sigma)
    packed, _ = tunable_method(model, EXAMPLE, tuning.layout.without_latents, tuning.base.sigma)
    ac = 0.2 * torch.randn(3, 2 * tuning.layout.channels, generator=torch.Generator().manual_seed(7))
    fixed = (x, ac, *base_head(model))
    found = module(*fixed, *moved(tuning, 0))
    assert all(map(torch.equal, found[:4], packed(*fixed)))
    assert [tuple(reads.shape) for reads in found[4:]] == [(3, a.shape[1]) for a, _ in tuning.codes]
    entered = model.quantise(x)
    assert torch.equal(found[4], ops.mean_patches(entered, 3, 3, model.stem.stride, 1))


@torch.no_grad()
def test_the_program_gives_eager_bits(model, tuning, x):
    second = {
        name: tunable_method(model, EXAMPLE, tuning.layout, tuning.base.sigma, lean=name == STEP)
        for name in (METHOD, STEP)
    }
    theta = {name: len(inputs) - 1 for name, (_, inputs) in second.items()}
    methods = {"forward": (model, EXAMPLE), **second}
    program = host.Program(executorch.lower_methods(methods, plain=set(second), borrowed=theta))
    ac = 0.2 * torch.randn(1, 2 * tuning.layout.channels, generator=torch.Generator().manual_seed(7))
    for by in (0, 0.6):
        inputs = (x[:1], ac, *base_head(model), *moved(tuning, by))
        for name, (module, _) in second.items():
            assert all(map(torch.equal, program.run(name, inputs), module(*inputs)))


def test_layers_are_chosen_by_name(model):
    def chosen(text: str) -> list[str]:
        layout = layout_of(model, EXAMPLE, parse_parts(text))
        assert Layout.from_dict(layout.to_dict()) == layout
        return [layout.layers[latent.layer].name for latent in layout.latents]

    assert chosen("latents:blocks.1.first+stem") == ["stem", "blocks.1.first"]
    assert chosen("head,scales,latents:blocks.0") == ["blocks.0.first", "blocks.0.second"]
    assert chosen("") == []
    with pytest.raises(UsageError, match='no tunable layer "block"'):
        chosen("latents:block")
    with pytest.raises(UsageError, match="need scales"):
        parse_parts("head,latents:all")
    with pytest.raises(UnsupportedError, match="no layer of this network"):
        layout_of(poke_network(), EXAMPLE, parse_parts("latents:all"))
    with pytest.raises(UnsupportedError, match="codes of stem"):
        layout_of(shift_network("f32"), EXAMPLE, parse_parts("latents:stem"))


def test_codes_and_scales_go_with_the_artefact(tuning):
    again = Tuning.of(tuning.base_sha256, tuning.layout, tuning.numbers(), tuning.base.to_bytes(tuning.layout), "n")
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(again.codes, tuning.codes, strict=True))
    assert again.identity == tuning.identity != replace(tuning, layout=tuning.layout.without_latents).identity
    with pytest.raises(FormatError, match="does not fit the layout"):
        Tuning.of(tuning.base_sha256, tuning.layout.without_latents, tuning.numbers(), None, "n")


@pytest.mark.parametrize("method", ["t2", "t3", "zeroqat"])
def test_codes_are_learned_and_deployed(model, tuning, method, tmp_path):
    x, y = task(40, 11, gain=0.6, offset=0.7)
    samples, deltas, name = Samples((x,), y, "shifted"), [], program_method(method)
    module, example = tunable_method(model, EXAMPLE, tuning.layout, tuning.base.sigma, lean=name == STEP)
    for micro in (1, 16):
        forward = DeviceForward(EagerNet(module, example), samples, tuning.layout, [a for a, _ in tuning.codes])
        changes = {"steps": 8, "batch": 8, "micro": micro, "evaluate_every": 4, "lr_latent": 0.3, "flip_every": 4}
        journal = Journal(tmp_path / str(micro))
        seen = []

        def watched(request, forward=forward, seen=seen):
            seen.append(max(abs(np.rint(a) - b).max() for a, (b, _) in zip(request.latents, tuning.codes, strict=True)))
            return forward(request)

        learner = Learner(tuning, samples, Wishes(method, flags=("unguarded",), changes=changes), watched)
        assert learner.run(journal).outcome == "committed"
        deltas.append(journal.whole("delta"))
    assert deltas[0] == deltas[1]
    delta = read_delta(tune_model(tuning), deltas[0])
    assert seen[0] == 0 and seen[-1] >= 1  # codes are others in the end
    specs = [torch.zeros(*t.shape) for t in example[1:]]
    fixed = fixed_inputs(tuning, delta, specs)
    assert [array.shape for array in fixed] == [tuple(spec.shape) for spec in specs]
    assert np.array_equal(fixed[3], delta.codes[0])


def test_what_learns_codes_takes_all_latents_unless_told():
    assert parts_for("t3", "") == parts_for("zeroqat", "") == "latents:all"
    assert parts_for("t3", "latents:stem") == "latents:stem" and parts_for("t1", "") == ""
    assert parse_parts(parts_for("t2", "")) == (*PARTS, "latents:all")
