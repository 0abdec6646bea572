"""Tunable programs: the identities of the tuning contract, the base that is measured, one file for two methods."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_tunable import SHAPE, poke_network, shift_network, task, tuning_of

from edgeq import models, ops
from edgeq._errors import FormatError, UnsupportedError, UsageError
from edgeq.compile import executorch, host
from edgeq.compile.layout import METHOD, PARTS, STEP, Base, Layout, parse_parts
from edgeq.compile.tunable import base_head, layout_of, tunable_method
from edgeq.compile.tuning_base import measure_base, triangle_of
from edgeq.package import verify_package

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


@pytest.fixture(scope="module", params=["shift-i8", "poke"])
def compiled(request, x):
    """A network, what stands behind its methods, the program with all three and the one with `forward` alone."""
    model, example = NETWORKS[request.param](), (x[:1],)
    layout = layout_of(model, example, PARTS)
    second = {name: tunable_method(model, example, layout, None, lean=name == STEP) for name in (METHOD, STEP)}
    methods = {"forward": (model, example), **second}
    program = executorch.lower_methods(methods, plain=set(second), borrowed=dict.fromkeys(second, 3))
    return model, second, program, executorch.lower(model, example)


def test_the_program_holds_its_weights_once(compiled):
    model, _, program, alone = compiled
    codes = max((b.numpy().tobytes() for b in model.buffers() if b.dtype == torch.uint8), key=len)
    assert program.count(codes) == alone.count(codes) == 1


@torch.no_grad()
def test_the_program_gives_eager_bits(compiled, x):
    model, second, pte, _ = compiled
    program, layout = host.Program(pte), layout_of(model, (x[:1],), PARTS)
    w, b = base_head(model)
    for ac in (torch.zeros(1, 2 * layout.channels), corrections(layout, 1)):
        tuned = second[METHOD][0](x[:1], ac, w, b)
        assert all(map(torch.equal, program.run(METHOD, (x[:1], ac, w, b)), tuned))
        step = program.run(STEP, (x[:1], ac, w, b))
        assert len(step) == 2 and all(map(torch.equal, step, tuned))
    if hasattr(model, "quantise"):  # XNNPACK has no part in its forward
        assert torch.equal(program.run("forward", (x[:1],))[0], model(x[:1]))


@pytest.mark.parametrize("name", ["denseshift-kws", pytest.param("pokebnn-fashion", marks=pytest.mark.long)])
def test_a_tuning_pass_takes_the_arena_of_inference(name):
    """The bar: 1.2 times the arena of forward, and the taps."""
    package = verify_package(Path(__file__).parents[2] / "zoo" / name / "package")
    model = models.from_package(package.config(), package.tensors())
    methods = models.methods(package.config(), model)
    layout = layout_of(model, methods["forward"][1], PARTS)
    second = tunable_method(model, methods["forward"][1], layout, None)
    pte = executorch.lower_methods({**methods, METHOD: second}, plain={METHOD}, borrowed={METHOD: 3})
    from executorch.exir._serialize._program import deserialize_pte_binary  # warns when it is imported first

    plans = deserialize_pte_binary(pte).program.execution_plan
    arena = {plan.name: sum(plan.non_const_buffer_sizes) for plan in plans}
    assert arena[METHOD] <= 1.2 * arena["forward"] + 4 * layout.width
    assert arena[METHOD] <= 1.05 * arena["forward"]  # what it is


def test_the_layout_is_that_of_the_measured_base():
    model = shift_network()
    assert tuning_of(model).layout.sha256 == layout_of(model, (torch.zeros(1, *SHAPE),), PARTS).sha256
