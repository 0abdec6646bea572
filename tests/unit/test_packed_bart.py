"""Packed ternary and binary BART: parity with the authors, the cache, two methods in one program, hostile inputs."""

import importlib
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from edgeq import models
from edgeq._errors import CompileError, FormatError, UnsupportedError, UsageError
from edgeq.compile import executorch, host
from edgeq.models import ternary_bart
from edgeq.models._packed_bart import Session, methods
from edgeq.models.ternary_bart import TernaryBartConfig

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / ".." / "shared" / "fixtures" / "nlp"
NAMES = sorted(path.stem for path in FIXTURES.glob("tbt_bart_*.npz"))
SIZES = {"vocabulary": 20, "hidden": 36, "positions": 9, "encoder_layers": 1, "decoder_layers": 2}
SIZES |= {"encoder_heads": 3, "decoder_heads": 4, "encoder_ffn": 50, "decoder_ffn": 41}
IDS = torch.tensor([[3, 4, 5, 6, 2], [7, 8, 2, 1, 1]])
MASK = (IDS != 1).long()
TARGET = torch.tensor([[2, 9, 10, 11], [2, 12, 13, 14]])
MODES = {
    "w2a8 rows": {"scales": "row"},
    "w2a8 rows int8 head": {"scales": "row", "head": "int8"},
    "w2a8": {},
    "w1a8": {"weight_bits": 1, "head": "quantised"},
    "w2a2": {"activation_bits": 2},
    "w2a2 rows": {"activation_bits": 2, "scales": "row", "head": "separate"},
    "w1a2": {"weight_bits": 1, "activation_bits": 2},
    "w1a1": {"weight_bits": 1, "activation_bits": 1},
    "w1a1 rows": {"weight_bits": 1, "activation_bits": 1, "scales": "row", "head": "quantised"},
}
BATCH_FREE = [name for name in MODES if "rows" in name or "a1" in name]


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


def _trained(mode):
    torch.manual_seed(0)
    model = ternary_bart.build(TernaryBartConfig(**SIZES, **MODES[mode])).eval()
    with torch.no_grad():
        if model.head is not None:
            model.head.normal_(std=0.02)
        model(IDS, MASK, TARGET)  # sets the steps
    return model


@torch.no_grad()
def _generated(session, source, tokens):
    session.encode(*source)
    steps = [session.decode(tokens[:, i : i + 1], torch.tensor([i])) for i in range(tokens.shape[1])]
    return torch.cat(steps, 1)


@pytest.mark.parametrize("mode", MODES)
def test_the_packed_network_computes_what_the_trained_one_does(mode):
    model = _trained(mode)
    with torch.no_grad():
        got, want = ternary_bart.pack(model)(IDS, MASK, TARGET), model(IDS, MASK, TARGET)
    loose = 1e-3 if "a8" in mode else 1e-5  # one 8-bit code may round the other way
    torch.testing.assert_close(got, want, rtol=1e-4, atol=loose)


@pytest.mark.parametrize("mode", BATCH_FREE)
def test_cached_decoding_equals_teacher_forcing_where_scales_are_a_tokens_own(mode):
    face = ternary_bart.pack(_trained(mode))
    with torch.no_grad():
        whole = face(IDS, MASK, TARGET)
    session = Session(face, source=5, target=6, batch=2)
    torch.testing.assert_close(_generated(session, (IDS, MASK), TARGET), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", BATCH_FREE)
def test_a_source_gives_the_same_alone_and_padded(mode):
    face = ternary_bart.pack(_trained(mode))
    alone = _generated(Session(face, source=3, target=4), (IDS[1:, :3], MASK[1:, :3]), TARGET[1:])
    padded = _generated(Session(face, source=7, target=9), _pad(IDS[1:], MASK[1:], 7), TARGET[1:])
    torch.testing.assert_close(alone, padded, rtol=1e-5, atol=1e-6)


def _pad(ids, mask, length):
    more = length - ids.shape[1]
    return torch.nn.functional.pad(ids, (0, more), value=1), torch.nn.functional.pad(mask, (0, more))


def test_a_new_source_begins_with_an_empty_cache():
    face = ternary_bart.pack(_trained("w2a8"))
    used, fresh = (Session(face, source=5, target=4, batch=2) for _ in range(2))
    _generated(used, (IDS.flip(0), MASK.flip(0)), TARGET.flip(0))
    assert torch.equal(_generated(used, (IDS, MASK), TARGET), _generated(fresh, (IDS, MASK), TARGET))


@pytest.mark.parametrize(
    ("mode", "dtype", "entry_bytes"),
    [
        ("w1a1", torch.uint8, 2 * 8),
        ("w2a2", torch.int8, 36),
        ("w2a8 rows", torch.int8, 36),
        ("w2a8", torch.float32, 144),
    ],
)
def test_what_the_cache_takes_for_a_token(mode, dtype, entry_bytes):
    session = Session(ternary_bart.pack(_trained(mode)), source=5, target=4)
    keys = session.get_buffer("own_keys_0")
    assert keys.dtype == dtype and keys.numel() * keys.element_size() == 4 * entry_bytes


def test_a_package_holds_the_whole_packed_network():
    model = _trained("w2a8 rows int8 head")
    face = ternary_bart.pack(model)
    tensors = {key: tensor.numpy() for key, tensor in face.state_dict().items()}
    described = {"model": "ternary_bart", "network": asdict(model.config), "input": {"source": 5, "target": 4}}
    again = models.from_package(described, tensors)
    assert torch.equal(again(IDS, MASK, TARGET), face(IDS, MASK, TARGET))
    found = models.methods(described, again)
    assert {name: [tuple(t.shape) for t in inputs] for name, (_, inputs) in found.items()} == {
        "encode": [(1, 5), (1, 5)],
        "decode": [(1, 1), (1,)],
    }
    for bad in ({}, {"source": 5, "target": 10}, {"source": True, "target": 4}, {"source": "5", "target": 4}):
        with pytest.raises(FormatError, match="source"):
            models.methods(described | {"input": bad}, again)


def test_a_cache_longer_than_the_positions_is_refused():
    with pytest.raises(UsageError, match="at most 9"):
        Session(ternary_bart.pack(_trained("w1a1")), source=10, target=4)


def test_ternary_weights_with_signs_are_refused():
    with pytest.raises(UnsupportedError, match="2 or 8 bits"):
        ternary_bart.packed(TernaryBartConfig(**SIZES, activation_bits=1))


@pytest.mark.parametrize("mode", ["w1a1", "w2a8 rows int8 head"])
def test_a_program_decodes_with_the_cache_that_encode_began(mode):
    face = ternary_bart.pack(_trained(mode))
    session = Session(face, source=5, target=4)
    program = host.Program(executorch.lower_methods(methods(session)))
    source = (IDS[:1], MASK[:1])
    program.run("encode", source)
    got = [program.run("decode", (TARGET[:1, i : i + 1], torch.tensor([i])))[0] for i in range(4)]
    torch.testing.assert_close(torch.cat(got, 1), _generated(session, source, TARGET[:1]), rtol=2e-6, atol=1e-7)
    token = TARGET[:1, :1]
    for foreign, position in ((torch.full_like(token, 20), 0), (token, 4), (token, 2**40)):
        with pytest.raises(CompileError, match="cannot be executed"):
            program.run("decode", (foreign, torch.tensor([position])))
