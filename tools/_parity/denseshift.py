"""DenseShift and S3: shift convolutions with gradients, and ResNets in eval mode (NCHW, OIHW)."""

from collections.abc import Callable

import numpy as np
from torch import Tensor, nn

from edgeq._errors import FormatError
from edgeq.importers import denseshift_torch
from edgeq.models.denseshift import DenseShift, build
from edgeq.nn.shift_conv import ShiftConv2d
from edgeq.schemes import shift

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
    if any(True for _ in fixture.under("param/")):
        compare_network(report, fixture)
    else:
        compare_conv(report, fixture)


def compare_conv(report: Report, fixture: Fixture) -> None:
    state = state_dict.tensors(
        (key, value) for key, value in fixture.tensors.items() if key not in RECORDED and not key.startswith("grad_")
    )
    stride, padding, groups = (
        int(fixture.number(key)) if key in fixture.about else default
        for key, default in (("stride", 1), ("padding", 0), ("groups", 1))
    )
    conv = denseshift_torch.read_conv(state, stride=stride, padding=padding, groups=groups)
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
    recorded: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _inputs, output: recorded.__setitem__(name, output)

    for number, stage in enumerate(model.stages, 1):
        stage.register_forward_hook(keep(f"layer{number}"))
    parameters = {f"grad/{entry.name}": entry for entry in denseshift_torch.entries(model)}
    state_dict.compare(report, fixture, lambda x: model(_nhwc(x)), tolerance, parameters)
    for name, want in fixture.under("act/"):
        if name not in recorded:
            raise FormatError(f"act/{name}: the network has no stage of this name")
        report.compare(f"act/{name}", _nchw(recorded[name]), want, tolerance(want))


def tolerance(want: np.ndarray) -> float:
    return RTOL * float(np.abs(want).max(initial=0.0))


def _nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


PATHS: dict[str, Check] = {"float": run_float}
