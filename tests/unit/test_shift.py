"""Shift weights against the formulas written out, one weight at a time, and their packed planes bit by bit."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeq._errors import FormatError, UsageError
from edgeq.nn.float_conv import Conv2d
from edgeq.nn.shift_conv import ShiftConv2d
from edgeq.schemes import shift


def every_pattern(bits: int) -> torch.Tensor:
    """(N + 1, 3^(N + 1)): all combinations of negative, zero and positive references, for few bits."""
    return torch.tensor(list(itertools.product((-0.3, 0.0, 0.7), repeat=shift.references(bits)))).T.contiguous()


def trailing_run(references: list[float]) -> int:
    return len(list(itertools.takewhile(lambda t: t > 0, reversed(references))))


@pytest.mark.parametrize("bits", shift.WIDTHS)
def test_value_and_gradient_of_every_pattern(bits):
    latents = every_pattern(bits).requires_grad_()
    seed = torch.linspace(-2, 2, latents.shape[1])
    got = shift.weights(latents)
    (got * seed).sum().backward()
    sign, exponent = shift.weight_codes(latents)
    assert torch.equal(got, shift.values(sign, exponent))
    for i, (w, *t) in enumerate(latents.T.tolist()):
        if i % (37 if bits == 4 else 1):
            continue
        runs = [trailing_run(t[:k]) for k in range(len(t) + 1)]  # S_0 ... S_N
        s, plus = runs[-1], 1.0 if w >= 0 else -1.0
        assert got[i].item() == plus * 2**s
        assert (sign[i].item(), exponent[i].item()) == (w >= 0, s)
        g = seed[i].item()
        want = [g * math.sqrt(s + 1)]
        for k in range(1, len(t) + 1):
            later = all(x > 0 for x in t[k:])
            want.append(g * plus / (2 * math.sqrt(s + 1)) * (runs[k - 1] + 1) * later)
        np.testing.assert_allclose(latents.grad[:, i].numpy(), want, rtol=1e-6, atol=1e-12)


def test_zero_references():
    latents = torch.tensor([[0.0, -0.0], [0.0, 1.0]])
    assert shift.weights(latents).tolist() == [1.0, 2.0]  # sgn(0) = sgn(-0) = +1, b(0) = 0


def test_s3_value_and_gradient_of_every_pattern():
    latents = every_pattern(3).requires_grad_()
    got = shift.s3_weights(latents)
    got.sum().backward()
    assert set(got.tolist()) == {0.0, 1.0, 2.0, 4.0, -1.0, -2.0, -4.0}
    for i, (sign, value, first, second) in enumerate(latents.T.tolist()):
        plus, on, b1, b2 = 1.0 if sign >= 0 else -1.0, value > 0, first > 0, second > 0
        power = 2.0 ** (b1 * (b2 + 1))
        assert got[i].item() == plus * on * power
        slope = plus * on * power * math.log(2)
        want = [on * power, plus * power, slope * (b2 + 1), slope * b1]
        np.testing.assert_allclose(latents.grad[:, i].numpy(), want, rtol=1e-6)


@given(st.sampled_from(shift.WIDTHS), st.integers(1, 140), st.integers(0, 2**32 - 1))
def test_planes_hold_every_bit_and_come_back(bits, k, seed):
    random = np.random.default_rng(seed)
    sign = torch.from_numpy(random.integers(0, 2, (2, 3, k)).astype(bool))
    exponent = torch.from_numpy(random.integers(0, shift.references(bits), (2, 3, k)).astype(np.uint8))
    planes = shift.pack(sign, exponent, bits)
    row = next(n for n in (1, 2, 4, *range(8, 33, 8)) if 8 * n >= k)
    assert planes.shape == (bits, 2, 3, row) and planes.dtype == torch.uint8
    where = tuple(int(random.integers(n)) for n in sign.shape)
    at = [int(plane[*where[:2], where[2] // 8]) >> where[2] % 8 & 1 for plane in planes]
    assert at[0] == sign[where] and sum(bit << i for i, bit in enumerate(at[1:])) == exponent[where]
    back = shift.unpack(planes, k)
    assert torch.equal(back[0], sign) and torch.equal(back[1], exponent)


def test_what_cannot_be_packed_or_unpacked():
    sign, exponent = torch.ones(1, 5, dtype=torch.bool), torch.full((1, 5), 4, dtype=torch.uint8)
    with pytest.raises(UsageError, match="exponent 4 does not fit 3-bit"):
        shift.pack(sign, exponent, 3)
    planes = shift.pack(sign, exponent, 4)
    with pytest.raises(FormatError, match="row of 9 takes 2 bytes, got 1"):
        shift.unpack(planes, 9)
    with pytest.raises(FormatError, match="padding bits"):
        shift.unpack(planes, 4)
    for wrong in (planes.float(), torch.zeros(5, 1, 1, dtype=torch.uint8), planes[0, 0]):
        with pytest.raises(FormatError, match="2, 3 or 4 planes of uint8"):
            shift.unpack(wrong, 5)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2)])
def test_convolution_against_a_sum_over_taps(groups, stride, padding):
    torch.manual_seed(groups)
    conv = ShiftConv2d(4, 8, 3, stride=stride, padding=padding, groups=groups, bias=True, bits=4)
    conv.bias.data.normal_()
    x = torch.randn(2, 6, 5, 4)
    got = conv(x).detach().numpy()
    w = shift.values(*shift.weight_codes(conv.references)).numpy()  # (O, 3, 3, I / groups)
    padded = np.pad(x.numpy(), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    for n, i, j, o in np.ndindex(got.shape):
        first = o // (8 // groups) * w.shape[3]
        patch = padded[n, i * stride : i * stride + 3, j * stride : j * stride + 3, first : first + w.shape[3]]
        assert got[n, i, j, o] == pytest.approx((patch * w[o]).sum() + conv.bias[o].item(), rel=1e-4, abs=1e-4)


def test_input_gradient_sees_the_true_weights():
    torch.manual_seed(1)
    conv = ShiftConv2d(3, 2, 1)
    x = torch.randn(1, 1, 1, 3, requires_grad=True)
    conv(x).sum().backward()
    assert torch.equal(x.grad.flatten(), conv.kernel().detach().sum((0, 1, 2)))


def test_bad_layers_are_refused_by_name():
    for text, build in (
        ("bits", lambda: ShiftConv2d(4, 4, 1, bits=5)),
        ("S3 weights have 3 bits", lambda: ShiftConv2d(4, 4, 1, bits=4, form="s3")),
        ("groups", lambda: Conv2d(4, 6, 1, groups=4)),
        ("groups", lambda: Conv2d(4, 6, 1, groups=0)),
    ):
        with pytest.raises(UsageError, match=text):
            build()
