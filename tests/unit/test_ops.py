"""Operators: eager against plain torch, shape rules against eager, parameter layouts."""

import integer_cases
import numpy as np
import plane_cases
import pytest
import torch
from integer_cases import tuned
from torch.library import opcheck

from edgeq import ops
from edgeq.nn.conv import convolve
from edgeq.nn.packed import pack_bits, pack_nibbles
from edgeq.ops import Act, Quant, Want


def bits(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=generator) < 0.5


def fused_arguments(channels: int = 20, outputs: int = 12, stride: int = 2) -> tuple:
    g = torch.Generator().manual_seed(5)
    x = torch.randn(2, 7, 6, channels, generator=g)
    w = pack_bits(bits(g, outputs, 3, 3, channels))
    params = torch.randn(7, outputs, generator=g)
    block = torch.randn(2, 4, 3, outputs // 2, generator=g)
    gain = torch.rand(2, outputs, generator=g)
    return x, (ops.pack_sign(x, None), w, channels, stride, 1, Act.DPRELU, params, x, block, gain)


@pytest.mark.parametrize("channels", [1, 8, 20, 33, 64, 70])
def test_pack_sign_has_the_layout_of_pack_bits(channels):
    x = torch.randn(3, 4, 5, channels)
    x[0, 0, 0, 0] = -0.0  # counts as +1
    assert torch.equal(ops.pack_sign(x, None), pack_bits(x >= 0))


def test_pack_sign_compares_with_a_threshold_per_channel():
    x, threshold = torch.randn(6, 9), torch.randn(9)
    assert torch.equal(ops.pack_sign(x, threshold), pack_bits(x >= threshold))


@pytest.mark.parametrize(("channels", "kernel", "stride"), [(20, 3, 2), (64, 1, 1), (7, 5, 3)])
def test_binary_convolution_counts_signs_exactly(channels, kernel, stride):
    g = torch.Generator().manual_seed(channels)
    x, w = bits(g, 2, 9, 8, channels), bits(g, 5, kernel, kernel, channels)
    got = ops.conv2d_b1b1(pack_bits(x), pack_bits(w), channels, stride, 1)
    want = convolve(x.double() * 2 - 1, w.double() * 2 - 1, stride, 1, "same")
    assert got.dtype == torch.int32
    assert torch.equal(got.double(), want)


def test_binary_linear_counts_signs_exactly():
    g = torch.Generator().manual_seed(3)
    x, w = bits(g, 4, 100), bits(g, 6, 100)
    want = (x.double() * 2 - 1) @ (w.double() * 2 - 1).T
    assert torch.equal(ops.linear_b1b1(pack_bits(x), pack_bits(w), 100).double(), want)


def test_fused_convolution_is_its_parts():
    _, (bit_rows, w, channels, stride, groups, *rest) = fused_arguments()
    out, sign, mean = ops.conv2d_b1b1_fused(bit_rows, w, channels, stride, groups, *rest, Want.ALL)
    acc = ops.conv2d_b1b1(bit_rows, w, channels, stride, groups)
    assert torch.equal(out, ops.epilogue(acc, *rest))
    assert torch.equal(sign, ops.pack_sign(out, None))
    assert torch.equal(mean, ops.mean_hw(out))


@pytest.mark.parametrize("want", [Want.MAP, Want.BITS, Want.MEAN, Want.BITS | Want.MEAN])
def test_results_nobody_wants_are_empty_and_the_others_do_not_change(want):
    _, arguments = fused_arguments()
    everything = ops.conv2d_b1b1_fused(*arguments, Want.ALL)
    some = ops.conv2d_b1b1_fused(*arguments, want)
    for flag, full, part in zip((Want.MAP, Want.BITS, Want.MEAN), everything, some, strict=True):
        assert torch.equal(part, full) if want & flag else part.numel() == 0


def test_nibbles_are_codes_plus_eight_low_one_first():
    got = pack_nibbles(torch.tensor([[-8, 7, 1]], dtype=torch.int8))
    assert got.tolist() == [[0xF0, 0x09]]


def linear_arguments(make_weight) -> tuple:
    g = torch.Generator().manual_seed(11)
    x = torch.randn(3, 21, generator=g)
    codes = torch.randint(-7, 8, (5, 21), generator=g).to(torch.int8)
    steps = ops.pack_steps(torch.rand(21, generator=g) + 2)
    params = torch.randn(2, 5, generator=g)
    return x, codes, steps, params, (x, make_weight(codes), steps, Quant.SYM4, Act.RELU, params)


@pytest.mark.parametrize(("op", "make_weight"), [(ops.linear_i8f32, lambda c: c), (ops.linear_i4f32, pack_nibbles)])
def test_uniform_linear_quantises_its_input(op, make_weight):
    x, codes, steps, params, arguments = linear_arguments(make_weight)
    grid = (x * steps[0]).clamp(-7, 7).add(0.5).floor() * steps[1]
    want = ((grid.double() @ codes.double().T) * params[0] + params[1]).relu()
    np.testing.assert_allclose(op(*arguments).numpy(), want.numpy(), rtol=2e-6, atol=2e-6)


def test_quantised_operator_without_steps_is_refused():
    *_, arguments = linear_arguments(lambda c: c)
    with pytest.raises(ValueError, match="SYM4 needs steps"):
        ops.linear_i8f32(*arguments[:2], None, *arguments[3:])


@pytest.mark.parametrize(("rows", "act"), [(3, Act.NONE), (2, Act.DPRELU), (7, Act.RELU)])
def test_parameters_that_do_not_fit_the_activation_are_refused(rows, act):
    with pytest.raises(ValueError, match="do not fit activation"):
        ops.epilogue(torch.zeros(1, 1, 1, 4, dtype=torch.int32), act, torch.zeros(rows, 4), None, None, None)


def stem_arguments() -> tuple:
    g = torch.Generator().manual_seed(2)
    x = torch.randn(1, 8, 9, 3, generator=g)
    w = torch.randint(-127, 128, (6, 4, 4, 3), generator=g).to(torch.int8)
    steps = ops.pack_steps(torch.full((3,), 40.0))
    return x, w, steps, Quant.SYM8, 4, 0, 1, Act.DPRELU, torch.randn(5, 6, generator=g)


def gain_arguments() -> tuple:
    g = torch.Generator().manual_seed(4)
    c, hidden, o = 24, 3, 10
    fc1 = pack_nibbles(torch.randint(-7, 8, (hidden, c), generator=g).to(torch.int8))
    fc2 = pack_nibbles(torch.randint(-7, 8, (o, hidden), generator=g).to(torch.int8))
    params = torch.rand(2 * c + 4 * hidden + 2 * o, generator=g) + 0.5
    return torch.randn(2, c), torch.cat([fc1.reshape(-1), fc2.reshape(-1)]), params, hidden, Quant.SYM4, Quant.POS4


CHECKED = {
    "pack_sign": lambda: (torch.randn(2, 3, 40), None),
    "conv2d_b1b1": lambda: fused_arguments()[1][:5],
    "conv2d_b1b1_fused": lambda: (*fused_arguments()[1], int(Want.ALL)),
    "conv2d_i8f32": stem_arguments,
    "conv2d_i8f32_fused": lambda: (*stem_arguments(), int(Want.BITS)),
    "linear_b1b1": lambda: (pack_bits(torch.rand(2, 40) < 0.5), pack_bits(torch.rand(3, 40) < 0.5), 40),
    "linear_i8f32": lambda: linear_arguments(lambda c: c)[-1],
    "linear_i4f32": lambda: linear_arguments(pack_nibbles)[-1],
    "squeeze_excite_i4f32": gain_arguments,
    "epilogue": lambda: (torch.ones(1, 2, 2, 4, dtype=torch.int32), 0, torch.ones(2, 4), None, None, None),
    "conv2d_b1b1_tuned": lambda: tuned((*fused_arguments()[1], int(Want.ALL))),
    "conv2d_i8f32_tuned": lambda: tuned((*stem_arguments(), int(Want.BITS))),
    "mean_hw": lambda: (torch.randn(2, 3, 4, 5),),
    "fake_quantise": lambda: (torch.randn(3, 21), ops.pack_steps(torch.rand(21) + 2), Quant.SYM4),
    "mean_quarters": lambda: (torch.randint(-9, 9, (2, 3, 4, 5)).to(torch.int8), torch.tensor([2.0, -9, 9])),
    "latent_codes": lambda: (4 * torch.randn(3, 7), ops.Latent.POWERS, 8),
    "mean_patches": lambda: (torch.randint(-9, 9, (2, 5, 4, 3)).to(torch.int8), 3, 2, 2, 1),
    **integer_cases.CASES,
    **plane_cases.CASES,
}


@pytest.mark.parametrize("name", CHECKED)
def test_shape_rule_and_schema_agree_with_eager(name):
    opcheck(getattr(torch.ops.edgeq, name).default, CHECKED[name](), test_utils=("test_schema", "test_faketensor"))


def test_out_overloads_write_where_they_are_told():
    x = torch.randn(2, 3, 4, 5)
    out = torch.empty(2, 5)
    assert torch.ops.edgeq.mean_hw.out(x, out=out) is out
    assert torch.equal(out, ops.mean_hw(x))


def test_every_operator_is_checked():
    defined = {
        name.removeprefix("edgeq::").partition(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("edgeq::")
    }
    assert defined == set(CHECKED)
