"""Tuned convolutions: at rest they are their plain twins; corrections and moments follow the formula."""

import pytest
import torch
from integer_cases import conv2d, conv2d_f32

from edgeq import ops
from edgeq.ops import Act, Want

CASES = {
    "conv2d_s3i8": lambda: conv2d("s3"),
    "conv2d_i8i8": lambda: conv2d("i8"),
    "conv2d_s3f32": lambda: conv2d_f32("s3"),
    "conv2d_f32f32": lambda: conv2d_f32("f32"),
}
START, SIGMA, OUTPUTS = 3, 0.7, 9


@pytest.fixture(params=CASES)
def name(request):
    torch.manual_seed(1)
    return request.param


def both(name: str, arguments: tuple, ac: torch.Tensor) -> tuple[tuple, tuple]:
    *head, want = arguments
    twin = getattr(ops, f"{name}_tuned")(ac, START, SIGMA, *head, want | Want.MOMENTS)
    return getattr(ops, name)(*arguments), twin


def test_at_rest_it_is_the_plain_operator(name):
    plain, twin = both(name, CASES[name](), torch.zeros(1, START + 2 * OUTPUTS))
    assert all(torch.equal(a, b) for a, b in zip(plain, twin[:-1], strict=True))


@pytest.mark.parametrize("rows", [1, 2])
def test_corrections_and_moments_follow_the_formula(name, rows):
    x, w, stride, padding, groups, _, _, params, *_ = CASES[name]()
    ac = torch.randn(rows, START + 2 * OUTPUTS) * 0.3
    exact = (x, w, stride, padding, groups, None, Act.NONE, torch.stack([torch.ones(OUTPUTS), torch.zeros(OUTPUTS)]))
    acc = getattr(ops, name)(*exact, None, None, None, Want.MAP)[0].double()
    a, c = (ac[:, None, None, START + i * OUTPUTS : START + (i + 1) * OUTPUTS].double() for i in range(2))
    y = params[0] * a.exp() * acc + params[1] + SIGMA * c
    out, *_, moments = both(name, (*exact[:-1], params, None, None, None, int(Want.MAP)), ac)[1]
    flat, largest = y.flatten(1, 2), float(y.abs().max())  # sums of both signs: errors are relative to what was added
    torch.testing.assert_close(out.double(), y, rtol=0, atol=1e-6 * largest)
    torch.testing.assert_close(moments[:, 0].double(), flat.mean(1), rtol=0, atol=1e-6 * largest)
    torch.testing.assert_close(moments[:, 1].double(), flat.var(1, unbiased=False), rtol=0, atol=2e-6 * largest**2)


def test_moments_are_those_before_residual_and_activation(name):
    x, *rest = CASES[name]()
    *_, want = rest
    ac = torch.zeros(1, START + 2 * OUTPUTS)
    full = both(name, (x, *rest), ac)[1]
    bare = both(name, (x, *rest[:5], Act.NONE, rest[6], None, None, rest[9], want), ac)[1]
    assert torch.equal(full[-1], bare[-1])
    only = getattr(ops, f"{name}_tuned")(ac, START, SIGMA, x, *rest[:-1], int(Want.MOMENTS))
    assert torch.equal(only[-1], full[-1]) and all(result.numel() == 0 for result in only[:-1])
    none = getattr(ops, f"{name}_tuned")(ac, START, SIGMA, x, *rest)
    assert none[-1].numel() == 0


@pytest.mark.parametrize("ac", [torch.zeros(3, START + 2 * OUTPUTS), torch.zeros(1, START + 2 * OUTPUTS - 1)])
def test_corrections_of_another_shape_are_refused(ac):
    with pytest.raises(Exception, match=r"ac: expected \(1 or 2, 21 or more\)"):
        both("conv2d_s3i8", conv2d("s3"), ac)


def test_quarters_of_codes_are_those_of_their_values():
    codes, grid = torch.randint(-127, 128, (2, 5, 4, 7)).to(torch.int8), torch.tensor([3.0, -127, 127])
    torch.testing.assert_close(ops.mean_quarters(codes, grid), ops.mean_quarters(codes.float() / 3, None))
    assert ops.mean_quarters(codes[:, :1].contiguous(), grid).shape == (2, 14)
