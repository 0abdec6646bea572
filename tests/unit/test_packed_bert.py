"""Packed BiBERT and BiT: parity with the authors, with the train face on other sizes, and what is refused."""

import importlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq import models
from edgeq._errors import CompileError, FormatError, UnsupportedError, UsageError
from edgeq.compile import executorch, host
from edgeq.models import bibert, bit
from edgeq.models._bert import BertConfig
from edgeq.models.bit import BiTConfig
from edgeq.nn.packed_lowbit import PackedLowBitLinear, pack_rows
from edgeq.nn.packed_operands import Signs, smallest
from edgeq.schemes.elastic import Grid

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / ".." / "shared" / "fixtures" / "nlp"
NAMES = sorted(path.stem for path in FIXTURES.glob("bi*_w1*.npz"))
SIZES = {"vocabulary": 20, "hidden": 33, "heads": 3, "layers": 2, "intermediate": 70, "positions": 8}
IDS = torch.tensor([[1, 2, 3, 4, 19], [5, 6, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])


# -- parity ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not NAMES, reason="fixtures of the authors' code are not beside this checkout")
@pytest.mark.parametrize("name", NAMES)
def test_packed_parity_with_the_authors_code(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    parity = importlib.import_module("parity")
    report = parity.run(parity.read_fixture(FIXTURES / f"{name}.npz"), "packed")
    assert report.ok, {key: report.max_abs_diff[key] for key in report.failed}


@pytest.mark.long
@pytest.mark.skipif(not NAMES, reason="fixtures of the authors' code are not beside this checkout")
@pytest.mark.parametrize("name", NAMES)
def test_compiled_parity_with_the_authors_code(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    parity = importlib.import_module("parity")
    report = parity.run(parity.read_fixture(FIXTURES / f"{name}.npz"), "pte")
    assert report.ok, {key: report.max_abs_diff[key] for key in report.failed}


@pytest.mark.skipif(not NAMES, reason="fixtures of the authors' code are not beside this checkout")
def test_packed_parity_fails_on_one_changed_weight(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    parity = importlib.import_module("parity")
    fixture = parity.read_fixture(FIXTURES / "bibert_w1a1_h33_oddheads.npz")
    fixture.tensors["sd/bert.encoder.layer.0.output.dense.weight"][0] *= -1
    assert "hidden_1" in parity.run(fixture, "packed").failed


# -- against the train face -----------------------------------------------------------------------------------------


def _trained(config):
    """A network whose steps, shifts and statistics are set, with its family."""
    torch.manual_seed(0)
    family = bit if isinstance(config, BiTConfig) else bibert
    model = family.build(config).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("move"):
                parameter.normal_(std=0.1)
        for _ in range(3):
            model(IDS, MASK)
    return family, model.eval()


CONFIGS = {
    "bibert": BertConfig(**SIZES),
    "bibert mean relu": BertConfig(**SIZES, pooling="mean", activation="relu"),
    "bit 1": BiTConfig(**SIZES),
    "bit 1 mean rows": BiTConfig(**SIZES, pooling="mean", scale_per_row=True, activation="relu"),
    "bit 2": BiTConfig(**SIZES, bits=2),
    "bit 4 zero": BiTConfig(**SIZES, bits=4, minima="zero", pooling="mean"),
    "bit 8": BiTConfig(**SIZES, bits=8),
    "bit 8 zero": BiTConfig(**SIZES, bits=8, minima="zero"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_packed_network_computes_what_the_trained_one_does(name):
    family, model = _trained(CONFIGS[name])
    face = family.pack(model)
    with torch.no_grad():
        want, got = model.features(IDS, MASK), face.hidden(IDS, MASK)
        logits = face(IDS, MASK)
    for ours, theirs in zip(got, want.hidden, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(logits, want.logits, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["bibert", "bit 1 mean rows", "bit 4 zero"])
def test_a_package_holds_the_whole_packed_network(name):
    config = CONFIGS[name]
    family, model = _trained(config)
    face = family.pack(model)
    tensors = {key: tensor.numpy() for key, tensor in face.state_dict().items()}
    kind = "bit" if family is bit else "bibert"
    described = {"model": kind, "network": asdict(config), "input": {"tokens": 5}}
    again = models.from_package(described, tensors)
    assert torch.equal(again(IDS, MASK), face(IDS, MASK))
    (method,) = models.methods(described, again).values()
    assert [tuple(t.shape) for t in method[1]] == [(1, 5), (1, 5)]
    with pytest.raises(FormatError, match="input"):
        models.methods(described | {"input": {"tokens": 0}}, again)


def test_weights_take_one_bit_each():
    _, model = _trained(CONFIGS["bit 1"])
    weight = bit.pack(model).layers[0].up.weight
    assert weight.dtype == torch.uint8 and weight.shape == (70, 8)  # 33 bits in a row of 64


def test_the_token_types_are_added_where_they_are_given():
    family, model = _trained(CONFIGS["bibert"])
    face = family.pack(model)
    types = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]])
    with torch.no_grad():
        torch.testing.assert_close(face(IDS, MASK, types), model(IDS, MASK, types), rtol=1e-4, atol=2e-5)
        assert torch.equal(face(IDS, MASK, torch.zeros_like(IDS)), face(IDS, MASK))


def test_padding_does_not_count():
    family, model = _trained(CONFIGS["bit 4 zero"])
    face = family.pack(model)
    with torch.no_grad():
        short, long = face(IDS[1:, :2], MASK[1:, :2]), face(IDS[1:], MASK[1:])
    torch.testing.assert_close(short, long, rtol=1e-5, atol=1e-6)


# -- details --------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=6),
    st.floats(2**-6, 4, width=32),
)
def test_a_threshold_is_the_first_number_that_becomes_one(moves, alpha):
    move = torch.tensor(moves)

    def rounds_up(x):
        return ((x + move) / alpha).round() >= 1

    first = smallest(rounds_up, len(moves))
    assert rounds_up(first).all()
    assert not rounds_up(torch.nextafter(first, torch.tensor(-torch.inf))).any()


def test_where_nothing_becomes_one_the_threshold_is_infinite():
    assert smallest(lambda x: torch.zeros(len(x), dtype=torch.bool), 2).tolist() == [np.inf, np.inf]


def test_a_shifted_sign_is_zero_exactly_where_the_sum_is():
    signs = Signs(3, moves=True)
    signs.take(bit.Elastic(Grid(1, -1, 1)), torch.tensor([0.1, -0.3, 0.0]))
    planes = signs(torch.tensor([[-0.1, 0.3, -0.0]])).codes
    assert planes.sum() == 0  # neither positive nor non-zero


def test_a_weight_of_zero_becomes_plus_one_in_one_bit_and_stays_zero_in_two():
    codes = torch.tensor([[-1.0, 0.0, 1.0]])
    assert pack_rows(codes, 1).tolist() == [[0b110]]
    assert pack_rows(codes, 2).tolist() == [[[0b100]], [[0b101]]]


def test_a_row_whose_scale_is_zero_is_zero():
    family, model = _trained(CONFIGS["bibert"])
    with torch.no_grad():
        model.layers[0].up.weight[3] = 0.0
        assert torch.isfinite(family.pack(model)(IDS, MASK)).all()
    assert family.pack(model).layers[0].up.params[0, 3] == 0


def test_ternary_weights_between_signs_are_refused():
    with pytest.raises(UnsupportedError, match="2 or 8 bits"):
        PackedLowBitLinear(8, 8, Signs(8), weight_bits=2)


# -- hostile inputs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [20, -1, 2**40])
def test_an_id_outside_the_vocabulary_is_one_clear_error(bad):
    family, model = _trained(CONFIGS["bibert"])
    ids = IDS.clone()
    ids[0, 0] = bad
    with pytest.raises(UsageError, match="embedding"):
        family.pack(model)(ids, MASK)


def test_more_tokens_than_positions_are_refused():
    family, model = _trained(CONFIGS["bibert"])
    with pytest.raises(UsageError, match="at most 8"):
        family.pack(model)(torch.ones(1, 9, dtype=torch.int64), torch.ones(1, 9, dtype=torch.int64))


def test_a_compiled_network_equals_the_packed_one_and_refuses_a_foreign_id():
    family, model = _trained(BertConfig(**SIZES | {"layers": 1}, pooling="mean"))
    face = family.pack(model)
    inputs = (IDS[:1], MASK[:1])
    program = host.Program(executorch.lower(face, inputs))
    with torch.no_grad():
        torch.testing.assert_close(program.run("forward", inputs)[0], face(*inputs), rtol=2e-6, atol=1e-7)
    with pytest.raises(CompileError, match="cannot be executed"):
        program.run("forward", (torch.full_like(IDS[:1], 20), MASK[:1]))
