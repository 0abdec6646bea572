"""The torch forms of the integer operators: shapes, schemas, and the same values as plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edgeq import ops
from edgeq.ops import Act, Codes, Want
from edgeq.schemes import shift

F = torch.nn.functional


def shift_kernel(o: int, kh: int, kw: int, cg: int, bits: int = 3) -> tuple[Tensor, Tensor]:
    """Values (o, kh, kw, cg) float32 and their planes."""
    sign = torch.randint(0, 2, (o, kh, kw, cg)).bool()
    exponent = torch.randint(0, 2 ** (bits - 1), (o, kh, kw, cg)).to(torch.uint8)
    return shift.values(sign, exponent), shift.pack(sign, exponent, bits)


def checked(op, *arguments):
    """Runs the operator on fake tensors too, and compares the shapes."""
    results = op(*arguments)
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = op(*(mode.from_tensor(a) if isinstance(a, Tensor) else a for a in arguments))
    pairs = zip(results, fake, strict=True) if isinstance(results, tuple) else [(results, fake)]
    for real, shaped in pairs:
        assert (real.shape, real.dtype) == (shaped.shape, shaped.dtype)
    return results


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 1, 1), (2, 1, 1), (2, 0, 3), (1, 1, 3)])
def test_conv2d_s3i8(stride, padding, groups):
    torch.manual_seed(stride + padding)
    x = torch.randint(-128, 128, (2, 9, 8, 6), dtype=torch.int8)
    values, planes = shift_kernel(12, 3, 3, 6 // groups)
    scale, bias = torch.rand(12) * 0.01, torch.randn(12)
    raw = F.conv2d(
        x.permute(0, 3, 1, 2).double(), values.permute(0, 3, 1, 2).double(), None, stride, padding, groups=groups
    ).permute(0, 2, 3, 1)
    skip = torch.randint(-128, 128, raw.shape, dtype=torch.int8)
    wanted = F.relu(raw.float() * scale + bias + skip.float() * 0.25)
    grid = torch.tensor([3.0, 0, 127])
    out, bits, mean, codes = checked(
        ops.conv2d_s3i8,
        *(x, planes, stride, padding, groups, None, Act.RELU, ops.stack_params(scale, bias)),
        *(skip, torch.tensor([0.25]), grid, Want.MAP | Want.MEAN | Want.CODES),
    )
    torch.testing.assert_close(out, wanted, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(mean, wanted.mean((1, 2)), rtol=1e-5, atol=1e-5)
    assert torch.equal(codes, (out * 3.0).round().clamp(0, 127).to(torch.int8))
    assert bits.numel() == 0


def test_depthwise():
    x = torch.randint(-128, 128, (1, 5, 5, 20), dtype=torch.int8)
    values, _ = shift_kernel(20, 3, 3, 1)
    sign, exponent = values[..., 0] > 0, values[..., 0].abs().log2().to(torch.uint8)
    planes = shift.pack(sign.permute(1, 2, 0).contiguous(), exponent.permute(1, 2, 0).contiguous(), 3)
    params = ops.stack_params(torch.ones(20), torch.zeros(20))
    out, _, _, _ = checked(ops.conv2d_s3i8, x, planes, 1, 1, 20, None, Act.NONE, params, None, None, None, Want.MAP)
    wanted = F.conv2d(x.permute(0, 3, 1, 2).float(), values.permute(0, 3, 1, 2), None, 1, 1, groups=20)
    assert torch.equal(out, wanted.permute(0, 2, 3, 1))


@pytest.mark.parametrize("kind", list(Codes))
def test_rows_of_codes_times_int8_weights(kind):
    torch.manual_seed(kind)
    x, w = torch.randn(2, 5, 64), torch.randint(-127, 128, (10, 64), dtype=torch.int8)
    codes, rows = checked(ops.quantise_rows_i8, x, kind, 2.5)
    if kind == Codes.BLOCK32_SYM:
        assert rows.shape == (10, 2)
        return
    clipped = x.clamp(-2.5, 2.5)
    value = codes.float() * rows[0].view(2, 5, 1)
    shift_weight = w.float().sum(1) * 0.02
    if rows.shape[0] == 2:
        value = value + rows[1].view(2, 5, 1)
    torch.testing.assert_close(value, clipped, rtol=0, atol=float(rows[0].max()) * 0.51)
    extra = shift_weight if rows.shape[0] == 2 else None
    params = ops.stack_params(torch.full((10,), 0.02), torch.zeros(10), shift_weight=extra)
    skip = torch.randn(2, 5, 10)
    out, planes, _ = checked(ops.linear_i8i8, codes, w, rows, Act.GELU, params, skip, None, None, Want.MAP | Want.T2)
    wanted = F.gelu(value @ (w.float() * 0.02).T + skip)
    torch.testing.assert_close(out, wanted, rtol=1e-5, atol=2e-5)
    assert planes.shape == (2, 2, 5, ops.row_bytes(10))


def test_linear_i4i8():
    x = torch.randint(-127, 128, (3, 7, 64), dtype=torch.int8)
    codes, zero = torch.randint(0, 16, (9, 64), dtype=torch.uint8), torch.randint(0, 16, (9, 2), dtype=torch.uint8)
    scale = torch.rand(9, 2).half()
    w = ((codes.view(9, 2, 32).float() - zero[..., None]) * scale[..., None].float()).view(9, 64)
    packed, zeros = codes[:, ::2] | codes[:, 1::2] << 4, zero[:, ::2] | zero[:, 1::2] << 4
    step = torch.rand(21, 2)
    params = ops.stack_params(torch.ones(9), torch.zeros(9))
    rows = torch.rand(1, 21)
    for block, row, value in (
        (None, rows, x.float() * rows.view(3, 7, 1)),
        (step, None, (x.view(3, 7, 2, 32).float() * step.view(3, 7, 2, 1)).view(3, 7, 64)),
    ):
        arguments = (packed, scale, zeros, 32, block, row, Act.NONE, params, None, None, None, Want.MAP)
        out, _, _ = checked(ops.linear_i4i8, x, *arguments)
        torch.testing.assert_close(out, value @ w.T, rtol=1e-5, atol=1e-3)
