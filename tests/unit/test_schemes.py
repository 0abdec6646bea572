"""Binary and uniform schemes: against the authors' vectors, and properties that must hold for any input."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.schemes import binary, uniform
from edgeq.schemes._clip import clip, clip_gradient

VECTORS = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "vision" / "aqt_quantizers.npz"
TWO_ROUNDINGS = 2.0**-22  # of the largest value: the scale and the division by it round once each


@pytest.fixture(scope="module")
def vectors() -> dict[str, np.ndarray]:
    if not VECTORS.is_file():
        pytest.skip(f"the authors' quantiser vectors are not here: {VECTORS}")
    with np.load(VECTORS, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def quantise(key: str, x: torch.Tensor) -> torch.Tensor:
    grid, bound = key.split("_b")
    if grid == "bin":
        return binary.activations(x)
    scheme = {"sym": uniform.symmetric, "pos": uniform.positive}[grid[:3]]
    return scheme(x, torch.tensor(float(bound)), int(grid[3:]))


@pytest.mark.parametrize("key", ["bin_b3", *(f"{grid}{bits}_b2.37" for grid in ("sym", "pos") for bits in (2, 4, 8))])
def test_activations_equal_the_authors(vectors, key):
    got = quantise(key, torch.from_numpy(vectors["x"])).numpy()
    assert np.abs(got - vectors[key]).max() <= TWO_ROUNDINGS * np.abs(vectors[key]).max()


@pytest.mark.parametrize("key", ["bin_b3", "sym4_b2.37", "pos4_b2.37"])
def test_gradients_equal_the_authors_exactly(vectors, key):
    x = torch.from_numpy(vectors["x"]).requires_grad_()
    quantise(key, x).sum().backward()
    assert np.array_equal(x.grad.numpy(), vectors[f"grad_{key}"])


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_weights_equal_the_authors(vectors, bits):
    w = torch.from_numpy(vectors["w_HWIO"]).permute(3, 0, 1, 2)
    got = (binary.weights(w) if bits == 1 else uniform.weights(w, bits)).permute(1, 2, 3, 0).numpy()
    want = vectors[f"w_prec{bits}"]
    assert np.abs(got - want).max() <= TWO_ROUNDINGS * np.abs(want).max()


def test_zero_and_negative_zero_binarise_to_plus():
    x = torch.tensor([0.0, -0.0, 1e-20, -1e-20])
    assert binary.activations(x).tolist() == [1.5, 1.5, 1.5, -1.5]


def test_binary_activation_gradient_has_half_at_the_edge():
    edge = 3.0 * (1 - 2.0**-7)
    x = torch.tensor([0.0, 2.97, edge, -edge, 2.98, -2.98, np.inf, -np.inf], requires_grad=True)
    binary.activations(x).sum().backward()
    assert x.grad.tolist() == [1, 1, 0.5, 0.5, 0, 0, 0, 0]


def test_binary_weight_gradient_is_zero_at_the_channel_maximum():
    w = torch.tensor([[1.0, 0.5, -0.99, -1.0], [4.0, 3.9, 0.0, -4.0]], requires_grad=True)
    binary.weights(w).sum().backward()
    assert w.grad.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0]]


def test_symmetric_weight_maximum_gets_half_the_gradient():
    w = torch.tensor([[8.0, -8.0, 1.0, 7.9]], requires_grad=True)  # 7 / (8 + eps) * 8 is exactly 7 in float32
    uniform.weights(w, 4).sum().backward()
    assert w.grad.tolist() == [[0.5, 0.5, 1, 1]]


def test_positive_gradient_is_half_on_the_whole_lowest_and_highest_level():
    x = torch.tensor([-0.01, 0.0, 0.9, 1.0, 14.9, 15.0, 15.9, 16.0], requires_grad=True)
    uniform.positive(x, torch.tensor(16.0), 4).sum().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5, 1, 1, 0.5, 0.5, 0]


def test_symmetric_rounds_half_up():
    x = torch.tensor([0.5, 1.5, -0.5, -1.5, 7.4, 100.0, -100.0])
    assert uniform.symmetric(x, torch.tensor(7.0), 4).round().tolist() == [1, 2, 0, -1, 7, 7, -7]


def test_clip_agrees_with_torch_minimum_maximum_at_ties():
    x = torch.tensor([-1.0, 0.0, 0.5, 6.0, 7.0])
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    clip(ours, 0.0, 6.0).sum().backward()
    torch.minimum(torch.maximum(theirs, torch.zeros(5)), torch.full((5,), 6.0)).sum().backward()
    assert torch.equal(ours.grad, theirs.grad)
    assert clip_gradient(torch.full((5,), 3.0), x, 0.0, 6.0).tolist() == [0, 1.5, 3, 1.5, 0]


latents = st.integers(0, 2**31 - 1).map(
    lambda seed: torch.randn(5, 3, 2, 4, generator=torch.Generator().manual_seed(seed)).mul_(10.0 ** (seed % 7 - 3))
)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(latents)
def test_binary_codes_give_the_fake_quantised_weights_back(w):
    sign, alpha = binary.weight_codes(w)
    assert sign.dtype == torch.bool and alpha.shape == (5,)
    alpha = alpha.view(5, 1, 1, 1)
    assert torch.equal(torch.where(sign, alpha, -alpha), binary.weights(w))
    half = 0.5 * w.abs().amax((1, 2, 3)) + 2.0**-24
    assert torch.allclose(alpha.flatten(), half, rtol=2.0**-22, atol=0)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(latents, st.integers(2, 8))
def test_uniform_codes_give_the_fake_quantised_weights_back(w, bits):
    codes, scale = uniform.weight_codes(w, bits)
    level = uniform.symmetric_level(bits)
    assert codes.dtype == torch.int8 and codes.abs().max() <= level
    assert torch.equal(codes / scale.view(5, 1, 1, 1), uniform.weights(w, bits))
    assert torch.all((uniform.weights(w, bits) - w).abs() <= 0.5000001 / scale.view(5, 1, 1, 1))


def test_channel_of_zeros_stays_finite():
    w = torch.zeros(2, 3)
    assert torch.isfinite(binary.weights(w)).all()
    assert torch.equal(uniform.weights(w, 4), w)
