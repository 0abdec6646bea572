"""DenseShift and S3: shift convolutions with gradients, and ResNets in eval mode (NCHW, OIHW)."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from edgeq._errors import FormatError
from edgeq.compile import executorch, host
from edgeq.importers import denseshift_torch
from edgeq.models.denseshift import DenseShift, build, pack
from edgeq.nn.packed_shift import PackedConv
from edgeq.nn.shift_conv import ShiftConv2d
from edgeq.ops import Want
from edgeq.schemes import int8, shift

from . import state_dict
from .report import Check, Fixture, Report

RTOL = 1e-5  # of the tensor's largest value: without batch norm outputs reach 1e6
EXACT = 0.0
RECORDED = ("S", "w_quant", "input", "output")  # in a convolution's fixture; all else but gradients is its state


def recognises(fixture: Fixture) -> bool:
    """Exponent references of DenseShift, or the value reference of S3."""
    return any(key.rpartition(".")[2] in ("weight_t1", "weight_val") for key in fixture.tensors)


def run_float(fixture: Fixture, report: Report) -> None:
    """Weights and exponents (exactly), outputs, activations of the stages and gradients, as far as recorded."""
    if is_network(fixture):
        compare_network(report, fixture)
    else:
        compare_conv(report, fixture)


def is_network(fixture: Fixture) -> bool:
    return any(True for _ in fixture.under("param/"))


def conv_from_fixture(fixture: Fixture) -> ShiftConv2d:
    state = state_dict.tensors(
        (key, value) for key, value in fixture.tensors.items() if key not in RECORDED and not key.startswith("grad_")
    )
    stride, padding, groups = (
        int(fixture.number(key)) if key in fixture.about else default
        for key, default in (("stride", 1), ("padding", 0), ("groups", 1))
    )
    return denseshift_torch.read_conv(state, stride=stride, padding=padding, groups=groups)


def compare_conv(report: Report, fixture: Fixture) -> None:
    conv = conv_from_fixture(fixture)
    compare_weights(report, fixture, conv)
    parameters = {
        f"grad_{'weight_sign' if entry.name == 'weight' else entry.name}": entry
        for entry in denseshift_torch.entries(conv)
    }
    state_dict.compare(report, fixture, lambda x: _nchw(conv(_nhwc(x))), tolerance, parameters)


def compare_weights(report: Report, fixture: Fixture, conv: ShiftConv2d) -> None:
    if "w_quant" in fixture.tensors:
        report.compare("w_quant", _nchw(conv.kernel()), fixture.tensors["w_quant"], EXACT)
    if "S" in fixture.tensors:
        _, exponent = shift.weight_codes(conv.references)
        report.compare("S", _nchw(exponent.float()), fixture.tensors["S"], EXACT)


def build_from_fixture(fixture: Fixture) -> DenseShift:
    state = state_dict.tensors(fixture.under("param/"))
    model = build(denseshift_torch.read_config(state))
    denseshift_torch.load_state(model, state)
    return model.eval()


def compare_network(report: Report, fixture: Fixture) -> None:
    model = build_from_fixture(fixture)
    recorded = record_stages(list(model.stages))
    parameters = {f"grad/{entry.name}": entry for entry in denseshift_torch.entries(model)}
    state_dict.compare(report, fixture, lambda x: model(_nhwc(x)), tolerance, parameters)
    compare_stages(report, fixture, recorded)


def record_stages(stages: list[nn.Module]) -> dict[str, Tensor]:
    """Will hold the output of every stage under its name in the fixtures, once the network has run."""
    recorded: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _inputs, output: recorded.__setitem__(name, output)

    for number, stage in enumerate(stages, 1):
        stage.register_forward_hook(keep(f"layer{number}"))
    return recorded


def compare_stages(report: Report, fixture: Fixture, recorded: dict[str, Tensor]) -> None:
    for name, want in fixture.under("act/"):
        if name not in recorded:
            raise FormatError(f"act/{name}: the network has no stage of this name")
        report.compare(f"act/{name}", _nchw(recorded[name]), want, tolerance(want))


# -- paths "packed" and "pte": the deploy face on the C core, float activations --------------------------------------


def run_packed(fixture: Fixture, report: Report) -> None:
    """Outputs and stages of the packed form; weights through their stored codes; integer sums exactly."""
    with torch.no_grad():
        output = deployed(fixture)(_input(fixture))
    compare_output(report, fixture, output)
    if is_network(fixture):
        compare_packed_stages(report, fixture)
    else:
        compare_codes(report, fixture, conv_from_fixture(fixture))


def run_pte(fixture: Fixture, report: Report) -> None:
    """The compiled program against the fixture, and bit for bit against the packed form in eager."""
    model, x = deployed(fixture), _input(fixture)
    with torch.no_grad():
        eager = model(x)
    (output,) = host.run(executorch.lower(model, (x,)), (x,))
    compare_output(report, fixture, output)
    report.compare("output:eager", output, eager.numpy(), EXACT)


def deployed(fixture: Fixture) -> nn.Module:
    if is_network(fixture):
        return pack(build_from_fixture(fixture))
    return Alone(PackedConv.from_trained(conv_from_fixture(fixture)))


class Alone(nn.Module):
    """A convolution without the ReLU that follows it in a network."""

    def __init__(self, conv: PackedConv) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x, relu=False)
        return y


def compare_output(report: Report, fixture: Fixture, output: Tensor) -> None:
    want = fixture.tensors["output"]
    report.compare("output", output if output.dim() == 2 else _nchw(output), want, tolerance(want))


def compare_packed_stages(report: Report, fixture: Fixture) -> None:
    """The last stage gives its mean only; here each block is asked for its map."""
    model = build_from_fixture(fixture)
    packed = pack(model)
    lengths = [len(stage) for stage in model.stages if isinstance(stage, nn.Sequential)]
    recorded: dict[str, Tensor] = {}
    with torch.no_grad():
        x = packed.entrance(_input(fixture))
        for number, length in enumerate(lengths, 1):
            for block in packed.blocks[sum(lengths[: number - 1]) :][:length]:
                x = block(x, Want.MAP)
            recorded[f"layer{number}"] = x
    compare_stages(report, fixture, recorded)


def compare_codes(report: Report, fixture: Fixture, conv: ShiftConv2d) -> None:
    """Stored weights, and the sums of int8 activations times them, against plain integers."""
    packed = PackedConv.from_trained(conv, act="i8", step_in=1.0)
    weights = stored_weights(packed, conv)
    if "w_quant" in fixture.tensors:
        report.compare("w_quant", _nchw(weights), fixture.tensors["w_quant"], EXACT)
    x = _input(fixture)
    codes = int8.codes(x, int8.best_step(x))
    with torch.no_grad():
        sums = packed.accumulators(codes)
        plain = nn.functional.conv2d(
            _nchw(codes).double(), _nchw(weights).double(), None, conv.stride, conv.padding, groups=conv.groups
        )
    report.compare("accumulators", _nchw(sums).double(), plain.numpy(), EXACT)


def stored_weights(packed: PackedConv, conv: ShiftConv2d) -> Tensor:
    """(O, kh, kw, I / groups) float32, out of the planes."""
    shape = conv.kernel().shape
    if packed.weights == "i8":
        return packed.weight.float()
    depthwise = packed.weight.dim() == 4
    sign, exponent = shift.unpack(packed.weight, shape[0] if depthwise else shape[3])
    values = shift.values(sign, exponent)
    return values.permute(2, 0, 1).unsqueeze(-1) if depthwise else values


def _input(fixture: Fixture) -> Tensor:
    return _nhwc(torch.from_numpy(fixture.tensors["input"])).contiguous()


def tolerance(want: np.ndarray) -> float:
    return RTOL * float(np.abs(want).max(initial=0.0))


def _nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


PATHS: dict[str, Check] = {"float": run_float, "packed": run_packed, "pte": run_pte}
