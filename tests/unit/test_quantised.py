"""The quantisers of the language networks: integers, values, gradients, and the corners where papers divide by zero."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq._errors import UsageError
from edgeq.schemes import around_mean, dynamic, elastic, signs, ternary
from edgeq.schemes.quantised import product

SCHEMES = {
    "signs.linear_input": signs.linear_input,
    "signs.attention_bit": signs.attention_bit,
    "around_mean.bibert": around_mean.bibert_weights,
    "around_mean.bit": lambda x: around_mean.bit_weights(x, per_row=False),
    "around_mean.bit_rows": lambda x: around_mean.bit_weights(x, per_row=True),
    "ternary.1": lambda x: ternary.weights(x, 1),
    "ternary.2": lambda x: ternary.weights(x, 2),
    "ternary.twn": lambda x: ternary.twn_weights(x, per_row=True),
    "dynamic.signed": dynamic.signed,
    "dynamic.signed_rows": lambda x: dynamic.signed(x, per_row=True),
    "dynamic.unsigned": dynamic.unsigned,
    "dynamic.unsigned_rows": lambda x: dynamic.unsigned(x, per_row=True),
}
for _bits in (1, 2, 4, 8):
    for _signed in (True, False):
        for _grid in (elastic.full_grid, elastic.ternary_grid):
            name = f"elastic.{_grid.__name__}_{_bits}{'s' if _signed else 'u'}"
            SCHEMES[name] = partial(elastic.quantise, alpha=torch.tensor(0.4), grid=_grid(_bits, signed=_signed))


def _random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("quantise", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("x", [_random(4, 9), torch.zeros(3, 5), torch.full((2, 3), 0.3), -torch.ones(2, 2)])
def test_values_are_codes_times_scale_plus_offset(quantise, x):
    quantised = quantise(x)
    offset = 0.0 if quantised.offset is None else quantised.offset
    assert torch.equal(quantised.codes, quantised.codes.round())
    torch.testing.assert_close(quantised.values, quantised.codes * quantised.scale + offset)
    assert quantised.values.isfinite().all() and not quantised.codes.requires_grad


@pytest.mark.parametrize("quantise", SCHEMES.values(), ids=SCHEMES)
def test_zeros_stay_zeros(quantise):
    """An all-zero row or tensor divides by zero in the papers' codes; here it is zero."""
    assert not quantise(torch.zeros(3, 7)).values.any()


@pytest.mark.parametrize(
    ("grid", "codes"),
    [
        (elastic.full_grid(1, signed=True), (-1, 1)),
        (elastic.full_grid(1, signed=False), (0, 1)),
        (elastic.full_grid(2, signed=True), (-2, 1)),
        (elastic.full_grid(2, signed=False), (0, 3)),
        (elastic.ternary_grid(2, signed=True), (-1, 1)),
        (elastic.ternary_grid(2, signed=False), (0, 2)),
        (elastic.ternary_grid(8, signed=True), (-128, 127)),
    ],
)
def test_grids_of_bit_and_tbt(grid, codes):
    seen = elastic.quantise(torch.linspace(-500, 500, 1001), torch.tensor(1.0), grid).codes
    assert (int(seen.min()), int(seen.max())) == codes


@pytest.mark.parametrize("bits", [0, 9, -1])
def test_widths_without_a_grid_are_refused(bits):
    with pytest.raises(UsageError, match=str(bits)):
        elastic.full_grid(bits, signed=True)


def test_ties_round_to_even_and_sign_of_zero_is_zero():
    one = elastic.quantise(torch.tensor([0.5, 0.50001, 1.5]), torch.tensor(1.0), elastic.full_grid(1, signed=False))
    assert one.codes.tolist() == [0, 1, 1]
    assert elastic.quantise(
        torch.tensor([0.0, -0.0, 1e-30]), torch.tensor(1.0), elastic.full_grid(1, signed=True)
    ).codes.tolist() == [0, 0, 1]
    row = torch.tensor([[3.0, 0.0, 0.0]])  # a = 4/3 * 1, so half of it is 2/3
    tie = torch.tensor([[1.0, 0.5, 0.0]])  # a = 2/3: 0.5 lies above a/2, and an exact a/2 gives 0
    assert ternary.weights(row, 2).codes.tolist() == [[1, 0, 0]]
    assert ternary.weights(tie, 2).codes.tolist() == [[1, 1, 0]]
    assert ternary.weights(torch.tensor([[2.0, 0.5, 0.5, 0.0]]), 2).codes.tolist() == [[1, 0, 0, 0]]  # a/2 = 0.5


def test_unsigned_grids_start_at_the_minimum_of_the_batch():
    x = torch.tensor([[0.1, 0.5], [0.3, 0.9]])
    whole = elastic.quantise(x, torch.tensor(0.2), elastic.full_grid(2, signed=False))
    alone = elastic.quantise(x[1:], torch.tensor(0.2), elastic.full_grid(2, signed=False))
    assert whole.offset == x.min() and alone.offset == x[1].min()
    assert not torch.equal(whole.values[1:], alone.values)


def test_a_row_of_its_own_scale_does_not_depend_on_its_neighbours():
    x = _random(5, 16)
    for quantise in (dynamic.signed, dynamic.unsigned):
        torch.testing.assert_close(quantise(x, per_row=True).values[2], quantise(x[2:3], per_row=True).values[0])


def test_alpha_starts_from_the_full_grid_even_where_tbt_uses_three_codes():
    x = _random(100).abs()
    got = elastic.initial_alpha(x, elastic.ternary_grid(2, signed=False))
    torch.testing.assert_close(got, 4 * x.mean() / math.sqrt(3))


def test_means_that_decide_signs_are_summed_in_double():
    row = torch.full((1, 3000), 0.1)
    assert not around_mean.bibert_weights(row).codes.any()
    assert not around_mean.bit_weights(row, per_row=False).codes.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 70), st.integers(1, 6), st.sampled_from(sorted(SCHEMES)), st.integers(0, 99))
def test_products_are_those_of_the_values(rows, k, columns, name, seed):
    a = SCHEMES[name](_random(2, rows, k, seed=seed))
    b = ternary.weights(_random(columns, k, seed=seed + 1), 2).mT
    torch.testing.assert_close(product(a, b), a.values @ b.values, rtol=1e-5, atol=1e-4)


def test_sums_that_cancel_are_exactly_zero():
    """W1A1 with any alpha: a float sum would leave +-1e-9, whose sign the next layer would take."""
    a = elastic.quantise(
        torch.tensor([[1.0, 1, 1, -1, -1, -1]]), torch.tensor(0.137), elastic.full_grid(1, signed=True)
    )
    b = ternary.weights(torch.tensor([[0.3, 0.1, 0.2, 0.7, 0.9, 0.4]]), 1).mT
    assert product(a, b).item() == 0.0


def test_gradients_of_a_product_are_those_of_the_values():
    x, w = _random(2, 3, 8).requires_grad_(), _random(4, 8, seed=1).requires_grad_()
    a, b = signs.linear_input(x), around_mean.bibert_weights(w).mT
    seed = _random(2, 3, 4, seed=2)
    got = torch.autograd.grad(product(a, b), (x, w), seed, retain_graph=True)
    want = torch.autograd.grad(a.values @ b.values, (x, w), seed)
    for left, right in zip(got, want, strict=True):
        torch.testing.assert_close(left, right)


def test_windows_of_the_sign_differ_at_their_bounds():
    x = torch.tensor([-1.0, -0.5, 0.0, 1.0, 1.001]).requires_grad_()
    (closed,) = torch.autograd.grad(signs.linear_input(x).values.sum(), x)
    (opened,) = torch.autograd.grad(signs.attention_operand(x).values.sum(), x)
    assert closed.tolist() == [1, 1, 1, 1, 0] and opened.tolist() == [0, 1, 1, 0, 0]
