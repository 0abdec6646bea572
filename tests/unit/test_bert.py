"""BiBERT, BiT and their importer: parity with the authors, and checkpoints that must be refused."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from edgeq._errors import FormatError, NotFoundError, UnsupportedError, UsageError
from edgeq.importers import bert_checkpoint
from edgeq.importers.checkpoint import Checkpoint, read_checkpoint
from edgeq.models import bibert, bit
from edgeq.models._bert import BertConfig
from edgeq.models.bit import BiTConfig
from edgeq.nn.lowbit_linear import zero_codes

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / ".." / "shared" / "fixtures" / "nlp"
NAMES = sorted(path.stem for pattern in ("bi*_w1*.npz", "quantizers*.npz") for path in FIXTURES.glob(pattern))
SIZES = {"vocabulary": 20, "hidden": 12, "heads": 3, "layers": 2, "intermediate": 16, "positions": 8}
IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


# -- parity ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not NAMES, reason="fixtures of the authors' code are not beside this checkout")
@pytest.mark.parametrize("name", NAMES)
def test_parity_with_the_authors_code(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    parity = importlib.import_module("parity")
    report = parity.run(parity.read_fixture(FIXTURES / f"{name}.npz"), "float")
    assert report.ok, {key: report.max_abs_diff[key] for key in report.failed}


@pytest.mark.skipif(not NAMES, reason="fixtures of the authors' code are not beside this checkout")
def test_parity_fails_on_one_changed_weight(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    parity = importlib.import_module("parity")
    fixture = parity.read_fixture(FIXTURES / "bibert_w1a1_h33_oddheads.npz")
    fixture.tensors["sd/bert.encoder.layer.0.attention.self.query.weight"][0, 0] *= -1
    report = parity.run(fixture, "float")
    assert "act/bert.encoder.layer.0.attention.self.query/linear_weight:codes" in report.failed


# -- networks -------------------------------------------------------------------------------------------------------


def _built(family, **changes):
    torch.manual_seed(0)
    if family == "bibert":
        return bibert.build(BertConfig(**SIZES | changes))
    return bit.build(BiTConfig(**SIZES | changes))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hidden": 13}, "13 is not a multiple of 3"),
        ({"layers": 0}, "layers"),
        ({"activation": "swish"}, "swish"),
        ({"pooling": "max"}, "max"),
        ({"bits": 9}, "bits"),
    ],
)
def test_configurations_that_cannot_be_built_are_refused_by_name(change, text):
    with pytest.raises(UsageError, match=text):
        BiTConfig(**SIZES | change)


def test_more_tokens_than_positions_are_refused():
    with pytest.raises(UsageError, match="at most 8"):
        _built("bit")(torch.ones(1, 9, dtype=torch.int64), torch.ones(1, 9, dtype=torch.int64))


@pytest.mark.parametrize("family", ["bibert", "bit"])
def test_every_parameter_learns(family):
    model = _built(family)
    model(IDS, MASK).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_the_padding_token_gets_no_gradient():
    model = _built("bit")
    model(IDS, MASK).square().sum().backward()
    grad = model.embeddings.word.weight.grad
    assert not grad[0].any() and grad[1].any()


def test_padded_keys_do_not_count():
    model = _built("bibert").eval()
    other = IDS.clone()
    other[1, 2:] = 7
    assert torch.equal(model(IDS, MASK), model(other, MASK))


def test_context_of_attention_is_a_sum_of_integers():
    seen = []
    model = _built("bibert")
    model.layers[0].attention.out.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    model(IDS, MASK)
    assert torch.equal(seen[0], seen[0].round()) and (seen[0] == 0).any()


def test_alpha_is_set_by_the_first_input_and_survives_loading():
    model = _built("bit")
    assert all(p.isnan() for name, p in model.named_parameters() if name.endswith("alpha"))
    model(IDS, MASK)
    first = {name: p.detach().clone() for name, p in model.named_parameters() if name.endswith("alpha")}
    assert len(first) == 2 * (4 + 6) + 1 and all(alpha > 0 for alpha in first.values())
    again = _built("bit")
    again.load_state_dict({name: torch.ones_like(t) if name in first else t for name, t in model.state_dict().items()})
    again(IDS, MASK)
    assert all(p == 1.0 for name, p in again.named_parameters() if name in first)  # 1.0 is a value like any other


def test_weights_that_one_bit_cannot_store_are_counted():
    model = _built("bibert")
    assert zero_codes(model) == {}
    with torch.no_grad():
        model.layers[1].up.weight[3] = 0.5  # a constant row: every weight equals the mean
        model.layers[0].down.weight[0] = 0.0  # a scale of 0: the row is 0 whatever its codes are
    assert zero_codes(model) == {"layers.1.up": 12}


def test_mean_pooling_reads_real_tokens_only():
    model = _built("bit", pooling="mean").train()
    model(IDS, MASK)
    states = model.features(IDS, MASK).hidden[-1]
    want = torch.stack([states[0].mean(0), states[1, :2].mean(0)])
    pooled = []
    model.pooler.standardise.register_forward_pre_hook(lambda _layer, inputs: pooled.append(inputs[0]))
    model(IDS, MASK)
    torch.testing.assert_close(pooled[0], want)


def test_the_float_twin_is_an_ordinary_bert():
    twin = bit.build(BiTConfig(**SIZES), quantised=False).eval()
    assert twin(IDS, MASK).shape == (2, 2)
    assert not [name for name, _ in twin.named_parameters() if "alpha" in name or "move" in name]


# -- checkpoints ----------------------------------------------------------------------------------------------------

CONFIG = {"num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 16, "hidden_act": "gelu"}
BIBERT = CONFIG | {"weight_bits": 1, "input_bits": 1}
BIT = CONFIG | {"weight_bits": 1, "input_bits": 1, "weight_quant_method": "bwn", "input_quant_method": "elastic"}


def _foreign(family):
    model = _built(family)
    model(IDS, MASK)
    state = {bert_checkpoint.foreign_name(name): t.detach().clone() for name, t in model.state_dict().items()}
    if family == "bibert":
        linear = [n.removesuffix(".weight") for n in state if n.endswith("dense.weight") or "self." in n]
        state |= {f"{name}.scale": torch.ones(()) for name in linear}
    return model.eval(), state


@pytest.mark.parametrize(("family", "config"), [("bibert", BIBERT), ("bit", BIT)])
@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_a_folder_is_read_back(family, config, file, tmp_path):
    from safetensors.torch import save_file

    model, state = _foreign(family)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (torch.save if file.endswith("bin") else save_file)(state, tmp_path / file)
    kind, read = bert_checkpoint.read(tmp_path)
    assert kind == family and torch.equal(read(IDS, MASK), model(IDS, MASK))


def test_old_names_of_layer_norms_are_understood():
    model, state = _foreign("bit")
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for n, t in state.items()
    }
    assert torch.equal(bert_checkpoint.build(Checkpoint(BIT, old))[1](IDS, MASK), model(IDS, MASK))


def test_the_dead_shifts_of_attention_are_ignored():
    model, state = _foreign("bit")
    state["bert.encoder.layer.0.attention.self.move_q.bias"] = torch.ones(12)
    assert torch.equal(bert_checkpoint.build(Checkpoint(BIT, state))[1](IDS, MASK), model(IDS, MASK))


@pytest.mark.parametrize(
    ("family", "config", "error", "text"),
    [
        ("bit", BIT | {"weight_quant_method": "laq"}, UnsupportedError, "laq"),
        ("bit", BIT | {"input_quant_method": "uniform"}, UnsupportedError, "uniform"),
        ("bit", BIT | {"not_quantize_attention": True}, UnsupportedError, "not_quantize_attention"),
        ("bit", BIT | {"input_bits": "one"}, FormatError, "input_bits"),
        ("bit", BIT | {"input_bits": 32}, FormatError, "bits"),
        ("bibert", BIBERT | {"weight_bits": 8}, UnsupportedError, "weight_bits 8"),
        ("bibert", CONFIG, UnsupportedError, "weight_bits 32"),
        ("bibert", BIBERT | {"num_hidden_layers": 3}, FormatError, "missing"),
        ("bibert", BIBERT | {"num_hidden_layers": 1}, FormatError, "unknown"),
        ("bibert", BIBERT | {"num_attention_heads": 5}, FormatError, "not a multiple"),
        ("bibert", BIBERT | {"hidden_act": "swish"}, UnsupportedError, "swish"),
        ("bibert", BIBERT | {"intermediate_size": True}, FormatError, "intermediate_size"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(family, config, error, text):
    _, state = _foreign(family)
    with pytest.raises(error, match=text):
        bert_checkpoint.build(Checkpoint(config, state))


def test_a_configuration_that_promises_bits_which_are_not_there_is_refused():
    model = bit.build(BiTConfig(**SIZES), quantised=False)
    state = {bert_checkpoint.foreign_name(name): tensor for name, tensor in model.state_dict().items()}
    assert bert_checkpoint.build(Checkpoint(CONFIG, state))[0] == "bert"
    with pytest.raises(FormatError, match="ordinary float BERT"):
        bert_checkpoint.build(Checkpoint(BIBERT, state))


def test_the_file_without_scales_is_refused():
    _, state = _foreign("bibert")
    signs = {n: t.sign() if f"{n.removesuffix('.weight')}.scale" in state else t for n, t in state.items()}
    with pytest.raises(FormatError, match="latent"):
        bert_checkpoint.build(Checkpoint(BIBERT, signs))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(bad):
    _, state = _foreign("bit")
    state["classifier.bias"][0] = bad
    with pytest.raises(FormatError, match=r"classifier\.bias"):
        bert_checkpoint.build(Checkpoint(BIT, state))


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("bomb"),))


def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(BIT))
    torch.save({"classifier.weight": _Bomb()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(FormatError, match="nothing in a file is executed"):
        read_checkpoint(tmp_path)
    assert not Path("bomb").exists()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_truncated_files_are_refused(file, keep, tmp_path):
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text("{}")
    path = tmp_path / file
    (torch.save if file.endswith("bin") else save_file)({"a": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match=file):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [[torch.ones(2)], {}, {"a": 1}, {1: torch.ones(2)}, torch.ones(2)])
def test_pickles_that_are_not_a_dictionary_of_tensors_are_refused(content, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(FormatError, match="pytorch_model"):
        read_checkpoint(tmp_path)


def test_folders_without_the_files_are_refused(tmp_path):
    with pytest.raises(NotFoundError, match=r"config\.json"):
        read_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotFoundError, match=r"model\.safetensors"):
        read_checkpoint(tmp_path)
