"""Tunable networks over tokens: the identities of the tuning contract, padding that counts for nothing, the program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeq import models, ops
from edgeq._errors import UnsupportedError
from edgeq._native.tune import Outputs
from edgeq.compile import executorch, host
from edgeq.compile.layout import METHOD, PARTS, STEP, Tuning
from edgeq.compile.tunable import base_bias, base_head, layout_of, tunable_method
from edgeq.compile.tuning_base import measure_base
from edgeq.models import bibert, bit, bivit, minilm
from edgeq.nn.tuning import TuningPass
from edgeq.ops import Want
from edgeq.package import verify_package
from edgeq.tune import Learner, Samples, Wishes
from edgeq.tune.forward import output_names, wanted
from edgeq.tune.journal import Journal

WORDS, TOKENS, SIDE = 60, 10, 8
SIZES = {"vocabulary": WORDS, "hidden": 32, "heads": 2, "intermediate": 48, "positions": TOKENS}


def bert(bits: int, *, layers: int = 2) -> torch.nn.Module:
    """BiBERT for 0 bits, otherwise BiT."""
    torch.manual_seed(2)
    sizes = {**SIZES, "layers": layers, "pooling": "mean"}
    if bits == 0:
        return bibert.pack(bibert.build(bibert.BiBERTConfig(**sizes)).eval())
    model = bit.build(bit.BiTConfig(**sizes, bits=bits, minima="zero", scale_per_row=True))
    model(*texts(16, 1)[0])  # the quantisers find their steps
    return bit.pack(model.eval())


def vit(pool: str) -> torch.nn.Module:
    torch.manual_seed(2)
    config = bivit.BiViTConfig((SIDE, SIDE), 3, dim=32, depth=2, heads=2, hidden=48, pool=pool)
    model = bivit.build(config)
    model(torch.randn(8, SIDE, SIDE, 3))
    return bivit.pack(model.eval())


def texts(count: int, seed: int) -> tuple[tuple[torch.Tensor, torch.Tensor], np.ndarray]:
    """Words of the lower or the upper half of the vocabulary, and which; lengths differ."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    ids = rng.integers(1, WORDS // 2, (count, TOKENS)) + WORDS // 2 * y[:, None]
    mask = (np.arange(TOKENS) < rng.integers(3, TOKENS + 1, (count, 1))).astype(np.int64)
    return (torch.from_numpy(ids * mask), torch.from_numpy(mask)), y


NETWORKS = {
    "bit": lambda: (bert(1), texts(3, 5)[0]),
    "bit-w1a4": lambda: (bert(4), texts(3, 5)[0]),
    "bibert": lambda: (bert(0), texts(3, 5)[0]),
    "bivit": lambda: (vit("mean"), (torch.randn(3, SIDE, SIDE, 3),)),
    "bivit-token": lambda: (vit("token"), (torch.randn(3, SIDE, SIDE, 3),)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    """A network, three samples, its layout, the module behind forward_tune."""
    network, x = NETWORKS[request.param]()
    example = tuple(part[:1] for part in x)
    layout = layout_of(network, example, PARTS)
    sigma = np.linspace(0.5, 2, len(layout.layers), dtype=np.float32)
    return network, x, layout, tunable_method(network, example, layout, sigma)[0]


def corrections(layout, rows: int) -> torch.Tensor:
    return 0.2 * torch.randn(rows, 2 * layout.channels, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def test_without_corrections_it_is_the_base(case):
    network, x, layout, module = case
    logits, hidden, taps, moments = module(*x, torch.zeros(1, 2 * layout.channels), *base_head(network))
    assert torch.equal(hidden, network.features(*x))
    torch.testing.assert_close(logits, network(*x), rtol=1e-5, atol=1e-5)
    assert taps.shape == (3, layout.width) and moments.shape == (3, 2, layout.channels)
    assert torch.equal(taps[:, -layout.hidden :], hidden)
    assert [layer.depth for layer in layout.layers] == list(range(len(layout.layers)))


@torch.no_grad()
def test_one_row_is_that_row_for_every_sample_and_none_depends_on_another(case):
    network, x, layout, module = case
    head, ac = base_head(network), corrections(layout, 3)
    once, thrice = module(*x, ac[:1], *head), module(*x, ac[:1].expand(3, -1).contiguous(), *head)
    assert all(map(torch.equal, once, thrice))
    together = module(*x, ac, *head)
    for i in range(3):
        alone = module(*(part[i : i + 1] for part in x), ac[i : i + 1], *head)
        assert all(torch.equal(a[i : i + 1], b) for a, b in zip(together, alone, strict=True))


@torch.no_grad()
def test_padding_moves_no_moment_and_no_tap():
    network, (ids, mask) = bert(1), texts(4, 3)[0]
    layout = layout_of(network, (ids[:1], mask[:1]), PARTS)
    module, _ = tunable_method(network, (ids[:1], mask[:1]), layout, None)
    rest, head = torch.zeros(1, 2 * layout.channels), base_head(network)
    row = int((mask.sum(1) < TOKENS).nonzero()[0])
    ids, mask = ids[row : row + 1], mask[row : row + 1]
    length = int(mask.sum())
    short = module(ids[:, :length], mask[:, :length], rest, *head)
    for a, b in zip(module(ids, mask, rest, *head), short, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", ["bit", *(pytest.param(name, marks=pytest.mark.long) for name in ("bibert", "bivit"))])
def test_the_program_gives_eager_bits(name):
    network, x = NETWORKS[name]() if name == "bivit" else (bert(int(name == "bit"), layers=1), texts(1, 5)[0])
    example = tuple(part[:1] for part in x)
    layout = layout_of(network, example, PARTS)
    second = {method: tunable_method(network, example, layout, None, lean=method == STEP) for method in (METHOD, STEP)}
    program = host.Program(executorch.lower_methods(second, plain=set(second), borrowed=dict.fromkeys(second, 3)))
    for ac in (torch.zeros(1, 2 * layout.channels), corrections(layout, 1)):
        tuned = second[METHOD][0](*example, ac, *base_head(network))
        assert all(map(torch.equal, program.run(METHOD, (*example, ac, *base_head(network))), tuned))
        step = program.run(STEP, (*example, ac, *base_head(network)))
        assert len(step) == 2 and all(map(torch.equal, step, tuned))


def test_labelled_texts_teach_a_new_meaning(tmp_path):
    """`auto` over the module: labels that have nothing to do with the base's classes."""
    network = bert(1)
    (ids, mask), _ = texts(200, 1)
    layout, base = measure_base(network, (ids.numpy(), mask.numpy()), np.random.default_rng(0).integers(0, 2, 200))
    weight, bias = base_head(network)
    channels = base_bias(network, (ids[:1], mask[:1])).numpy()
    tuning = Tuning("ab" * 32, layout, weight.numpy(), bias.numpy(), channels, base)
    net, _ = tunable_method(network, (ids[:1], mask[:1]), layout, base.sigma)
    (own, real), labels = texts(150, 9)

    def forward(request) -> Outputs:
        rows = torch.from_numpy(request.samples.astype(np.int64))
        fixed = (torch.from_numpy(a) for a in (request.ac_rows, request.head_weight, request.head_bias))
        with torch.no_grad():
            found = net(own[rows], real[rows], *fixed)
        return wanted(request, {k: v.numpy() for k, v in zip(output_names(layout), found, strict=True)})

    samples = Samples((own.numpy(), real.numpy()), labels.astype(np.int32), "own")
    report = Learner(tuning, samples, Wishes("auto"), forward).run(Journal(tmp_path / "run"))
    assert report.outcome == "committed" and report.leave_one_out
    assert report.best.metric > 0.75 > report.base.metric


def test_networks_without_classes_say_so():
    model = minilm.MiniLM(minilm.MiniLMConfig(vocabulary=20, hidden=32, heads=2, layers=1, intermediate=32, tokens=8))
    example = (torch.zeros(1, 8, dtype=torch.int64), torch.ones(1, 8, dtype=torch.int64))
    with pytest.raises(UnsupportedError, match="MiniLM: gives no scores of classes"):
        layout_of(model, example, PARTS)


@torch.no_grad()
def test_a_tuned_norm_follows_the_formula():
    g = torch.Generator().manual_seed(1)
    x, residual = (torch.randn(3, 5, 33, generator=g) for _ in range(2))
    gamma, beta, ac = (torch.randn(*size, generator=g) * 0.4 for size in ((33,), (33,), (3, 70)))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]], dtype=torch.uint8)
    tail = (residual, gamma, beta, 1e-6, None, int(Want.MAP | Want.T2))
    plain = ops.layer_norm(x, *tail)
    out, bits, moments = ops.layer_norm_tuned(torch.zeros(1, 70), 2, 0.7, x, mask, *tail)
    assert torch.equal(out, plain[0]) and torch.equal(bits, plain[1]) and moments.numel() == 0
    want = int(Want.MAP | Want.MOMENTS)
    out, bits, moments = ops.layer_norm_tuned(ac, 2, 0.7, x, mask, *tail[:-1], want)
    normal = torch.nn.functional.layer_norm((x + residual).double(), (33,), eps=1e-6)
    y = normal * (gamma * ac[:, 2:35].double().exp())[:, None] + (beta + 0.7 * ac[:, 35:68].double())[:, None]
    torch.testing.assert_close(out.double(), y, rtol=0, atol=2e-6)
    for i, real in enumerate(mask.bool()):
        counted = y[i][real if real.any() else slice(None)]
        torch.testing.assert_close(moments[i, 0].double(), counted.mean(0), rtol=0, atol=2e-6)
        torch.testing.assert_close(moments[i, 1].double(), counted.var(0, unbiased=False), rtol=0, atol=4e-6)
    for wrong in (torch.zeros(2, 70), torch.zeros(1, 67)):
        with pytest.raises(Exception, match=r"ac: expected \(1 or 3, 68 or more\)"):
            ops.layer_norm_tuned(wrong, 2, 0.7, x, mask, *tail)


@pytest.mark.long
@pytest.mark.parametrize("name", ["bit-sst2", "bit-sst2-w1a4", "bibert-sst2", "bivit-fashion"])
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
    assert 10 * arena[METHOD] <= 12 * arena["forward"] + 40 * layout.width


@torch.no_grad()
def test_a_lean_pass_taps_nothing():
    network, x = NETWORKS["bibert"]()
    tuning = TuningPass(lean=True)
    network.features(*x, tuning=tuning)
    assert not tuning.taps and not tuning.moments and len(tuning.sites) == 5
