"""Deploy faces of DenseShift and BiViT: against plain integers, against the trained networks, and as packages."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeq import models
from edgeq._errors import EdgeQError, FormatError, UsageError
from edgeq.compile import executorch, host
from edgeq.models import bivit, denseshift
from edgeq.models.bivit import BiViTConfig
from edgeq.models.denseshift import DenseShiftConfig
from edgeq.nn.packed_shift import PackedConv
from edgeq.nn.shift_conv import ShiftConv2d
from edgeq.nn.torch_batch_norm import TorchBatchNorm
from edgeq.ops import Want
from edgeq.schemes import int8

SMALL = DenseShiftConfig(5, in_channels=2, widths=(4, 6), blocks=(1, 2))
VIT = BiViTConfig((8, 12), 5, in_channels=2, patch=4, dim=24, depth=2, heads=3, hidden=40)


def trained_denseshift(config: DenseShiftConfig, seed: int = 0) -> denseshift.DenseShift:
    """Random latents and statistics, as after some training."""
    torch.manual_seed(seed)
    model = denseshift.build(config)
    for layer in model.modules():
        if isinstance(layer, ShiftConv2d):
            layer.references.data.normal_()
        if isinstance(layer, TorchBatchNorm):
            layer.scale.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_(0, 0.3)
    with torch.no_grad():  # statistics that keep the signal at a sensible size
        for _ in range(30):
            model.train()(torch.randn(8, 9, 7, config.in_channels))
    return model.eval()


def trained_bivit(config: BiViTConfig, seed: int = 0) -> bivit.BiViT:
    torch.manual_seed(seed)
    model = bivit.build(config)
    for name, parameter in model.named_parameters():
        if name.endswith("alpha"):
            parameter.data.uniform_(0.05, 0.2)
        elif name.endswith("bias"):
            parameter.data.normal_(0, 0.3)
    return model.eval()


def nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride", "groups"),
    [(5, 7, 3, 2, 1), (9, 12, 3, 1, 3), (6, 6, 3, 2, 6), (13, 6, 1, 1, 1)],
)
def test_integer_convolution_is_that_of_plain_integers(bits, channels, outputs, kernel, stride, groups):
    torch.manual_seed(bits)
    conv = ShiftConv2d(channels, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bits=bits)
    conv.references.data.normal_()
    packed = PackedConv.from_trained(conv, act="i8", step_in=0.5, step_residual=0.25, step_out=2.0)
    x = torch.randint(-127, 128, (2, 9, 8, channels), dtype=torch.int8)
    weights = conv.kernel().detach()
    plain = nn.functional.conv2d(
        nchw(x).double(), nchw(weights).double(), None, stride, kernel // 2, groups=groups
    ).permute(0, 2, 3, 1)
    assert torch.equal(packed.accumulators(x).double(), plain)
    residual = torch.randint(-127, 128, plain.shape, dtype=torch.int8)
    value = (0.5 * plain + 0.25 * residual.double()).relu()
    assert torch.equal(packed(x, residual, want=Want.CODES), int8.codes(value.float(), 2.0))
    assert torch.equal(packed(x, residual).double(), value)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"bits": 2},
        {"bits": 4},
        {"form": "s3"},
        {"stem_pool": True, "stem_stride": 2},
        {"widths": (4,), "blocks": (1,)},
    ],
    ids=str,
)
def test_float_form_is_the_trained_network(change):
    model = trained_denseshift(replace(SMALL, **change))
    x = torch.randn(3, 9, 7, 2)
    with torch.no_grad():
        want, got = model(x), denseshift.pack(model)(x)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * float(want.abs().max()))


@pytest.mark.parametrize("change", [{}, {"form": "s3"}, {"stem_pool": True}], ids=str)
def test_int8_form_stays_near_the_trained_network(change):
    model = trained_denseshift(replace(SMALL, act="i8", **change))
    x = torch.randn(64, 9, 7, 2)
    packed = denseshift.pack(model, x)
    with torch.no_grad():
        want, got = model(x), packed(x)
    assert float((got - want).abs().mean() / want.abs().mean()) < 0.06
    assert packed.input_step == pytest.approx(int8.best_step(x), rel=1e-6)


def test_int8_form_needs_samples_and_shift_weights():
    with pytest.raises(UsageError, match="needs samples"):
        denseshift.pack(denseshift.build(replace(SMALL, act="i8")).eval())
    with pytest.raises(UsageError, match="float twin"):
        denseshift.pack(denseshift.build(SMALL, quantised=False).eval())


def test_the_best_step_cuts_off_outliers_and_knows_zero():
    x = torch.linspace(-1, 1, 400_001)
    assert int8.best_step(x) == pytest.approx(1 / 127, rel=0.02)
    assert int8.best_step(torch.cat([x, torch.tensor([1.6])])) < 1.5 / 127
    assert int8.best_step(torch.zeros(5)) == 1.0


def test_the_network_of_the_zoo_is_as_large_as_counted():
    config = DenseShiftConfig(10, in_channels=1, stem_stride=2, act="i8")
    content = denseshift.packed(config).state_dict()
    bits = sum(t.numel() for t in content.values() if t.dtype == torch.uint8)
    assert bits == 28_608  # 76 288 weights of 3 bits: no row of 16, 32 or 64 channels is padded
    cost = denseshift.ace(config, 49, 40)
    assert cost.packed_bytes == bits + 9 * 16 + 640  # stem and classifier have 8 bits
    assert cost.ace == 25 * 20 * 144 * 64 + 8 * 3 * (cost.macs - 25 * 20 * 144 - 640) + 640 * 64


@pytest.mark.parametrize(("mlp", "bits"), [("w1a32", 32), ("w1a1", 1), ("float", 32 * 32)])
def test_the_cost_of_bivit_is_as_large_as_counted(mlp, bits):
    config = BiViTConfig((28, 28), 10, 1, patch=7, dim=96, depth=3, heads=3, hidden=192, mlp=mlp, pool="mean")
    attention, perceptron, rest = 3 * 16 * 4 * 96 * 96, 3 * 16 * 2 * 96 * 192, 16 * 49 * 96 + 960
    between = 2 * 3 * 16 * 16 * 96
    cost = bivit.ace(config, 28, 28)
    assert cost.macs == attention + perceptron + rest + between
    assert cost.ace == attention + perceptron * bits + rest * 1024 + between


@pytest.mark.parametrize("mlp", ["w1a32", "w1a1", "float"])
@pytest.mark.parametrize("attention", ["sab", "baseline"])
@pytest.mark.parametrize("pool", ["token", "mean"])
def test_packed_bivit_is_the_trained_network(mlp, attention, pool):
    model = trained_bivit(replace(VIT, mlp=mlp, attention=attention, pool=pool))
    x = torch.randn(6, 8, 12, 2)
    with torch.no_grad():
        want, got = model(x), bivit.pack(model)(x)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_a_weight_equal_to_its_rows_mean_has_no_sign():
    model = trained_bivit(VIT)
    model.blocks[1].attn.proj.weight.data[3] = 0.5
    with pytest.raises(FormatError, match=r"blocks\.1: weight \[3, 0\]: equals its row's mean"):
        bivit.pack(model)


def package_of(family: str, model: nn.Module, samples: Tensor | None = None) -> tuple[dict, dict]:
    packed = models.pack(family, model, samples)
    config = {"model": family, "network": asdict(model.config)}
    return config, {name: tensor.numpy() for name, tensor in packed.state_dict().items()}


@pytest.fixture(scope="module", params=[("denseshift", ""), ("bivit", "token"), ("bivit", "mean")], ids="-".join)
def package(request) -> tuple[dict, dict, nn.Module, Tensor]:
    family, pool = request.param
    if family == "denseshift":
        model, x = trained_denseshift(replace(SMALL, act="i8")), torch.randn(16, 9, 7, 2)
    else:
        model, x = trained_bivit(replace(VIT, pool=pool)), torch.randn(16, 8, 12, 2)
    samples = x if family == "denseshift" else None
    return (*package_of(family, model, samples), models.pack(family, model, samples), x)


def test_a_package_gives_the_same_network_back(package):
    config, tensors, packed, x = package
    loaded = models.from_package(config, tensors)
    with torch.no_grad():
        assert torch.equal(loaded(x), packed(x))
    assert len(tensors) <= 4 * len(packed.blocks) + 12


def test_the_program_gives_the_bits_of_eager(package):
    config, tensors, _, x = package
    model = models.from_package(config, tensors)
    program = executorch.lower(model, (x[:1],))
    for i in range(3):
        (got,) = host.run(program, (x[i : i + 1],))
        with torch.no_grad():
            assert torch.equal(got, model(x[i : i + 1]))


def spoilt(tensors: dict, name: str, array: np.ndarray) -> dict:
    return {**tensors, name: array}


def test_hostile_packages_get_one_clear_error_each(package):
    config, tensors, _, _ = package
    network = config["network"]
    for name, array in tensors.items():
        with pytest.raises(FormatError, match=f'tensor "{name}" is missing'):
            models.from_package(config, {k: v for k, v in tensors.items() if k != name})
        with pytest.raises(FormatError, match=f'tensor "{name}" is'):
            models.from_package(config, spoilt(tensors, name, np.zeros((*array.shape, 2), array.dtype)))
        other = np.float32 if array.dtype != np.float32 else np.int8
        with pytest.raises(FormatError, match=f'tensor "{name}" is'):
            models.from_package(config, spoilt(tensors, name, array.astype(other)))
    with pytest.raises(FormatError, match='tensor "extra" is not expected'):
        models.from_package(config, spoilt(tensors, "extra", np.zeros(1, np.float32)))
    huge = {"widths": [1 << 40, 4]} if config["model"] == "denseshift" else {"dim": 1 << 40}
    wrong = (huge, {"classes": "5"}, {"classes": 1 << 40}, {"depth": 10**9, "blocks": [10**9, 1]}, {"unknown": 1})
    for change in (*wrong, {"classes": None}, {"classes": 65_536}):
        with pytest.raises(EdgeQError):
            models.from_package({**config, "network": {**network, **change}}, tensors)
