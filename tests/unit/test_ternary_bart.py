"""Ternary and binary BART: parity with the authors, cached decoding, batch dependence, and files that are refused."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from edgeq._errors import FormatError, UnsupportedError, UsageError
from edgeq.importers import bart_checkpoint
from edgeq.importers.checkpoint import Checkpoint
from edgeq.models.ternary_bart import TernaryBartConfig, build

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / ".." / "shared" / "fixtures" / "nlp"
NAMES = sorted(path.stem for path in FIXTURES.glob("tbt_bart_*.npz"))
SIZES = {
    "vocabulary": 20,
    "hidden": 12,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_heads": 3,
    "decoder_heads": 2,
    "encoder_ffn": 16,
    "decoder_ffn": 20,
    "positions": 8,
}
IDS = torch.tensor([[3, 4, 5, 6], [7, 8, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
TARGET = torch.tensor([[2, 9, 10], [2, 11, 12]])


@pytest.mark.skipif(not NAMES, reason="fixtures of the authors' code are not beside this checkout")
@pytest.mark.parametrize("name", NAMES)
def test_parity_with_the_authors_code(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    parity = importlib.import_module("parity")
    report = parity.run(parity.read_fixture(FIXTURES / f"{name}.npz"), "float")
    assert report.ok, {key: report.max_abs_diff[key] for key in report.failed}


def _built(**changes):
    torch.manual_seed(0)
    return build(TernaryBartConfig(**SIZES | changes)).eval()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hidden": 14}, "encoder_heads 3"),
        ({"decoder_heads": 5}, "decoder_heads 5"),
        ({"encoder_layers": 0}, "encoder_layers"),
        ({"weight_bits": 3}, "weight_bits"),
        ({"activation_bits": 4}, "activation_bits"),
        ({"head": "tied"}, "tied"),
        ({"padding": 20}, "padding"),
        ({"clip": 0.0}, "clip"),
    ],
)
def test_configurations_that_cannot_be_built_are_refused_by_name(change, text):
    with pytest.raises(UsageError, match=text):
        TernaryBartConfig(**SIZES | change)


@pytest.mark.parametrize("weight_bits", [1, 2])
@pytest.mark.parametrize("activation_bits", [1, 2, 8])
def test_every_parameter_learns(weight_bits, activation_bits):
    model = _built(weight_bits=weight_bits, activation_bits=activation_bits).train()
    model(IDS, MASK, TARGET).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def _stepwise(model, ids, mask, target):
    cache = model.start(model.encode(ids, mask), mask)
    return torch.cat([model.decode(target[:, i : i + 1], cache).logits for i in range(target.shape[1])], 1)


@torch.no_grad()
def test_cached_decoding_equals_teacher_forcing_where_steps_are_constant():
    model = _built(activation_bits=1)
    forced = model(IDS, MASK, TARGET)
    torch.testing.assert_close(_stepwise(model, IDS, MASK, TARGET), forced, rtol=0, atol=1e-5)


@torch.no_grad()
def test_reference_mode_depends_on_the_tensor_at_hand():
    """The authors' scales are those of the whole tensor: another padding, batch mate or step gives other numbers."""
    model = _built(activation_bits=8)
    together = model(IDS, MASK, TARGET)
    assert not torch.equal(together[1:], model(IDS[1:], MASK[1:], TARGET[1:]))
    assert not torch.equal(together, _stepwise(model, IDS, MASK, TARGET))


@torch.no_grad()
def test_a_target_token_does_not_see_the_ones_after_it():
    model = _built(activation_bits=1)
    other = TARGET.clone()
    other[:, 2] = 5
    assert torch.equal(model(IDS, MASK, TARGET)[:, :2], model(IDS, MASK, other)[:, :2])


@torch.no_grad()
def test_padding_of_the_source_does_not_count_where_steps_are_constant():
    model = _built(activation_bits=1)
    other = IDS.clone()
    other[1, 2:] = 13
    model(IDS, MASK, TARGET)
    assert torch.equal(model(IDS, MASK, TARGET)[1], model(other, MASK, TARGET)[1])


@torch.no_grad()
def test_the_head_is_the_latent_table_unless_it_was_trained_otherwise():
    latent, quantised = _built(), _built(head="quantised")
    quantised.load_state_dict(latent.state_dict())
    difference = (latent(IDS, MASK, TARGET) - quantised(IDS, MASK, TARGET)).abs().max()
    assert 0 < difference < 0.5


def test_a_row_of_zeros_is_a_row_of_zeros():
    """The padding row of a fresh table is zero; the original divides by its mean and poisons everything with NaN."""
    model = _built()
    with torch.no_grad():
        model.words.weight[1] = 0
    model(IDS, MASK, TARGET).mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_generation_stops_at_the_end_and_pads_behind_it():
    model = _built(activation_bits=1)
    written = model.generate(IDS, MASK, longest=5)
    assert written.shape[0] == 2 and 1 <= written.shape[1] <= 5
    for row in written.tolist():
        if 2 in row:
            assert set(row[row.index(2) + 1 :]) <= {1}
    with pytest.raises(UsageError, match="at most 8"):
        model.decode(torch.ones(1, 9, dtype=torch.int64), model.start(torch.zeros(1, 4, 12), MASK[:1]))


def test_the_float_twin_is_an_ordinary_bart():
    twin = build(TernaryBartConfig(**SIZES), quantised=False).eval()
    assert twin(IDS, MASK, TARGET).shape == (2, 3, 20)
    torch.testing.assert_close(_stepwise(twin, IDS, MASK, TARGET), twin(IDS, MASK, TARGET), rtol=1e-4, atol=1e-5)


# -- checkpoints ----------------------------------------------------------------------------------------------------

CONFIG = {
    "model_type": "bart",
    "weight_bits": 2,
    "input_bits": 2,
    "quantize_act": True,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 20,
}


def _foreign(bits):
    model = _built(activation_bits=bits)
    model(IDS, MASK, TARGET)
    state = {bart_checkpoint.foreign_name(name): t.detach().clone() for name, t in model.state_dict().items()}
    shared = state["model.shared.weight"]
    copies = ("lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
    state |= {name: shared.clone() for name in copies}
    if bits == 8:
        state["model.encoder.layers.0.fc1.act_clip_val"] = torch.tensor([-2.5, 2.5])
    return model, state


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_a_checkpoint_is_read_back(bits, tmp_path):
    model, state = _foreign(bits)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"input_bits": bits}))
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert torch.equal(bart_checkpoint.read(tmp_path)(IDS, MASK, TARGET), model(IDS, MASK, TARGET))


def test_a_head_of_its_own_is_kept():
    model, state = _foreign(2)
    state["lm_head.weight"] = -state["lm_head.weight"]
    read = bart_checkpoint.build(Checkpoint(CONFIG, state))
    assert read.config.head == "separate"
    assert torch.equal(read(IDS, MASK, TARGET), -model(IDS, MASK, TARGET))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"weight_bits": None}, UnsupportedError, "1 bit from 2"),
        ({"weight_bits": 4}, FormatError, "weight_bits"),
        ({"input_bits": 4}, FormatError, "activation_bits"),
        ({"sym_quant_qkvo": False}, UnsupportedError, "sym_quant_qkvo"),
        ({"sym_quant_ffn_attn": True}, UnsupportedError, "sym_quant_ffn_attn"),
        ({"scale_embedding": True}, UnsupportedError, "scale_embedding"),
        ({"encoder_layers": 3}, FormatError, "missing"),
        ({"decoder_attention_heads": 5}, FormatError, "decoder_heads"),
        ({"input_bits": 8}, UnsupportedError, "clipped"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(change, error, text):
    _, state = _foreign(2)
    config = {key: value for key, value in (CONFIG | change).items() if value is not None}
    with pytest.raises(error, match=text):
        bart_checkpoint.build(Checkpoint(config, state))


def test_copies_that_differ_are_refused():
    _, state = _foreign(2)
    state["model.encoder.embed_tokens.weight"][0, 0] += 1
    with pytest.raises(FormatError, match="embed_tokens"):
        bart_checkpoint.build(Checkpoint(CONFIG, state))
