"""Codes of learned layers and the mean of what a convolution reads, against numpy."""

import numpy as np
import pytest

from edgeq import _native
from edgeq._errors import UsageError

F = np.float32


def test_codes_of_latents_by_their_kind():
    x = np.array([-9.6, -8, -5.7, -2.5, -1.2, -0.5, -0.0, 0.0, 0.4, 1.5, 2.51, 5.5, 6, 99, np.nan], F)
    whole = np.array([-8, -8, -6, -2, -1, 0, 0, 0, 0, 2, 3, 6, 6, 8, -8])
    power = np.array([-8, -8, -8, -2, -1, 1, 1, 1, 1, 2, 4, 8, 8, 8, -8])
    assert np.array_equal(_native.latent_codes(x, "integers", 8), whole)
    assert np.array_equal(_native.latent_codes(x, "powers", 8), power)
    assert np.array_equal(_native.latent_codes(x, "signs", 1), np.where(x >= 0, 1, -1))
    assert np.array_equal(_native.latent_codes(x, "integers", 1), np.clip(whole, -1, 1))


def test_a_power_is_the_nearest_in_proportion():
    r = np.arange(-127, 128)
    found = _native.latent_codes(r.astype(F), "powers", 127).astype(int)
    expected = 2 ** np.clip(np.rint(np.log2(np.maximum(np.abs(r), 1))), 0, 6)
    assert np.array_equal(found, np.where(r < 0, -expected, expected))


@pytest.mark.parametrize("top", [0, 128])
def test_codes_have_eight_bits(top):
    with pytest.raises(UsageError):
        _native.latent_codes(np.zeros(3, F), "integers", top)


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((2, 5, 4, 3), (3, 3), 1, 1),
        ((1, 7, 6, 5), (3, 2), 2, 1),
        ((3, 1, 1, 8), (1, 1), 1, 0),
        ((1, 4, 4, 2), (1, 1), 2, 0),
    ],
)
def test_mean_patches_are_means_of_what_a_convolution_reads(shape, kernel, stride, padding):
    x = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    n, h, w, c = shape
    out_h, out_w = (h + 2 * padding - kernel[0]) // stride + 1, (w + 2 * padding - kernel[1]) // stride + 1
    op = _native.Conv2d(n, h, w, c, 1, *kernel, stride, stride, padding, padding, out_h, out_w)
    padded = np.pad(x.astype(F), [(0, 0), (padding,) * 2, (padding,) * 2, (0, 0)])
    expected = np.zeros((n, *kernel, c), F)
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            seen = padded[:, ky : ky + stride * out_h : stride, kx : kx + stride * out_w : stride][:, :out_h, :out_w]
            expected[:, ky, kx] = seen.sum((1, 2), dtype=F) * (F(1) / F(out_h * out_w))
    assert np.array_equal(_native.mean_patches(x, op), expected.reshape(n, -1))
