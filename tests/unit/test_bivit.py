"""BiViT: signs with zeros, softmax-aware attention, learnt scales, stages of training, and parity with the authors."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeq._errors import FormatError, UsageError
from edgeq.importers import bivit_torch
from edgeq.models.bivit import BiViTConfig, build, load_latents
from edgeq.nn.bivit import BivitAttention, BivitLinear, BivitMlp
from edgeq.schemes import centred, softmax_aware

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / ".." / "shared" / "fixtures" / "vision"
NAMES = sorted(path.stem for path in FIXTURES.glob("bivit_*.npz"))
SMALL = BiViTConfig((8, 12), 5, in_channels=2, dim=24, depth=2, heads=3, hidden=20)


# -- softmax-aware attention ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("zeros", [0.0, 0.1])
@pytest.mark.parametrize("d", [1, 2, 3, 7, 8, 16, 24, 32, 48, 64, 80, 96, 128, 200, 512])
def test_no_softmax_is_needed(d, zeros):
    generator = torch.Generator().manual_seed(d)
    q, k = torch.randn(2, 4, 50, d, generator=generator).sign() * (
        torch.rand(2, 4, 50, d, generator=generator) >= zeros
    )
    dots = q @ k.mT
    bits = softmax_aware.bits(dots * d**-0.5)
    assert torch.equal(softmax_aware.bits_of_dots(dots.int(), d), bits == 1)
    assert set(bits.unique().tolist()) <= {0.0, 1.0} and (bits.sum(-1) >= 1).all()


def test_margin_in_hamming_distance():
    expected = {8: 1, 16: 2, 24: 3, 32: 3, 48: 4, 64: 5, 80: 6, 96: 6, 128: 7}
    assert {d: softmax_aware.dot_margin(d) // 2 for d in expected} == expected


def test_attention_gradient_is_that_of_the_softmax():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    seed = torch.linspace(-1, 1, 15, dtype=torch.float64).view(3, 5)
    (got,) = torch.autograd.grad((softmax_aware.bits(logits) * seed).sum(), logits)
    (want,) = torch.autograd.grad((logits.softmax(-1) * seed).sum(), logits)
    torch.testing.assert_close(got, want)


def test_the_projection_sees_zeros():
    torch.manual_seed(0)
    attention = BivitAttention(24, 3)
    seen = []
    attention.proj.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    attention(torch.randn(4, 10, 24))
    (context,) = seen
    assert torch.equal(context, context.round()) and context.abs().max() <= 10
    assert 0.05 < (context == 0).float().mean() < 0.5


# -- linear layers and perceptron -----------------------------------------------------------------------------------


def test_a_linear_layer_is_a_sum_of_signs():
    torch.manual_seed(5)
    layer = BivitLinear(64, 3, binary_input=True, learnt_scale=True)
    x = torch.randn(200, 64)
    x[:, ::9] = 0
    y = layer(x)
    dots = x.sign() @ centred.weight_codes(layer.weight).float().T  # exact integers
    assert (dots == 0).any()
    torch.testing.assert_close(y, dots * layer.alpha, rtol=1e-6, atol=1e-7)


def test_rows_without_any_spread_give_the_bias():
    layer = BivitLinear(6, 2, binary_input=True, learnt_scale=False)
    layer.weight.data[0] = 0.25
    layer.weight.data[1] = 0.0
    layer.bias.data.copy_(torch.tensor([1.5, -2.0]))
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(2), requires_grad=True)
    y = layer(x)
    assert torch.equal(y, layer.bias.expand(4, 2))
    y.sum().backward()
    assert not x.grad.any() and layer.weight.grad.isfinite().all()
    assert not centred.weight_codes(layer.weight).any()


def test_a_learnt_scale_starts_at_the_mean_of_the_weights_that_were_loaded():
    torch.manual_seed(7)
    layer = BivitLinear(9, 4, binary_input=False, learnt_scale=True)
    assert not layer.alpha.any() and layer.weight.abs().max() <= 0.015
    layer.weight.data.normal_()
    layer(torch.randn(2, 9)).sum().backward()
    assert torch.equal(layer.alpha, layer.weight.abs().mean(-1)) and layer.alpha.grad.all()
    layer.alpha.data.fill_(2.0)
    layer(torch.randn(2, 9))
    assert (layer.alpha == 2).all()


def test_gelu_underflows_to_a_zero_sign():
    mlp = BivitMlp(1, 1, binary_input=True, learnt_scale=True)
    for layer in (mlp.fc1, mlp.fc2):
        layer.weight.data.fill_(1.0)
        layer.alpha.data.fill_(1.0)
    outputs = {}
    for bias in (-6.0, -5.0, 0.0, 3.0):  # the centred weight of a single column is 0: fc1 gives its bias
        mlp.fc1.bias.data.fill_(bias)
        hidden = torch.nn.functional.gelu(mlp.fc1(torch.ones(1, 1)))
        outputs[bias] = hidden.sign().item()
    assert outputs == {-6.0: 0.0, -5.0: -1.0, 0.0: 0.0, 3.0: 1.0}


# -- network ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"image": (8, 10)}, "image"),
        ({"heads": 5}, "heads"),
        ({"depth": 0}, "depth"),
        ({"attention": "softmax"}, "attention"),
        ({"mlp": "w2a2"}, "mlp"),
        ({"attention_dropout": 1.0}, "attention_dropout"),
    ],
)
def test_bad_configurations_are_refused_by_name(change, text):
    with pytest.raises(UsageError, match=text):
        BiViTConfig(**{"image": (8, 8), "classes": 3, **change})


@pytest.mark.parametrize("rule", ["sab", "baseline"])
@pytest.mark.parametrize("mlp", ["w1a32", "w1a1", "float"])
def test_everything_learns(rule, mlp):
    torch.manual_seed(3)
    model = build(BiViTConfig((8, 12), 5, in_channels=2, dim=24, depth=1, heads=3, hidden=20, attention=rule, mlp=mlp))
    for layer in model.modules():  # latents well inside the window of the sign's gradient
        if isinstance(layer, BivitLinear):
            layer.weight.data.uniform_(-0.5, 0.5)
    output = model(torch.randn(4, 8, 12, 2))
    assert output.shape == (4, 5)
    output.square().sum().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not still
    assert all(p.grad.any() for name, p in model.named_parameters() if "qkv.bias" not in name)


def test_stages_hand_their_latents_on():
    torch.manual_seed(8)
    twin = build(SMALL, quantised=False)
    assert not any(name.endswith("alpha") for name in twin.state_dict())
    first = build(BiViTConfig(**{**vars(SMALL), "mlp": "float"}))
    load_latents(first, twin.state_dict())
    first(torch.randn(1, 8, 12, 2))
    final = build(SMALL)
    load_latents(final, first.state_dict())
    assert torch.equal(final.blocks[1].attn.qkv.alpha, twin.blocks[1].attn.qkv.weight.abs().mean(-1))
    assert torch.equal(final.blocks[0].mlp.fc2.weight, twin.blocks[0].mlp.fc2.weight)
    with pytest.raises(FormatError, match=r"missing .*\.mlp\.|unknown .*fc1\.alpha"):
        load_latents(first, final.state_dict())
    with pytest.raises(FormatError, match=r"head\.weight: expected shape"):
        load_latents(final, {**twin.state_dict(), "head.weight": torch.zeros(6, 24)})


def test_the_twin_is_a_plain_transformer():
    torch.manual_seed(9)
    attention = BivitAttention(24, 3, quantised=False)
    x = torch.randn(2, 7, 24)
    q, k, v = attention.qkv(x).view(2, 7, 3, 3, 8).permute(2, 0, 3, 1, 4)
    want = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 7, 24)
    torch.testing.assert_close(attention(x), attention.proj(want))


def test_a_network_comes_back_from_timm_names():
    torch.manual_seed(10)
    source, copy = build(SMALL).eval(), build(SMALL).eval()
    x = torch.randn(2, 8, 12, 2)
    want = source(x)
    state = {e.name: e.view(e.tensor).detach().clone() for e in bivit_torch.entries(source)}
    assert state["patch_embed.proj.weight"].shape == (24, 2, 4, 4)
    assert state["blocks.0.attn.qkv.scaling_factor"].shape == (72, 1)
    bivit_torch.load_state(copy, state)
    assert torch.equal(copy(x), want)
    del state["blocks.1.mlp.fc1.scaling_factor"]
    with pytest.raises(FormatError, match=r"missing blocks\.1\.mlp\.fc1\.scaling_factor"):
        bivit_torch.load_state(copy, state)


# -- parity -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def parity(monkeypatch):
    if not NAMES:
        pytest.skip(f"the authors' fixtures are not here: {FIXTURES}")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("parity")


@pytest.mark.parametrize("name", NAMES or ["none"])
def test_float_path_equals_the_authors(name, parity, capsys):
    code = parity.main([str(FIXTURES / f"{name}.npz"), "--path", "float", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (code, report["fixture"], report["ok"]) == (0, name, True)
    assert max(report["max_abs_diff"].values()) <= 1e-5


def test_float_path_fails_on_one_changed_bit(parity, capsys, tmp_path):
    source = FIXTURES / "bivit_softmax_aware"
    with np.load(source.with_suffix(".npz")) as archive:
        tensors = dict(archive)
    tensors["output"].flat[17] = 1 - tensors["output"].flat[17]
    np.savez(tmp_path / "bivit_changed.npz", **tensors)
    (tmp_path / "bivit_changed.json").write_bytes(source.with_suffix(".json").read_bytes())
    assert parity.main([str(tmp_path / "bivit_changed.npz"), "--path", "float"]) == 1
    assert "FAIL  output" in capsys.readouterr().out
