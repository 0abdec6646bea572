"""DenseShift networks: configuration, twin, the authors' names, and parity with their numbers."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeq._errors import FormatError, UsageError
from edgeq.importers import denseshift_torch
from edgeq.models.denseshift import DenseShift, DenseShiftConfig, build
from edgeq.nn.shift_conv import ShiftConv2d
from edgeq.nn.torch_batch_norm import TorchBatchNorm

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / ".." / "shared" / "fixtures" / "vision"
NAMES = sorted(path.stem for path in FIXTURES.glob("*shift3_*.npz"))
SMALL = DenseShiftConfig(5, in_channels=2, widths=(4, 6), blocks=(1, 2))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"bits": 5}, "bits"),
        ({"form": "s3", "bits": 2}, "3 for S3"),
        ({"form": "s4"}, "form"),
        ({"widths": (16, 32)}, "widths and blocks"),
        ({"widths": (), "blocks": ()}, "widths and blocks"),
        ({"blocks": (1, 0, 1)}, "widths and blocks"),
        ({"classes": 0}, "classes"),
        ({"stem_kernel": 4}, "stem_kernel"),
    ],
)
def test_bad_configurations_are_refused_by_name(change, text):
    with pytest.raises(UsageError, match=text):
        DenseShiftConfig(**{"classes": 10, **change})


def test_size_of_the_published_networks():
    cifar = build(DenseShiftConfig(10))
    shifts = [layer for layer in cifar.modules() if isinstance(layer, ShiftConv2d)]
    assert sum(layer.references[0].numel() for layer in shifts) == 76_288
    assert sum(p.numel() for p in build(DenseShiftConfig(10), quantised=False).parameters()) == 78_042
    imagenet = DenseShiftConfig(1000, widths=(64, 128, 256, 512), blocks=(2, 2, 2, 2), stem_kernel=7, stem_stride=2)
    resnet18 = build(imagenet, quantised=False)
    assert sum(p.numel() for p in resnet18.parameters()) == 11_689_512  # as torchvision counts it


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_everything_learns_in_the_network_and_in_its_twin(bits):
    torch.manual_seed(2)
    config = DenseShiftConfig(5, in_channels=2, bits=bits, widths=(4, 6), blocks=(1, 2), stem_pool=True)
    for quantised in (True, False):
        model = build(config, quantised=quantised)
        output = model(torch.randn(3, 13, 10, 2))
        assert output.shape == (3, 5)
        output.square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())
        assert quantised == any(isinstance(layer, ShiftConv2d) for layer in model.modules())


def test_batch_norm_trains_as_torch_does():
    torch.manual_seed(0)
    ours, theirs = TorchBatchNorm(3), nn.BatchNorm2d(3)
    x = torch.randn(2, 4, 5, 3) * 3 + 1
    for mode in (True, False):
        want = theirs.train(mode)(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        torch.testing.assert_close(ours.train(mode)(x), want, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-6, atol=0)


def state_of(model: DenseShift | ShiftConv2d) -> dict[str, torch.Tensor]:
    return {e.name: e.view(e.tensor).detach().clone() for e in denseshift_torch.entries(model)}


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        DenseShiftConfig(5, bits=2),
        DenseShiftConfig(3, bits=4, widths=(4, 4), blocks=(2, 1)),
        DenseShiftConfig(
            7, form="s3", widths=(3, 5, 8, 9), blocks=(1, 1, 2, 1), stem_kernel=7, stem_stride=2, stem_pool=True
        ),
    ],
)
def test_a_network_comes_back_from_the_authors_names(config):
    torch.manual_seed(4)
    source = build(config).eval()
    state = state_of(source)
    state["bn1.num_batches_tracked"] = torch.tensor(7)
    assert denseshift_torch.read_config(state) == config
    copy = build(config).eval()
    denseshift_torch.load_state(copy, state)
    x = torch.randn(1, 32, 32, config.in_channels)
    assert torch.equal(copy(x), source(x))


def test_the_sign_reference_has_two_names():
    state = state_of(build(SMALL))
    name = "layer1.0.conv1.weight"
    model = build(SMALL)
    for alias in ({name: state[name]}, {f"{name}_sign": state[name]}, {name: state[name], f"{name}_sign": state[name]}):
        rest = {key: value for key, value in state.items() if key != name}
        denseshift_torch.load_state(model, rest | alias)
        assert denseshift_torch.read_config(rest | alias) == SMALL
    with pytest.raises(FormatError, match="must be the same tensor"):
        denseshift_torch.load_state(model, state | {f"{name}_sign": state[name] + 1})


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda s: s.pop("fc.bias"), "missing fc.bias"),
        (lambda s: s.update(extra=s["fc.bias"]), "unknown extra"),
        (lambda s: s.update({"fc.bias": s["fc.bias"][:-1]}), r"fc.bias: expected shape \(5,\), got \(4,\)"),
        (lambda s: s["bn1.weight"].fill_(float("nan")), "bn1.weight: expected finite"),
        (lambda s: s.update({"fc.bias": s["fc.bias"].long()}), "fc.bias: expected finite floating"),
        (lambda s: s.pop("layer2.1.conv2.weight_t2"), "missing layer2.1.conv2.weight_t2"),
    ],
)
def test_bad_checkpoints_are_refused_and_nothing_is_copied(damage, text):
    torch.manual_seed(6)
    state = state_of(build(SMALL))
    damage(state)
    model = build(SMALL)
    before = state_of(model)
    with pytest.raises(FormatError, match=text):
        denseshift_torch.load_state(model, state)
    after = state_of(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("gone", ["conv1.weight", "fc.weight", "layer1.0.conv1.weight", "layer1.0.conv1.weight_t2"])
def test_a_state_dict_that_describes_no_network(gone):
    state = state_of(build(SMALL))
    del state[gone]
    with pytest.raises(FormatError):
        denseshift_torch.read_config(state)


# -- parity -------------------------------------------------------------------------------------------------------


@pytest.fixture
def parity(monkeypatch):
    if not NAMES:
        pytest.skip(f"the authors' fixtures are not here: {FIXTURES}")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("parity")


@pytest.mark.parametrize("name", NAMES or ["none"])
def test_float_path_equals_the_authors(name, parity, capsys):
    code = parity.main([str(FIXTURES / f"{name}.npz"), "--path", "float", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (code, report["fixture"], report["ok"]) == (0, name, True)
    assert all(report["max_abs_diff"][exact] == 0 for exact in ("S", "w_quant") if exact in report["max_abs_diff"])


@pytest.mark.parametrize("change", ["S", "grad_weight_t1", "output"])
def test_float_path_fails_on_a_changed_tensor(change, parity, capsys, tmp_path):
    source = FIXTURES / "denseshift3_conv_k3_g3"
    with np.load(source.with_suffix(".npz")) as archive:
        tensors = dict(archive)
    tensors[change].flat[np.abs(tensors[change]).argmax()] *= 1.001
    np.savez(tmp_path / "changed.npz", **tensors)
    (tmp_path / "changed.json").write_bytes(source.with_suffix(".json").read_bytes())
    assert parity.main([str(tmp_path / "changed.npz"), "--path", "float"]) == 1
    assert f"FAIL  {change}" in capsys.readouterr().out
