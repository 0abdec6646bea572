"""Where ZeroQAT begins: learned bounds and scales, their gradients, what they come to in a delta's own parameters."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_tunable import SHAPE, EagerNet, poke_network, shift_network, task, tuning_of

from edgeq import ops
from edgeq._errors import FormatError, UnsupportedError, UsageError
from edgeq.bench.tuned import tune_model
from edgeq.compile.layout import STEP, Base, Tuning, parse_parts
from edgeq.compile.start import Start, started
from edgeq.compile.start_learning import Coded, View, _codes, coded_of, learn_start
from edgeq.compile.tunable import base_codes, base_head, layout_of, tunable_method
from edgeq.ops import Latent
from edgeq.tune import Learner, Samples, Wishes
from edgeq.tune.forward import DeviceForward
from edgeq.tune.journal import Journal

EXAMPLE = (torch.zeros(1, *SHAPE),)


@pytest.fixture(scope="module")
def model():
    return shift_network()


@pytest.fixture(scope="module")
def tuning(model) -> Tuning:
    layout = layout_of(model, EXAMPLE, parse_parts("latents:all"))
    return replace(tuning_of(model), layout=layout, codes=base_codes(model, layout))


@pytest.fixture(scope="module")
def x():
    return torch.from_numpy(task(12, 5)[0])


@pytest.fixture(scope="module")
def rough(model, tuning) -> list[Coded]:
    """As if the codes had been made from weights with a fraction, some of them beyond the largest code."""
    g = torch.Generator().manual_seed(4)
    return [
        replace(c, weights=c.weights + 0.45 * torch.randn(c.weights.shape, generator=g).numpy())
        for c in coded_of(model, tuning.layout)
    ]


def view(model, coded, x, *, shaken: bool = False) -> View:
    net = View(model, coded, x[:2])
    net.measure(x)
    g = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for p in (*net.bounds.values(), *net.scales.values()):
            p.copy_(0.3 * torch.randn(p.shape, generator=g) * shaken)
    return net


def hidden_of(model, tuning, x, ac, latents) -> torch.Tensor:
    module, _ = tunable_method(model, EXAMPLE, tuning.layout, tuning.base.sigma, lean=True)
    with torch.no_grad():
        return module(x, torch.from_numpy(ac[None]), *base_head(model), *map(torch.from_numpy, latents))[1]


def test_the_float_view_is_the_packed_network(model, tuning, x):
    """With base codes and all rounding: what the integer kernels give, but for the order of sums."""
    net = view(model, coded_of(model, tuning.layout), x)
    found, moments = net.outputs(x), []
    with torch.no_grad():
        module, _ = tunable_method(model, EXAMPLE, tuning.layout, tuning.base.sigma)
        ac = torch.zeros(1, 2 * tuning.layout.channels)
        codes = [torch.from_numpy(c).float() for c, _ in tuning.codes]
        moments = module(x, ac, *base_head(model), *codes)[3][:, 0]
    mine = torch.cat([y.mean((1, 2)) for y in found], 1)
    assert (mine - moments).abs().max() < 1e-3 * moments.abs().max()


def test_identity_is_the_base_bit_for_bit(model, tuning, x):
    one = np.ones(tuning.layout.channels, np.float32)
    begun = started(tune_model(tuning), Start(one, one, ((0, 1),)))
    assert not begun.start_ac.any()
    assert all(np.array_equal(a.start, c) for a, (c, _) in zip(begun.latents, tuning.codes, strict=True))
    found = hidden_of(model, tuning, x, begun.start_ac, [a.start for a in begun.latents])
    with torch.no_grad():
        assert torch.equal(found, model.features(x))
    found = view(model, coded_of(model, tuning.layout), x).start()  # what learning begins with
    assert (found.bound == 1).all() and (found.scale == 1).all()


def test_only_what_one_layer_alone_reads_is_scaled(model, tuning, x):
    """First convolutions of blocks; not the stem and not what a residual adds to."""
    names = [layer.name for layer in tuning.layout.layers]
    pairs = view(model, coded_of(model, tuning.layout), x).start().pairs
    assert [(names[p], names[q]) for p, q in pairs] == [
        ("blocks.0.first", "blocks.0.second"),
        ("blocks.1.first", "blocks.1.second"),
    ]


def test_scales_are_equivalent_where_nothing_is_rounded(model, rough, x):
    net = view(model, rough, x)
    plain, _ = net._run(x, net._scaled, scaled=True, rounded=False)
    net = view(model, rough, x, shaken=True)
    moved, _ = net._run(x, net._scaled, scaled=True, rounded=False)
    assert all((a - b).abs().max() < 1e-4 * a.abs().max() for a, b in zip(plain, moved, strict=True))


@pytest.mark.parametrize("what", ["bounds", "scales"])
def test_gradients_are_those_of_differences(model, rough, x, what):
    """Without rounding, where the loss is as smooth as its clipping; in double precision, along random directions."""
    net = view(model, rough, x, shaken=True)
    net.weights = {i: w.double() for i, w in net.weights.items()}
    for p in (*net.bounds.values(), *net.scales.values()):
        p.data = p.data.double()
    parameters = list(getattr(net, what).values())
    net.loss(x.double(), rounded=False).backward()
    g = torch.Generator().manual_seed(2)
    for _ in range(3):
        along = [torch.randn(p.shape, generator=g, dtype=torch.float64) for p in parameters]
        wanted = sum(float((p.grad * d).sum()) for p, d in zip(parameters, along, strict=True))
        sides = []
        with torch.no_grad():
            for step in (1e-6, -2e-6):
                for p, d in zip(parameters, along, strict=True):
                    p += step * d
                sides.append(float(net.loss(x.double(), rounded=False)))
            for p, d in zip(parameters, along, strict=True):
                p += 1e-6 * d
        found = (sides[0] - sides[1]) / 2e-6
        assert abs(wanted) > 1e-6 and abs(found - wanted) < 1e-3 * abs(wanted)


def test_rounding_is_passed_straight_through(model, rough, x):
    """d (g codes) / d g = codes - v where v = w / g lies within the codes, and the code where it is clipped."""
    net = view(model, rough, x, shaken=True)
    i = rough[-1].layer
    w, g = net._scaled(i), net._bound(i).detach()[:, None, None, None]
    seen = net._seen(i, rounded=True)
    seen.sum().backward()
    v = (w / g).detach()
    low, high = net.coded[i].low, net.coded[i].high
    codes = _codes(v.clamp(low, high), net.coded[i])
    slope = torch.where((v >= low) & (v <= high), codes - v, codes).sum((1, 2, 3))
    u = net.bounds[i]
    share = 2 * torch.sigmoid(u) * (1 - torch.sigmoid(u))
    assert torch.allclose(u.grad, slope * share.detach(), atol=1e-4)


@pytest.mark.parametrize("kind", list(Latent))
def test_codes_are_the_core_s(kind):
    top = 64 if kind == Latent.POWERS else 7
    v = torch.linspace(-top - 1, top + 1, 1001)
    coded = Coded(0, np.zeros((1, 1), np.float32), kind, -top, top)
    mine = _codes(v.clamp(-top, top), coded)
    assert torch.equal(mine.to(torch.int8), ops.latent_codes(v, kind, top))


def test_what_is_learned_lowers_the_difference_and_deploys(model, tuning, rough, x):
    """From weights with fractions; the point in a delta's parameters does what the float view says."""
    found = learn_start(model, x.numpy(), rough, epochs=6)
    assert found.after < 0.97 * found.before
    begun = started(tune_model(tuning), found.start, [c.weights for c in rough])
    net = view(model, rough, x)
    with torch.no_grad():
        for i, u in net.bounds.items():
            at = sum(layer.channels for layer in tuning.layout.layers[:i])
            g = torch.from_numpy(found.start.bound[at : at + len(u)])
            u.copy_((g / (2 - g)).log())
        for p, t in net.scales.items():
            at = sum(layer.channels for layer in tuning.layout.layers[:p])
            t.copy_(torch.from_numpy(found.start.scale[at : at + len(t)]).log())
        hidden = net.outputs(x)[-1]
        module, _ = tunable_method(model, EXAMPLE, tuning.layout, tuning.base.sigma)
        latents = [torch.from_numpy(a.start) for a in begun.latents]
        moments = module(x, torch.from_numpy(begun.start_ac[None]), *base_head(model), *latents)[3]
    width = hidden.shape[-1]
    difference = (hidden.mean((1, 2)) - moments[:, 0, -width:]).abs().max()
    assert difference < 0.05 * moments[:, 0, -width:].std()  # a code of an activation may fall on the other side


def test_codes_alone_have_little_to_learn(model, tuning, x):
    found = learn_start(model, x.numpy(), coded_of(model, tuning.layout), epochs=2)
    assert found.after <= found.before < 0.01
    with pytest.raises(UsageError, match="samples"):
        learn_start(model, x.numpy()[:0], coded_of(model, tuning.layout))
    with pytest.raises(UnsupportedError, match="int8 convolutions"):
        View(poke_network(), [], x[:2])


def test_the_start_goes_with_the_base_and_the_run(model, tuning, tmp_path):
    n = tuning.layout.channels
    r = np.random.default_rng(1)
    start = Start(*(r.uniform(0.8, 1.2, (2, n)).astype(np.float32)), pairs=((1, 2),))
    base = replace(tuning.base, start=start)
    data = base.to_bytes(tuning.layout)
    again = Base.from_bytes(data, tuning.layout)
    assert again.start.pairs == start.pairs and np.array_equal(again.start.bound, start.bound)
    assert Base.from_bytes(tuning.base.to_bytes(tuning.layout), tuning.layout).start is None
    begun = replace(tuning, base=again)
    assert begun.identity == tuning.identity  # deltas are absolute: those of the base without a start still fit
    assert tune_model(replace(begun, layout=tuning.layout.without_latents, codes=())).start_ac is None
    x, y = task(40, 11, gain=0.6, offset=0.7)
    module, example = tunable_method(model, EXAMPLE, tuning.layout, tuning.base.sigma, lean=True)
    samples, seen = Samples((x,), y, "shifted"), []
    forward = DeviceForward(EagerNet(module, example), samples, tuning.layout, [a for a, _ in tuning.codes])

    def watched(request):
        seen.append((request.ac_rows.copy(), request.latents[1].copy()))
        return forward(request)

    changes = {"steps": 2, "batch": 8, "evaluate_every": 1}
    learner = Learner(begun, samples, Wishes("zeroqat", flags=("unguarded",), changes=changes), watched)
    report = learner.run(Journal(tmp_path / "run"))
    assert report.outcome == "committed" and STEP == "forward_step"
    wanted = tune_model(begun)
    assert not seen[0][0].any() and np.array_equal(seen[0][1], tuning.codes[1][0])
    at = next(i for i, (ac, _) in enumerate(seen) if ac.any())
    assert np.array_equal(seen[at][0][0], wanted.start_ac)
    assert np.array_equal(seen[at][1], wanted.latents[1].start)


@pytest.mark.parametrize(
    "changes",
    [
        {"start_bound": np.ones(3, np.float32)},
        {"start_scale": None},
        {"start_bound": np.float32(0)},
        {"start_scale": np.float32(np.nan)},
        {"start_pairs": np.array([[0, 99]], np.int32)},
        {"start_pairs": np.array([[0, 1]], np.int64)},
    ],
)
def test_a_start_that_does_not_fit_is_refused(changes):
    found = Start(np.ones(8, np.float32), np.ones(8, np.float32), ((0, 1),)).tensors()
    for name, value in changes.items():
        if value is None:
            del found[name]
        elif np.ndim(value) == 0:
            found[name] = np.full(8, value, np.float32)
        else:
            found[name] = value
    with pytest.raises(FormatError, match="start"):
        Start.of(found, [3, 5], "tuning.safetensors")
