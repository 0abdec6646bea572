"""PokeBNN networks: configuration, phases, twin, importer, and parity with the authors' fixtures."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeq._errors import FormatError, UsageError
from edgeq.importers import pokebnn_flax
from edgeq.models.pokebnn import Bottleneck, BottleneckShape, PokeBNNConfig, build

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / ".." / "shared" / "fixtures" / "vision"
NAMES = sorted(path.stem for pattern in ("pokebnn_*.npz", "aqt_*.npz") for path in FIXTURES.glob(pattern))
SMALL = PokeBNNConfig(0.125, 10, in_channels=1, blocks=(1, 1, 1, 1))


@pytest.mark.parametrize("width", [0.13, 0.2, 0.3, 1.4, 0.1, 0.0, -1.0, float("nan")])
def test_widths_that_cannot_be_built_are_refused_by_name(width):
    with pytest.raises(UsageError, match="width"):
        PokeBNNConfig(width, 10)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"blocks": (1, 1, 1)}, "blocks"),
        ({"blocks": (1, 0, 1, 1)}, "blocks"),
        ({"classes": 0}, "classes"),
        ({"init_group": 30}, "init_group"),
        ({"stem_stride": 0}, "stem_stride"),
    ],
)
def test_bad_configurations_are_refused_by_name(change, text):
    with pytest.raises(UsageError, match=text):
        PokeBNNConfig(**{"width": 0.25, "classes": 10, **change})


def test_all_parameters_learn_in_both_phases_and_in_the_twin():
    for quantised, weights in ((True, False), (True, True), (False, True)):
        torch.manual_seed(3)
        model = build(SMALL, quantised=quantised)
        model.set_weight_quantisation(weights)
        for block in model.blocks:  # the zero scale would hide the layers before it
            block.conv3.bn1.scale.data.fill_(1.0)
        model(torch.randn(4, 28, 28, 1)).square().sum().backward()
        still = [name for name, p in model.named_parameters() if not torch.isfinite(p.grad).all() or not p.grad.any()]
        dead_relu = [name for name in still if ".se." in name]  # one hidden unit of squeeze-excite may sleep
        assert still == dead_relu


def test_the_head_stays_quantised_when_the_convolutions_are_not():
    model = build(SMALL)
    model.set_weight_quantisation(False)
    assert model.head.quantise_weights and not model.stem.conv.quantise_weights


def test_only_signs_of_latents_reach_a_binary_convolution():
    torch.manual_seed(3)
    model, x = build(SMALL).eval(), torch.randn(2, 28, 28, 1)
    before = model(x)
    latent = model.blocks[0].conv2.conv.weight.data
    small = latent.abs() < latent.abs().amax((1, 2, 3), keepdim=True)
    latent[small] *= 0.5
    assert torch.equal(model(x), before)


def flax_tensors(model) -> dict[str, np.ndarray]:
    tensors = {e.name: e.to_foreign(e.tensor.detach()).numpy().copy() for e in pokebnn_flax.entries(model)}
    return tensors | {name: np.full(n, 3.0, np.float32) for name, n in pokebnn_flax.binary_bounds(model)}


def test_importer_round_trip():
    torch.manual_seed(5)
    source = build(SMALL)
    target = build(SMALL)
    pokebnn_flax.load_flax(target, flax_tensors(source))
    for (name, a), b in zip(source.state_dict().items(), target.state_dict().values(), strict=True):
        assert "statistic" in name or torch.equal(a, b), name


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda t: t.pop("param/conv-blk-1/kernel"), "missing param/conv-blk-1/kernel"),
        (lambda t: t.update({"param/more": np.zeros(1, np.float32)}), "unknown param/more"),
        (lambda t: t.update({"bn/bnblk-1/var": np.zeros(3, np.float32)}), r"expected shape \(8,\), got \(3,\)"),
        (lambda t: t.update({"bn/bnblk-1/var": np.full(8, np.nan, np.float32)}), "finite"),
        (lambda t: t.update({"bn/bnblk-1/var": np.zeros(8, np.int64)}), "floating"),
        (lambda t: t.update({"bounds/conv-blk-2/GetBounds_0": np.full(8, 2.0, np.float32)}), "8 bounds of 3.0"),
    ],
)
def test_importer_refuses_a_wrong_checkpoint_and_names_the_tensor(damage, text):
    torch.manual_seed(5)
    model = Bottleneck(BottleneckShape(16, 8, 2))
    tensors = flax_tensors(model)
    damage(tensors)
    with pytest.raises(FormatError, match=text):
        pokebnn_flax.load_flax(model, tensors)


@pytest.mark.parametrize("name", NAMES or ["none"])
def test_float_path_equals_the_authors(name, monkeypatch, capsys):
    if not NAMES:
        pytest.skip(f"the authors' fixtures are not here: {FIXTURES}")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    parity = importlib.import_module("parity")
    code = parity.main([str(FIXTURES / f"{name}.npz"), "--path", "float", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (code, report["fixture"], report["path"], report["ok"]) == (0, name, "float", True)
    assert max(report["max_abs_diff"].values()) < 1e-4


def test_float_path_fails_on_a_changed_tensor(monkeypatch, capsys, tmp_path):
    if not NAMES:
        pytest.skip(f"the authors' fixtures are not here: {FIXTURES}")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    parity = importlib.import_module("parity")
    source = FIXTURES / "pokebnn_block_in16_f12_s2_9x7"
    with np.load(source.with_suffix(".npz")) as archive:
        tensors = {key: archive[key] for key in archive.files}
    tensors["grad_eval/DPReLU_1/pos_slope"] = tensors["grad_eval/DPReLU_1/pos_slope"] * 1.001
    np.savez(tmp_path / "changed.npz", **tensors)
    (tmp_path / "changed.json").write_bytes(source.with_suffix(".json").read_bytes())
    assert parity.main([str(tmp_path / "changed.npz"), "--path", "float"]) == 1
    assert "FAIL  grad_eval/DPReLU_1/pos_slope" in capsys.readouterr().out
