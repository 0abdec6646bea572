"""Layers of the train face, against plain definitions written out here."""

import numpy as np
import pytest
import torch

from edgeq._errors import UsageError
from edgeq.nn.batch_norm import BatchNorm
from edgeq.nn.conv import BinaryConv2d, QuantConv2d, same_padding
from edgeq.nn.dprelu import DPReLU
from edgeq.nn.input_quantiser import InputQuantiser
from edgeq.nn.linear import QuantLinear
from edgeq.nn.phases import freeze_bounds, set_weight_quantisation, start_calibration
from edgeq.nn.poke_conv import PokeConv, SqueezeExcite, radd


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "zeros"),
    [(7, 3, 2, (1, 1)), (8, 3, 2, (0, 1)), (5, 3, 1, (1, 1)), (1, 3, 2, (1, 1)), (9, 1, 1, (0, 0)), (6, 4, 4, (1, 1))],
)
def test_same_padding_puts_the_odd_zero_at_the_end(size, kernel, stride, zeros):
    assert same_padding(size, kernel, stride) == zeros


def plain_conv(x: np.ndarray, w: np.ndarray, stride: int) -> np.ndarray:
    """SAME convolution by its definition, x (H, W, I), w (O, k, k, I)."""
    k = w.shape[1]
    (top, bottom), (left, right) = (same_padding(n, k, stride) for n in x.shape[:2])
    x = np.pad(x, ((top, bottom), (left, right), (0, 0)))
    rows = range(0, x.shape[0] - k + 1, stride)
    columns = range(0, x.shape[1] - k + 1, stride)
    return np.array([[np.tensordot(w, x[i : i + k, j : j + k], 3) for j in columns] for i in rows])


@pytest.mark.parametrize(
    ("height", "width", "kernel", "stride"), [(5, 4, 3, 1), (7, 6, 3, 2), (4, 4, 1, 1), (1, 3, 3, 2)]
)
def test_binary_convolution_leaves_border_zeros_zero(height, width, kernel, stride):
    torch.manual_seed(1)
    conv = BinaryConv2d(5, 3, kernel, stride=stride)
    x = random(1, height, width, 5)
    w = conv.weight.detach().numpy()
    signs = np.where(w >= 0, 0.5, -0.5) * np.abs(w).max((1, 2, 3), keepdims=True)
    want = plain_conv(np.where(x[0].numpy() >= 0, 1.5, -1.5), signs, stride)
    assert np.abs(conv(x)[0].detach().numpy() - want).max() < 1e-5


def test_convolution_phases_and_twin():
    torch.manual_seed(1)
    conv, x = BinaryConv2d(4, 4, 1), random(1, 2, 2, 4)
    conv.quantise_weights = False
    signs = torch.where(x >= 0, 1.5, -1.5)
    assert torch.allclose(conv(x), signs @ conv.weight.view(4, 4).t())
    conv.quantised = False
    assert torch.allclose(conv(x), x @ conv.weight.view(4, 4).t())


def test_stem_convolution_valid_drops_the_rest():
    conv = QuantConv2d(3, 8, 4, stride=4, padding="valid")
    assert conv(random(2, 11, 8, 3)).shape == (2, 2, 2, 8)


def test_dprelu_equals_its_formula_and_its_gradient():
    act = DPReLU(4)
    with torch.no_grad():
        for seed, parameter in enumerate(act.parameters()):
            parameter.copy_(random(4, seed=seed + 1))
    x = random(3, 2, 2, 4)
    x[0, 0, 0] = act.bias_x.detach()  # t = 0 takes the positive slope
    seed = random(3, 2, 2, 4, seed=9)
    ours = x.clone().requires_grad_()
    (act(ours) * seed).sum().backward()
    got = [ours.grad, *(p.grad.clone() for p in act.parameters())]
    act.zero_grad()
    plain = x.clone().requires_grad_()
    t = plain - act.bias_x
    y = torch.where(t >= 0, act.pos_slope, act.neg_slope) * t - act.bias_y
    (y * seed).sum().backward()
    for a, b in zip(got, [plain.grad, *(p.grad for p in act.parameters())], strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert torch.allclose(act(x), y, atol=1e-6)


def test_batch_norm_keeps_the_biased_variance():
    bn, x = BatchNorm(3), random(4, 2, 2, 3) * 5 + 1
    y = bn(x)
    rows = x.reshape(-1, 3)
    variance = rows.var(0, correction=0)
    assert torch.allclose(bn.running_mean, 0.1 * rows.mean(0), atol=1e-6)
    assert torch.allclose(bn.running_var, 0.9 + 0.1 * variance, atol=1e-5)
    assert torch.allclose(y, (x - rows.mean(0)) / (variance + 1e-5).sqrt(), atol=1e-5)
    bn.eval()
    assert torch.allclose(bn(x), (x - bn.running_mean) / (bn.running_var + 1e-5).sqrt(), atol=1e-5)


def test_radd_averages_runs_of_channels_and_drops_the_rest():
    r = torch.arange(7.0).view(1, 1, 1, 7)
    assert radd(r, torch.zeros(1, 1, 1, 3), "zeropad").flatten().tolist() == [0.5, 2.5, 4.5]


def test_radd_tiles_or_appends_zeros():
    r, y = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2), torch.zeros(1, 1, 1, 4)
    assert radd(r, y, "tile").flatten().tolist() == [1, 2, 1, 2]
    assert radd(r, y, "zeropad").flatten().tolist() == [1, 2, 0, 0]
    assert radd(r, torch.zeros(1, 1, 1, 3), "zeropad").flatten().tolist() == [1, 2, 0]
    with pytest.raises(UsageError, match="2 channels cannot be tiled to 3"):
        radd(r, torch.zeros(1, 1, 1, 3), "tile")


@pytest.mark.parametrize(("height", "width"), [(7, 6), (4, 4), (2, 1), (5, 8)])
def test_radd_pools_with_the_divisor_nine(height, width):
    r = random(2, height, width, 3)
    want = np.stack(
        [
            plain_conv(picture, np.ones((1, 3, 3, 1)) / 9, 2)[..., 0]
            for picture in r.permute(0, 3, 1, 2).reshape(-1, height, width, 1).numpy()
        ]
    )
    want = want.reshape(2, 3, *want.shape[1:]).transpose(0, 2, 3, 1)
    got = radd(r, torch.zeros(want.shape), "tile")
    assert np.abs(got.numpy() - want).max() < 1e-6


def test_radd_of_one_pixel_is_not_pooled():
    r = random(1, 1, 1, 4)
    assert torch.equal(radd(r, torch.zeros(1, 1, 1, 4), "tile"), r)


def test_squeeze_excite_lies_in_the_unit_interval_and_needs_eight_channels():
    torch.manual_seed(0)
    factor = SqueezeExcite(16, 5)(random(2, 3, 3, 16) * 50)
    assert factor.shape == (2, 1, 1, 5) and factor.min() >= 0 and factor.max() <= 1
    with pytest.raises(UsageError, match="at least 8 input channels, got 7"):
        SqueezeExcite(7, 5)


def test_input_passes_through_only_if_all_bounds_are_unset():
    quantiser, x = InputQuantiser(2, 8, "sym"), random(3, 2)
    assert torch.equal(quantiser(x), x)
    quantiser.bounds.copy_(torch.tensor([1.0, -1.0]))
    assert not torch.equal(quantiser(x), x)


def test_calibration_leaves_zeros_out_and_freezes_once():
    layer = QuantLinear(3, 2, bits=4)
    quantiser = layer.input_quantiser
    start_calibration(layer)
    batch = torch.tensor([[2.0, 0.0, 0.0], [0.0, -4.0, 0.0], [1.0, 0.0, 0.0]])
    layer(batch)
    assert torch.allclose(quantiser.statistic_max, torch.tensor([0.2, -0.4, 0.0]))
    assert torch.allclose(quantiser.statistic_min, torch.tensor([0.1, -0.4, 0.0]))
    assert not quantiser.is_set
    layer.eval()(batch * 100)  # evaluation never counts
    assert torch.allclose(quantiser.statistic_max, torch.tensor([0.2, -0.4, 0.0]))
    freeze_bounds(layer)
    layer.train()(batch)  # the freezing step itself still counts
    assert torch.allclose(quantiser.bounds, torch.tensor([0.38, 0.76, 0.0]))
    layer(batch * 100)
    assert torch.allclose(quantiser.bounds, torch.tensor([0.38, 0.76, 0.0]))


def test_weight_quantisation_switches_every_layer_but_the_kept_one():
    poke = PokeConv(16, 8, 1)
    set_weight_quantisation(poke, False, keep=poke.se.fc1)
    assert [poke.conv.quantise_weights, poke.se.fc1.quantise_weights, poke.se.fc2.quantise_weights] == [
        False,
        True,
        False,
    ]
