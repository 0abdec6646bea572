"""PokeBNN and its quantisers: fixtures of the authors' code (google/aqt)."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from edgeq._errors import FormatError
from edgeq.importers import pokebnn_flax
from edgeq.models.pokebnn import Bottleneck, BottleneckShape, PokeBNN, PokeBNNConfig, build
from edgeq.nn.linear import QuantLinear
from edgeq.nn.phases import input_quantisers
from edgeq.schemes import binary, uniform

from .report import ATOL, GRADIENT_RTOL, Check, Fixture, Report

QUANTISER_RTOL = 2.0**-22  # of the tensor's largest value: the scale and the division by it round once each


def recognises(fixture: Fixture) -> bool:
    """Whole networks and bottlenecks carry Flax names of bounds; quantiser vectors are known by theirs."""
    return is_quantiser_fixture(fixture) or any(k.endswith("/kernel") for k in fixture.tensors)


def is_quantiser_fixture(fixture: Fixture) -> bool:
    return "bin_b3" in fixture.tensors


def build_from_fixture(fixture: Fixture) -> PokeBNN | Bottleneck:
    """The network or bottleneck that the sidecar and the shapes describe, with the fixture's tensors in it."""
    model: PokeBNN | Bottleneck
    if "filter_multiplier" in fixture.about:
        stem = fixture.tensors["param/init_conv/kernel"]
        config = PokeBNNConfig(
            width=fixture.number("filter_multiplier"),
            classes=int(fixture.number("num_classes")),
            in_channels=stem.shape[2],
            stem_kernel=stem.shape[0],
            init_group=int(fixture.number("init_group")),
            blocks=_blocks(fixture),
        )
        model = build(config)
    else:
        strides = fixture.about.get("strides")
        if not isinstance(strides, list) or len(set(strides)) != 1:
            raise FormatError(f"{fixture.name}.json: 'strides' must be two equal numbers, got {strides!r}")
        model = Bottleneck(
            BottleneckShape(int(fixture.number("cin")), int(fixture.number("features")), int(strides[0]))
        )
    checkpoint = fixture.checkpoint
    for name, layer in pokebnn_flax.layers(model):  # a calibration fixture starts without bounds
        if isinstance(layer, QuantLinear) and not any(fixture.under("bounds/")):
            checkpoint[f"bounds/{name}/GetBounds_0"] = layer.input_quantiser.bounds.numpy()
    if not any(fixture.under("bounds/")):
        for name, channels in pokebnn_flax.binary_bounds(model):
            checkpoint[name] = np.full(channels, binary.ACTIVATION_BOUND, np.float32)
    pokebnn_flax.load_flax(model, checkpoint)
    return model.eval()


def _blocks(fixture: Fixture) -> tuple[int, int, int, int]:
    blocks = fixture.about.get("blocks", [3, 4, 6, 3])
    if not isinstance(blocks, list) or len(blocks) != 4 or not all(isinstance(n, int) for n in blocks):
        raise FormatError(f"{fixture.name}.json: 'blocks' must be four integers, got {blocks!r}")
    return blocks[0], blocks[1], blocks[2], blocks[3]


# -- path "float": the train face ---------------------------------------------------------------------------------


def run_float(fixture: Fixture, report: Report) -> None:
    """Fake-quantised network: outputs, activations, gradients, train mode and calibration, as far as recorded."""
    if is_quantiser_fixture(fixture):
        compare_quantisers(report, fixture)
    elif "step0/input" in fixture.tensors:
        compare_calibration(report, fixture)
    else:
        compare_eval(report, fixture, build_from_fixture(fixture))
        if "grad_seed" in fixture.tensors:
            compare_gradients(report, fixture)
        if "train_output" in fixture.tensors:
            compare_train_mode(report, fixture)


def compare_eval(report: Report, fixture: Fixture, model: PokeBNN | Bottleneck) -> None:
    recorded: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _inputs, output: recorded.__setitem__(name, output)

    for name, layer in pokebnn_flax.layers(model):
        layer.register_forward_hook(keep(name))
    with torch.no_grad():
        output = model(torch.from_numpy(fixture.tensors["input"]))
    report.compare("output", output, fixture.tensors["output"], ATOL)
    recorded["__call__#0"] = output  # what the authors' recorder calls the block itself
    for name, want in fixture.under("act/"):
        if not name.endswith("/GetBounds_0"):  # repeats the bounds
            if name not in recorded:
                raise FormatError(f"act/{name}: the network has no layer of this name")
            report.compare(f"act/{name}", recorded[name], want, ATOL)


def compare_gradients(report: Report, fixture: Fixture) -> None:
    model = build_from_fixture(fixture)
    x = torch.from_numpy(fixture.tensors["input"]).requires_grad_()
    (model(x) * torch.from_numpy(fixture.tensors["grad_seed"])).sum().backward()
    want = fixture.tensors["grad_eval_input"]
    assert x.grad is not None
    report.compare("grad_eval_input", x.grad, want, GRADIENT_RTOL * float(np.abs(want).max()))
    ours = {e.name.removeprefix("param/"): e for e in pokebnn_flax.entries(model) if e.name.startswith("param/")}
    for name, want in fixture.under("grad_eval/"):
        entry = ours[name]
        assert entry.tensor.grad is not None
        got = entry.to_foreign(entry.tensor.grad)
        report.compare(f"grad_eval/{name}", got, want, GRADIENT_RTOL * float(np.abs(want).max()))


def compare_train_mode(report: Report, fixture: Fixture) -> None:
    model = build_from_fixture(fixture).train()
    with torch.no_grad():
        output = model(torch.from_numpy(fixture.tensors["input"]))
    report.compare("train_output", output, fixture.tensors["train_output"], ATOL)
    statistics = {e.name.removeprefix("bn/"): e.tensor for e in pokebnn_flax.entries(model)}
    for name, want in fixture.under("train_new_bn/"):
        report.compare(f"train_new_bn/{name}", statistics[name], want, ATOL)


def compare_calibration(report: Report, fixture: Fixture) -> None:
    """Train mode from the unquantised state; the step whose bounds are no longer -1 is the one that freezes."""
    model = build_from_fixture(fixture).train()
    assert isinstance(model, Bottleneck)
    quantisers = {
        name: layer.input_quantiser for name, layer in pokebnn_flax.layers(model) if isinstance(layer, QuantLinear)
    }
    for quantiser in input_quantisers(model):
        quantiser.start_calibration()
    frozen = False
    for step in range(sum(key.endswith("/input") for key in fixture.tensors)):
        here = f"step{step}/"
        bounds = {n: fixture.tensors[f"{here}bounds/{n}/GetBounds_0"] for n in quantisers}
        if not frozen and any((b != -1).any() for b in bounds.values()):
            frozen = True
            for quantiser in input_quantisers(model):
                quantiser.freeze_bounds()
        with torch.no_grad():
            output = model(torch.from_numpy(fixture.tensors[f"{here}input"]))
        report.compare(f"{here}output", output, fixture.tensors[f"{here}output"], ATOL)
        for name, quantiser in quantisers.items():
            report.compare(f"{here}bounds/{name}", quantiser.bounds, bounds[name], ATOL)
            for ours, theirs in (("statistic_max", "maximum"), ("statistic_min", "minimum")):
                want = fixture.tensors[f"{here}stats/{name}/GetBounds_0.mean_batch_{theirs}"]
                report.compare(f"{here}{ours}/{name}", getattr(quantiser, ours), want, ATOL)


def compare_quantisers(report: Report, fixture: Fixture) -> None:
    """Quantiser vectors; keys say the grid, the bits and the bound, as in `grad_sym4_b2.37`."""
    weight = torch.from_numpy(fixture.tensors["w_HWIO"]).permute(3, 0, 1, 2)
    for key, want in fixture.tensors.items():
        if key in ("x", "w_HWIO"):
            continue
        if key.startswith("w_prec"):
            bits = int(key.removeprefix("w_prec"))
            quantised = binary.weights(weight) if bits == 1 else uniform.weights(weight, bits)
            got = quantised.permute(1, 2, 3, 0)
        else:
            x = torch.from_numpy(fixture.tensors["x"]).requires_grad_()
            got = _quantise(key.removeprefix("grad_"), x)
            if key.startswith("grad_"):
                (got,) = torch.autograd.grad(got.sum(), x)
        report.compare(key, got, want, QUANTISER_RTOL * float(np.abs(want).max()))


def _quantise(key: str, x: Tensor) -> Tensor:
    grid, bound = key.split("_b")
    if grid == "bin":
        return binary.activations(x)
    quantise = {"sym": uniform.symmetric, "pos": uniform.positive}[grid[:3]]
    return quantise(x, torch.tensor(float(bound)), int(grid[3:]))


PATHS: dict[str, Check] = {"float": run_float}
