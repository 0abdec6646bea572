"""The digits' networks of `benchmarks finetune`: codes that a run writes are taken back, and may be finer."""

import numpy as np
import pytest
import torch

from benchmarks import _digits


@pytest.fixture(params=["tern", "bin", "w4"])
def net(request) -> _digits.DigitsNet:
    latents = _digits.Latents("mlp", request.param, 10, 3)
    with torch.no_grad():
        latents.fixed = [latents.scale(i).clone() for i in range(len(latents.weights))]
    latents.steps = [1 / 127, 0.02, 0.02]
    return _digits.DigitsNet(latents)


@torch.no_grad()
def test_codes_of_the_base_outlive_a_run(net):
    x = torch.rand(5, 8, 8, 1, generator=torch.Generator().manual_seed(1))
    before, latents = net(x), net.latents()
    kept = [latent.codes.copy() for latent in latents]
    net.write_codes([-latent.codes.astype(np.float32) for latent in latents])
    assert not torch.equal(net(x), before)
    assert all(np.array_equal(a.codes, b) for a, b in zip(latents, kept, strict=True))
    net.write_codes([latent.codes for latent in latents])
    assert torch.equal(net(x), before)


@torch.no_grad()
def test_weights_between_codes_are_seen(net):
    """On the exact grid codes give the base but for rounding; noise too small for codes changes what comes out."""
    x = torch.rand(5, 8, 8, 1, generator=torch.Generator().manual_seed(1))
    before, latents, r = net(x), net.latents(), np.random.default_rng(2)
    codes = [latent.codes.astype(np.float32) for latent in latents]
    noisy = [c + 0.1 * r.choice([-1, 1], c.shape).astype(np.float32) for c in codes]
    net.write_codes(codes, exact=True)
    assert torch.allclose(net(x), before, rtol=1e-5, atol=1e-5)
    net.write_codes(noisy, exact=True)
    assert (net(x) - before).abs().max() > 1e-3
    net.write_codes(noisy)
    assert torch.equal(net(x), before)
