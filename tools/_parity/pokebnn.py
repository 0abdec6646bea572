"""PokeBNN and its quantisers: fixtures of the authors' code (google/aqt)."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from edgeq import _native, ops
from edgeq._errors import FormatError
from edgeq.compile import executorch, host
from edgeq.importers import pokebnn_flax
from edgeq.models.pokebnn import (
    Bottleneck,
    BottleneckShape,
    PackedBottleneck,
    PackedPokeBNN,
    PokeBNN,
    PokeBNNConfig,
    build,
)
from edgeq.nn import packed
from edgeq.nn.batch_norm import BatchNorm
from edgeq.nn.conv import convolve
from edgeq.nn.input_quantiser import InputQuantiser
from edgeq.nn.linear import QuantLinear
from edgeq.nn.packed import PackedPokeConv
from edgeq.nn.phases import input_quantisers
from edgeq.nn.poke_conv import PokeConv
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
    elif _steps(fixture):
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
    """Train mode from the unquantised state: outputs, statistics and bounds after every step."""
    for here, model, output in calibrate(fixture):
        report.compare(f"{here}output", output, fixture.tensors[f"{here}output"], ATOL)
        for name, quantiser in _quantisers(model).items():
            report.compare(f"{here}bounds/{name}", quantiser.bounds, fixture.tensors[_bounds_key(here, name)], ATOL)
            for ours, theirs in (("statistic_max", "maximum"), ("statistic_min", "minimum")):
                want = fixture.tensors[f"{here}stats/{name}/GetBounds_0.mean_batch_{theirs}"]
                report.compare(f"{here}{ours}/{name}", getattr(quantiser, ours), want, ATOL)


def calibrate(fixture: Fixture) -> Iterator[tuple[str, Bottleneck, Tensor]]:
    """(key prefix, model, output) after each training step; the first step with bounds is the one that freezes."""
    model = build_from_fixture(fixture).train()
    assert isinstance(model, Bottleneck)
    for quantiser in input_quantisers(model):
        quantiser.start_calibration()
    frozen = False
    for step in range(_steps(fixture)):
        here = f"step{step}/"
        if not frozen and any((fixture.tensors[_bounds_key(here, n)] != -1).any() for n in _quantisers(model)):
            frozen = True
            for quantiser in input_quantisers(model):
                quantiser.freeze_bounds()
        with torch.no_grad():
            output = model(torch.from_numpy(fixture.tensors[f"{here}input"]))
        yield here, model, output


def _steps(fixture: Fixture) -> int:
    return sum(key.startswith("step") and key.endswith("/input") for key in fixture.tensors)


def _bounds_key(here: str, name: str) -> str:
    return f"{here}bounds/{name}/GetBounds_0"


def _quantisers(model: Bottleneck) -> dict[str, InputQuantiser]:
    layers = pokebnn_flax.layers(model)
    return {name: layer.input_quantiser for name, layer in layers if isinstance(layer, QuantLinear)}


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


# -- path "packed": the deploy face on the C core ---------------------------------------------------------------------


def run_packed(fixture: Fixture, report: Report) -> None:
    """Packed network against the recorded outputs; accumulators of every binary convolution must be exact."""
    if is_quantiser_fixture(fixture):
        compare_packed_quantisers(report, fixture)
        return
    model, x, want = deployed(fixture)
    with torch.no_grad():
        report.compare("output", _packed(model)(x), want, ATOL)
    for name, block in _bottlenecks(model):
        for j, layer in enumerate((block.conv1, block.conv2, block.conv3), 1):
            compare_accumulators(report, fixture, f"conv-{name}-{j}", layer)


def deployed(fixture: Fixture) -> tuple[PokeBNN | Bottleneck, Tensor, np.ndarray]:
    """The network to pack, its input, and the output that was recorded for it.

    A calibration fixture records train mode only: there the last step's batch statistics become the running ones.
    """
    if not _steps(fixture):
        return build_from_fixture(fixture), torch.from_numpy(fixture.tensors["input"]), fixture.tensors["output"]
    *_, (here, model, _) = calibrate(fixture)
    x = torch.from_numpy(fixture.tensors[f"{here}input"])
    for layer in model.modules():
        if isinstance(layer, BatchNorm):
            layer.register_forward_pre_hook(_use_batch_statistics)
    with torch.no_grad():
        model.eval()(x)
    return model, x, fixture.tensors[f"{here}output"]


def _use_batch_statistics(layer: nn.Module, inputs: tuple[Tensor]) -> None:
    assert isinstance(layer, BatchNorm)
    rows = inputs[0].reshape(-1, inputs[0].shape[-1]).double()
    layer.running_mean.copy_(rows.mean(0))
    layer.running_var.copy_(rows.var(0, correction=0))


def compare_accumulators(report: Report, fixture: Fixture, name: str, layer: PokeConv) -> None:
    """The kernel's integers against signs convolved in double precision, and the recorded layer if it was kept."""
    x = _input_of(fixture, name)
    if x is None:
        return
    with torch.no_grad():
        acc = PackedPokeConv.from_trained(layer).accumulators(x)
        signs, alpha = binary.weight_codes(layer.conv.weight)
        plain = convolve(_sign(x >= 0), _sign(signs), layer.conv.stride, 1, "same")
    report.compare(f"accumulators/{name}", acc.double(), plain.numpy(), 0.0)
    if (recorded := fixture.tensors.get(f"act/{name}")) is not None:
        report.compare(f"act/{name}", acc * alpha * binary.ACTIVATION_VALUE, recorded, ATOL)


def _sign(positive: Tensor) -> Tensor:
    return positive.double() * 2 - 1


def _input_of(fixture: Fixture, name: str) -> Tensor | None:
    """What `conv-BLOCK-J` saw: the input, the block before, or the convolution before; None if it was not kept."""
    _, block, j = name.split("-")
    if j != "1":
        key = f"act/bn_split{block}-{int(j) - 1}"
    elif block == "blk":
        key = "input"
    elif block == "resblock0":
        key = "act/DPReLU_1"
    else:
        key = f"act/bn_splitresblock{int(block.removeprefix('resblock')) - 1}-3"
    kept = fixture.tensors.get(key)
    return None if kept is None else torch.from_numpy(kept)


def compare_packed_quantisers(report: Report, fixture: Fixture) -> None:
    """The core's own rounding of activations, and weights through their stored codes and back."""
    x = fixture.tensors["x"]
    weight = torch.from_numpy(fixture.tensors["w_HWIO"]).permute(3, 0, 1, 2)
    for key, want in fixture.tensors.items():
        if key in ("x", "w_HWIO") or key.startswith("grad_"):
            continue
        if key.startswith("w_prec"):
            got = _through_codes(weight, int(key.removeprefix("w_prec"))).permute(1, 2, 3, 0)
        else:
            got = torch.from_numpy(_core_quantise(key, x))
        report.compare(key, got, want, QUANTISER_RTOL * float(np.abs(want).max()))


def _through_codes(weight: Tensor, bits: int) -> Tensor:
    per_output = (-1, 1, 1, 1)
    if bits == 1:
        signs, alpha = binary.weight_codes(weight)
        rows = packed.pack_bits(signs).numpy()
        unpacked = np.unpackbits(rows, axis=-1, bitorder="little")[..., : weight.shape[-1]]
        return _sign(torch.from_numpy(unpacked) == 1).float() * alpha.view(per_output)
    codes, scale = uniform.weight_codes(weight, bits)
    return codes / scale.view(per_output)


def _core_quantise(key: str, x: np.ndarray) -> np.ndarray:
    """One row through an identity matrix: what comes out is the quantised input itself."""
    grid, bound = key.split("_b")
    if grid == "bin":
        bits = np.unpackbits(_native.pack_b1(x[None]), axis=-1, bitorder="little")[0, : x.size]
        return np.where(bits == 1, binary.ACTIVATION_VALUE, -binary.ACTIVATION_VALUE).astype(np.float32)
    signed, p = grid[:3] == "sym", int(grid[3:])
    scale = uniform.activation_scale(torch.full((x.size,), float(bound)), p, signed=signed)
    top = uniform.symmetric_level(p) if signed else 2.0**p - 1
    quant = _native.Quant("sym" if signed else "pos", top, scale.numpy(), (1 / scale).numpy())
    out = _native.linear_i8f32(x[None], quant, np.eye(x.size, dtype=np.int8), _native.Epilogue()).out
    assert out is not None
    return out[0]


# -- path "pte": the compiled program ---------------------------------------------------------------------------------


def run_pte(fixture: Fixture, report: Report) -> None:
    """The program that a device runs, against the recorded output; also bit for bit against the packed network."""
    if is_quantiser_fixture(fixture):
        compare_compiled_quantisers(report, fixture)
        return
    model, x, want = deployed(fixture)
    face = _packed(model)
    (output,) = host.run(executorch.lower(face, (x,)), (x,))
    report.compare("output", output, want, ATOL)
    with torch.no_grad():
        report.compare("output_minus_packed", output, face(x).numpy(), 0.0)


class _Quantise(nn.Module):
    """(1, k) -> (1, k): an identity matrix behind one of the core's input quantisers."""

    def __init__(self, scale: Tensor, kind: ops.Quant) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("eye", torch.eye(scale.numel(), dtype=torch.int8))
        self.register_buffer("steps", ops.pack_steps(scale))
        self.register_buffer("params", torch.stack([torch.ones(scale.numel()), torch.zeros(scale.numel())]))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.linear_i8f32(x, self.eye, self.steps, self.kind, ops.Act.NONE, self.params)
        return y


def compare_compiled_quantisers(report: Report, fixture: Fixture) -> None:
    """Each quantiser that an operator offers, as a program of its own."""
    x = torch.from_numpy(fixture.tensors["x"])[None]
    for kind in (ops.Quant.SYM4, ops.Quant.POS4, ops.Quant.SYM8):
        grid, p = kind.name[:3].lower(), int(kind.name[3:])
        for key, want in fixture.under(f"{grid}{p}_b"):
            bound = torch.full((x.numel(),), float(key))
            scale = uniform.activation_scale(bound, p, signed=grid == "sym")
            (got,) = host.run(executorch.lower(_Quantise(scale, kind), (x,)), (x,))
            report.compare(f"{grid}{p}_b{key}", got[0], want, QUANTISER_RTOL * float(np.abs(want).max()))


def _packed(model: PokeBNN | Bottleneck) -> PackedPokeBNN | PackedBottleneck:
    if isinstance(model, PokeBNN):
        return PackedPokeBNN.from_trained(model)
    return PackedBottleneck.from_trained(model)


def _bottlenecks(model: PokeBNN | Bottleneck) -> list[tuple[str, Bottleneck]]:
    if isinstance(model, Bottleneck):
        return [("blk", model)]
    return [(f"resblock{i}", block) for i, block in enumerate(model.blocks)]


PATHS: dict[str, Check] = {"float": run_float, "packed": run_packed, "pte": run_pte}
