"""Tunable programs: the identities of the tuning contract, the base that is measured, one file for two methods."""

import numpy as np
import pytest
import torch
from tiny_tunable import CLASSES, SHAPE, poke_network, shift_network, task, tuning_of

from edgeq import ops
from edgeq._errors import FormatError, UnsupportedError, UsageError
from edgeq.compile import executorch, host
from edgeq.compile.layout import METHOD, PARTS, Base, Layout, parse_parts
from edgeq.compile.tunable import base_head, layout_of, tunable_method
from edgeq.compile.tuning_base import measure_base, triangle_of

NETWORKS = {"shift-i8": shift_network, "shift-f32": lambda: shift_network("f32"), "poke": poke_network}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    return NETWORKS[request.param]()


@pytest.fixture(scope="module")
def net(network):
    """The module behind forward_tune, the base's head, and the layout."""
    layout = layout_of(network, (torch.zeros(1, *SHAPE),), PARTS)
    sigma = np.linspace(0.5, 2, len(layout.layers), dtype=np.float32)
    module, _ = tunable_method(network, (torch.zeros(1, *SHAPE),), layout, sigma)
    return module, base_head(network), layout


@pytest.fixture(scope="module")
def x():
    return torch.from_numpy(task(3, 5)[0])


def corrections(layout: Layout, rows: int) -> torch.Tensor:
    return 0.2 * torch.randn(rows, 2 * layout.channels, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def test_without_corrections_it_is_the_base(network, net, x):
    module, (w, b), layout = net
    logits, hidden, taps, moments = module(x, torch.zeros(1, 2 * layout.channels), w, b)
    assert torch.equal(hidden, network.head.seen(network.features(x)))
    expected = network(x)
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert torch.equal(logits.argmax(1), expected.argmax(1))
    assert taps.shape == (3, layout.width) and moments.shape == (3, 2, layout.channels)


@torch.no_grad()
def test_one_row_is_that_row_for_every_sample(net, x):
    module, head, layout = net
    ac = corrections(layout, 1)
    once, thrice = module(x, ac, *head), module(x, ac.expand(3, -1).contiguous(), *head)
    assert all(torch.equal(a, b) for a, b in zip(once, thrice, strict=True))


@torch.no_grad()
def test_a_sample_depends_on_no_other(net, x):
    module, head, layout = net
    ac = corrections(layout, 3)
    together = module(x, ac, *head)
    for i in range(3):
        alone = module(x[i : i + 1], ac[i : i + 1], *head)
        assert all(torch.equal(a[i : i + 1], b) for a, b in zip(together, alone, strict=True))


@torch.no_grad()
def test_moments_and_corrections_follow_the_formula(net, x):
    module, head, layout = net
    at_rest = module(x, torch.zeros(1, 2 * layout.channels), *head)[-1]
    ac = torch.zeros(1, 2 * layout.channels)
    first = layout.layers[0]
    a, c = ac[:, : first.channels], ac[:, first.channels : 2 * first.channels]
    a.fill_(0.3)
    c.fill_(0.5)
    moved = module(x, ac, *head)[-1]
    bias = dict(module.model.named_modules())[first.name].params[1]
    mean = (at_rest[:, 0, : first.channels] - bias) * np.exp(0.3) + bias + 0.5 * module.sigma[0]
    torch.testing.assert_close(moved[:, 0, : first.channels], mean, rtol=1e-4, atol=1e-5)
    spread = at_rest[:, 1, : first.channels] * np.exp(0.6)
    torch.testing.assert_close(moved[:, 1, : first.channels], spread, rtol=1e-4, atol=1e-5)


def test_layers_that_read_one_input_have_one_depth():
    layout = layout_of(shift_network(), (torch.zeros(1, *SHAPE),), PARTS)
    depths = {layer.name: layer.depth for layer in layout.layers}
    assert depths["blocks.1.shortcut"] == depths["blocks.1.first"] == depths["blocks.0.second"] + 1
    last = layout.layers[-1]
    assert last.offset + 2 * last.channels == 2 * layout.channels


def test_quarters_share_the_middle_of_odd_extents():
    h = torch.arange(15.0).reshape(1, 3, 5, 1)
    expected = [[h[0, a:b, c:d].mean() for a, b in ((0, 2), (1, 3)) for c, d in ((0, 3), (2, 5))]]
    assert torch.allclose(ops.mean_quarters(h, None), torch.tensor(expected))


def test_the_measured_base_is_that_of_its_data():
    model = shift_network()
    x, y = task(150, 3)
    layout, base = measure_base(model, x, y)
    stem = model.stem.accumulators(model.quantise(torch.from_numpy(x))) * model.stem.params[0] + model.stem.params[1]
    stem = stem.double().flatten(0, 2).numpy()
    np.testing.assert_allclose(base.m0[:6], stem.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(base.s0[:6], stem.std(0), rtol=1e-4)
    again = Base.from_bytes(base.to_bytes(layout), layout)
    assert again.n0 == 150 and np.array_equal(again.triangle, base.triangle)
    with pytest.raises(FormatError, match="another network"):
        other = Layout(layout.parts, layout.layers[::-1], layout.taps, layout.classes, layout.hidden)
        Base.from_bytes(base.to_bytes(layout), other)
    with pytest.raises(UsageError, match="labels must be 0 to 3"):
        measure_base(model, x, y + 1)


def test_the_triangle_solves_the_normal_equations():
    rng = np.random.default_rng(1)
    x, targets = rng.standard_normal((40, 6)), rng.standard_normal((40, 2))
    packed, upper, right, at = triangle_of(x, targets), np.zeros((6, 6)), np.zeros((6, 2)), 0
    for i in range(6):
        upper[i, i:], right[i] = packed[at : at + 6 - i], packed[at + 6 - i : at + 8 - i]
        at += 8 - i
    np.testing.assert_allclose(np.linalg.solve(upper, right), np.linalg.lstsq(x, targets, rcond=None)[0], atol=1e-7)


def test_parts_are_named():
    assert parse_parts("") == PARTS
    assert parse_parts("scales") == ("head", "scales")
    with pytest.raises(UsageError, match='part "weights"'):
        parse_parts("weights")


def test_networks_without_a_tunable_form_say_so():
    with pytest.raises(UnsupportedError, match="Linear"):
        layout_of(torch.nn.Linear(2, 2), (torch.zeros(1, 2),), PARTS)


def test_the_program_holds_its_weights_once_and_gives_eager_bits(x):
    model = shift_network()
    example = (x[:1],)
    layout = layout_of(model, example, PARTS)
    module, inputs = tunable_method(model, example, layout, None)
    alone = executorch.lower(model, example)
    both = executorch.lower_methods({"forward": (model, example), METHOD: (module, inputs)}, plain={METHOD})
    codes = model.blocks[1].second.weight.numpy().tobytes()
    assert both.count(codes) == alone.count(codes) == 1
    w, b = base_head(model)
    program = host.Program(both)
    for ac in (torch.zeros(1, 2 * layout.channels), corrections(layout, 1)):
        found = program.run("forward_tune", (x[:1], ac, w, b))
        with torch.no_grad():
            expected = module(x[:1], ac, w, b)
        assert torch.equal(found[1], expected[1]) or ac.any()  # exp differs in its last bit, and so a code may
        for got, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-3, atol=2e-2 if ac.any() else 1e-5)
    assert torch.equal(program.run("forward", example)[0], model(x[:1]))
    assert w.shape == (CLASSES, layout.hidden)
    assert tuning_of(model).layout.sha256 == layout.sha256
