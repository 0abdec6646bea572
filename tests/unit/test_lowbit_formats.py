"""Foreign low-bit layouts: parity with their owners' packages, hand-made corners, and hostile bytes."""

import importlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from edgeq._errors import EdgeQError, FormatError, UnsupportedError
from edgeq.importers import awq, compressed_tensors, gguf, gguf_blocks, gptq, hf_bitnet, hqq, lowbit
from edgeq.importers.checkpoint import Checkpoint, read_checkpoint
from edgeq.schemes.grouped import GroupedWeight, linear_of_tokens, quantise_tokens

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / ".." / "shared" / "fixtures" / "nlp"
NAMES = sorted(path.stem for pattern in ("int4_*.npz", "gguf_*.npz") for path in FIXTURES.glob(pattern))


@pytest.mark.skipif(not NAMES, reason="fixtures of the formats' owners are not beside this checkout")
@pytest.mark.parametrize("name", NAMES)
def test_parity_with_the_owners_packages(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    parity = importlib.import_module("parity")
    report = parity.run(parity.read_fixture(FIXTURES / f"{name}.npz"), "float")
    assert report.ok, {key: report.max_abs_diff[key] for key in report.failed}


# -- the internal form ----------------------------------------------------------------------------------------------


def _grouped(**changes):
    fields = {
        "bits": 4,
        "codes": torch.arange(8, dtype=torch.uint8).view(2, 4),
        "scale": torch.tensor([[1.0, 2.0], [0.5, 0.0]]),
        "zero": torch.full((2, 2), 8.0),
    }
    return GroupedWeight(**fields | changes)


def test_values_by_hand():
    assert _grouped().dequantise().tolist() == [[-8, -7, -12, -10], [-2, -1.5, 0, 0]]
    perm = torch.tensor([2, 0, 3, 1])
    assert _grouped(perm=perm).dequantise().tolist() == [[-7, -10, -8, -12], [-1.5, 0, -2, 0]]


def test_a_minimum_becomes_a_zero_even_where_the_scale_is_zero():
    minimum = torch.tensor([[-1.0, 0.5], [2.0, -3.0]])
    weight = _grouped(zero=torch.zeros(2, 2), minimum=minimum)
    converted = weight.with_zero()
    assert converted.minimum is None and converted.zero.isfinite().all()
    torch.testing.assert_close(converted.dequantise(), weight.dequantise())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scale": torch.ones(2, 3), "zero": torch.ones(2, 3)}, "multiple"),
        ({"zero": torch.ones(2, 1)}, "zero"),
        ({"scale": torch.full((2, 2), torch.nan)}, "NaN"),
        ({"bits": 2}, "code 7"),
        ({"bias": torch.ones(3)}, "bias"),
        ({"perm": torch.tensor([0, 0, 1, 2])}, "permutation"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, text):
    with pytest.raises(FormatError, match=text):
        _grouped(**change)


# -- GPTQ, AWQ, compressed-tensors ----------------------------------------------------------------------------------


def _words(values, bits=4):
    """Fields of 32-bit words along the last axis, lowest first."""
    fields = np.asarray(values, np.uint64).reshape(*np.shape(values)[:-1], -1, 32 // bits)
    words = (fields << np.arange(0, 32, bits, dtype=np.uint64)).sum(-1).astype(np.uint32)
    return torch.from_numpy(words.view(np.int32))


def _gptq_parts(zero=8, bits=4):
    codes = np.arange(8 * 16).reshape(8, 16) % 2**bits
    return {
        "qweight": _words(codes, bits).T.contiguous(),
        "qzeros": _words(np.full((2, 8), zero), bits),
        "scales": torch.ones(2, 8, dtype=torch.float16),
    }, codes


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_gptq_of_other_widths(bits):
    parts, codes = _gptq_parts(zero=1, bits=bits) if bits != 2 else ({}, None)
    if bits == 2:  # sixteen fields to a word
        codes = np.arange(16 * 16).reshape(16, 16) % 4
        parts = {
            "qweight": _words(codes, 2).T.contiguous(),
            "qzeros": _words(np.ones((2, 16)), 2),
            "scales": torch.ones(2, 16),
        }
    weight = gptq.decode(**parts, bits=bits, version=2)
    assert np.array_equal(weight.codes, codes) and (weight.zero == 1).all()


def test_version_1_zeros_borrow_from_their_neighbour():
    zeros = np.array([[0, 5, 0, 15, 1, 0, 0, 9]])
    words = (_words(zeros).numpy().view(np.uint32) - np.uint32(0x11111111)).view(np.int32)
    parts, _ = _gptq_parts()
    parts |= {"qzeros": torch.from_numpy(words).repeat(2, 1)}
    assert gptq.decode(**parts, version=1).zero[:, 0].tolist() == zeros[0].tolist()


@pytest.mark.parametrize(
    ("change", "options", "error", "text"),
    [
        ({}, {"symmetric": True, "version": 1}, FormatError, "version"),
        ({}, {"bits": 3}, UnsupportedError, "3-bit"),
        ({}, {"version": 3}, FormatError, "version"),
        ({"scales": torch.ones(2, 7)}, {}, FormatError, "scales"),
        ({"scales": torch.ones(3, 8)}, {}, FormatError, "qzeros"),
        ({"qweight": torch.ones(2, 8)}, {}, FormatError, "32-bit words"),
        ({"g_idx": torch.zeros(16, dtype=torch.int32)}, {}, FormatError, "different sizes"),
        ({"g_idx": torch.full((16,), 9)}, {}, FormatError, "g_idx"),
        ({"g_idx": torch.zeros(3, dtype=torch.int32)}, {}, FormatError, "g_idx"),
    ],
)
def test_gptq_that_does_not_fit_is_refused(change, options, error, text):
    parts, _ = _gptq_parts()
    with pytest.raises(error, match=text):
        gptq.decode(**parts | change, **options)


def test_awq_interleaves_outputs():
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    codes = np.arange(2 * 8).reshape(2, 8)
    weight = awq.decode(_words(codes[:, order]), _words(np.full((1, 8), 3)), torch.ones(1, 8))
    assert np.array_equal(weight.codes.T, codes)
    with pytest.raises(FormatError, match="differ"):
        awq.decode(_words(codes[:, order]), _words(np.full((1, 8), 3)), torch.ones(1, 16))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"weight_shape": torch.tensor([2, 17])}, "weight_shape says"),
        ({"weight_shape": torch.tensor([2, 8])}, "weight_shape says"),
        ({"weight_shape": torch.tensor([2, -1])}, "positive"),
        ({"weight_shape": torch.tensor([2.0, 13.0])}, "positive"),
        ({"weight_scale": torch.ones(3, 1)}, "weight_scale"),
        ({"weight_zero_point": torch.ones(2, 1, dtype=torch.int32)}, "weight_zero_point"),
    ],
)
def test_compressed_tensors_that_do_not_fit_are_refused(change, text):
    parts = {
        "weight_packed": _words(np.full((2, 16), 9)),
        "weight_scale": torch.ones(2, 1, dtype=torch.bfloat16),
        "weight_shape": torch.tensor([2, 13]),
    }
    assert (compressed_tensors.decode(**parts).dequantise() == torch.ones(2, 13)).all()
    with pytest.raises(FormatError, match=text):
        compressed_tensors.decode(**parts | change)


# -- BitNet and HQQ -------------------------------------------------------------------------------------------------


def test_divisor_and_multiplier_are_told_apart_by_their_size():
    packed = torch.full((1, 4), 0b10010010, dtype=torch.uint8)  # outputs 1, -1, 0, 1
    divided = hf_bitnet.decode(packed, torch.tensor([50.0]), linear_class="bitlinear", bias=torch.ones(4))
    assert divided.dequantise()[:, 0].tolist() == pytest.approx([0.02, -0.02, 0, 0.02])
    times = hf_bitnet.decode(packed, torch.tensor([0.02]), linear_class="autobitlinear", bias=torch.ones(4))
    assert times.bias.tolist() == pytest.approx([0.02] * 4) and divided.bias.tolist() == [1.0] * 4
    with pytest.warns(UserWarning, match="divisor"):
        hf_bitnet.decode(packed, torch.tensor([0.02]), linear_class="bitlinear")


@pytest.mark.parametrize("scale", [[0.0], [-1.0], [float("nan")], [1.0, 2.0]])
def test_scales_that_are_no_positive_number_are_refused(scale):
    with pytest.raises(FormatError, match="positive"):
        hf_bitnet.decode(torch.zeros(1, 4, dtype=torch.uint8), torch.tensor(scale), linear_class="bitlinear")


def test_a_field_of_three_is_refused():
    with pytest.raises(FormatError, match="3"):
        hf_bitnet.decode(torch.full((1, 4), 255, dtype=torch.uint8), torch.tensor([50.0]), linear_class="bitlinear")


def test_a_token_of_zeros_gives_the_bias():
    weight = hf_bitnet.quantise(torch.randn(8, 6, generator=torch.Generator().manual_seed(0)), bias=torch.arange(8.0))
    assert linear_of_tokens(torch.zeros(1, 6), weight).tolist() == [list(range(8))]
    codes, _ = quantise_tokens(torch.tensor([[1.0, -1.0, 0.5]]))
    assert codes.tolist() == [[127, -127, 64]]


def test_hqq_that_does_not_fit_is_refused():
    packed, ones = torch.zeros(4, 8, dtype=torch.uint8), torch.ones(8, 1)
    assert hqq.decode(packed, ones, ones, shape=(4, 16), group=8, axis=1, bits=4).codes.shape == (4, 16)
    for change in ({"group": 5}, {"axis": 2}, {"shape": (4, 15)}, {"group": 16}, {"bits": 3}, {"bits": 2}):
        with pytest.raises(EdgeQError):
            hqq.decode(packed, ones, ones, **{"shape": (4, 16), "group": 8, "axis": 1, "bits": 4} | change)


# -- recognition ----------------------------------------------------------------------------------------------------


def _checkpoint(settings, tensors):
    return Checkpoint({"quantization_config": settings}, {f"a.{k}": v for k, v in tensors.items()})


def test_layers_are_found_by_the_format_that_the_configuration_names():
    parts, codes = _gptq_parts()
    found = lowbit.layers(_checkpoint({"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2"}, parts))
    assert np.array_equal(found["a"].codes, codes)
    packed = {"weight": torch.zeros(1, 4, dtype=torch.uint8), "weight_scale": torch.tensor([50.0])}
    assert lowbit.layers(_checkpoint({"quant_method": "bitnet"}, packed))["a"].activation == "int8 per token"
    pack = {
        "weight_packed": _words(np.full((2, 8), 9)),
        "weight_scale": torch.ones(2, 1),
        "weight_shape": torch.tensor([2, 8]),
    }
    group = {"weights": {"num_bits": 4}, "input_activations": {"num_bits": 8, "strategy": "token", "symmetric": False}}
    settings = {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": group}}
    assert lowbit.layers(_checkpoint(settings, pack))["a"].activation == "int8 per token, asymmetric"


def test_torchao_has_one_value_per_byte():
    parts = {
        "_weight_qdata": torch.tensor([[-8, 7, 0, 1]], dtype=torch.int8),
        "_weight_scale": torch.tensor([[0.5, 2.0]]),
        "_weight_zero_point": torch.tensor([[1, 0]], dtype=torch.int8),
    }
    weight = lowbit.layers(_checkpoint({"quant_method": "torchao"}, parts))["a"]
    assert weight.dequantise().tolist() == [[-4.5, 3, 0, 2]] and int(weight.codes.min()) == 0
    for bad in (8, -9, -128):
        parts["_weight_qdata"] = torch.full((1, 4), bad, dtype=torch.int8)
        with pytest.raises(FormatError, match=r"-8\.\.7"):
            lowbit.layers(_checkpoint({"quant_method": "torchao"}, parts))


def test_hqq_keeps_its_settings_in_tensors():
    parts = {
        "W_q": torch.full((4, 8), 0x21, dtype=torch.uint8),  # high nibbles are the first rows
        "scale": torch.full((8, 1), 0.5),
        "zero": torch.full((8, 1), 0.5),
        "shape": torch.tensor([4, 16]),
        "group_size": torch.tensor(8),
        "axis": torch.tensor(1),
        "nbits": torch.tensor(4),
        "bias": torch.ones(4, dtype=torch.float16),
    }
    weight = lowbit.layers(_checkpoint({"quant_method": "hqq"}, parts))["a"]
    assert weight.dequantise()[:, 0].tolist() == [0.75, 0.75, 0.25, 0.25] and weight.bias.tolist() == [1.0] * 4
    for change in ({"shape": torch.tensor([4])}, {"axis": torch.tensor([0, 1])}, {"nbits": torch.tensor(4.5)}):
        with pytest.raises(FormatError, match=next(iter(change))):
            lowbit.layers(_checkpoint({"quant_method": "hqq"}, parts | change))


def test_the_settings_of_old_gptq_files_lie_beside_the_configuration(tmp_path):
    parts, codes = _gptq_parts()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "quantize_config.json").write_text('{"bits": 4, "desc_act": false}')
    save_file({f"a.{name}": tensor for name, tensor in parts.items()}, tmp_path / "model.safetensors")
    assert np.array_equal(lowbit.layers(read_checkpoint(tmp_path))["a"].codes, codes)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        (None, UnsupportedError, "not quantised"),
        ({"quant_method": "exl2"}, UnsupportedError, "exl2"),
        ({"quant_method": "gptq"}, FormatError, "a: .*bits"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, UnsupportedError, "marlin"),
        ({"quant_method": "gptq", "bits": 4, "sym": True}, FormatError, "symmetric"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, UnsupportedError, "gemv"),
        ({"quant_method": "compressed-tensors", "format": "int-quantized"}, FormatError, "no tensor"),
        ({"quant_method": "bitnet"}, FormatError, "no tensor"),
    ],
)
def test_what_is_not_imported_is_refused(settings, error, text):
    parts, _ = _gptq_parts()
    with pytest.raises(error, match=text):
        lowbit.layers(_checkpoint(settings, parts))


# -- GGUF -----------------------------------------------------------------------------------------------------------


def _string(text):
    return struct.pack("<Q", len(text)) + text


def _gguf(*, kind=0, dims=(4,), offset=0, data=bytes(16), version=3, tensors=1, values=0, metadata=b""):
    info = _string(b"w") + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, values) + metadata + info + struct.pack("<IQ", kind, offset)
    return head + bytes(-len(head) % 32) + data


def _parse(raw):
    return gguf.parse(np.frombuffer(raw, np.uint8), "model.gguf")


def test_a_small_file():
    file = _parse(_gguf(data=np.arange(4, dtype="<f4").tobytes()))
    assert file.decode("w").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("raw", "error", "text"),
    [
        (b"", FormatError, "byte 4"),
        (b"GGML" + bytes(40), FormatError, "not a GGUF"),
        (_gguf(version=1), UnsupportedError, "version 1"),
        (_gguf(version=0x03000000), UnsupportedError, "big-endian"),
        (_gguf(tensors=2**60), FormatError, "do not fit"),
        (_gguf(values=2**60), FormatError, "do not fit"),
        (_gguf(dims=()), FormatError, "dimensions"),
        (_gguf(dims=(1,) * 5), FormatError, "dimensions"),
        (_gguf(dims=(0,)), FormatError, "empty"),
        (_gguf(dims=(2**40, 2**40)), FormatError, "ends at byte"),
        (_gguf(offset=2**63), FormatError, "ends at byte"),
        (_gguf(offset=1), FormatError, "aligned"),
        (_gguf(kind=999), UnsupportedError, "999"),
        (_gguf(kind=2, dims=(16, 2)), FormatError, "whole blocks"),
        (_gguf(data=b""), FormatError, "ends at byte"),
        (_gguf(values=1, metadata=_string(b"k") + struct.pack("<I", 99)), FormatError, "type 99"),
        (_gguf(values=1, metadata=_string(b"\xff") + struct.pack("<I", 0)), FormatError, "UTF-8"),
        (
            _gguf(values=1, metadata=_string(b"k") + struct.pack("<IIQ", 9, 0, 2**61)),
            FormatError,
            "do not fit",
        ),
        (_gguf(values=1, metadata=_string(b"k") + struct.pack("<I", 9) * 9 + bytes(64)), FormatError, "."),
        (
            _gguf(values=1, metadata=_string(b"general.alignment") + struct.pack("<II", 4, 0)),
            FormatError,
            "alignment",
        ),
    ],
)
def test_hostile_files_are_refused(raw, error, text):
    with pytest.raises(error, match=text):
        _parse(raw)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_byte_can_do_more_than_raise_an_error(data):
    raw = bytearray(_gguf(kind=2, dims=(32, 2), data=bytes(36)))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        file = _parse(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
        for name in file.tensors:
            file.decode(name)
    except EdgeQError:
        pass


def test_scales_that_are_not_finite_are_refused():
    block = np.frombuffer(np.float16(np.inf).tobytes() + bytes(16), np.uint8)
    with pytest.raises(FormatError, match="scale"):
        gguf_blocks.decode(2, block, 1, 32)


def test_every_ternary_byte_decodes_to_trits():
    """TQ1_0 stores five trits as a fraction of 256; each value 0..242 must come back."""
    codes = np.zeros((1, 54), np.uint8)
    for value in range(243):
        codes[0, 0] = (value * 256 + 242) // 243
        got = gguf_blocks.decode(34, codes.reshape(-1), 1, 256).codes.view(-1)
        want = [value // 3**k % 3 for k in (4, 3, 2, 1, 0)]
        assert [int(got[32 * k]) for k in range(5)] == want
