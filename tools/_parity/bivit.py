"""BiViT: its sign, softmax-aware binarisation, linear layers, attention and perceptron."""

import numpy as np
import torch
from torch import Tensor, nn

from edgeq._errors import FormatError
from edgeq.importers import bivit_torch
from edgeq.nn.bivit import BivitAttention, BivitLinear, BivitMlp
from edgeq.schemes import signs, softmax_aware

from . import state_dict
from .report import ATOL, Check, Fixture, Report

EXACT = 0.0


def recognises(fixture: Fixture) -> bool:
    return "BiViT" in str(fixture.about.get("source")) or fixture.name.startswith("bivit_")


def run_float(fixture: Fixture, report: Report) -> None:
    """Outputs (signs and bits exactly), the projections q, k, v, and gradients, as far as recorded."""
    tensors = fixture.tensors
    if any(True for _ in fixture.under("param/")):
        compare_layer(report, fixture)
    elif "softmax" in tensors:
        state_dict.compare(
            report,
            fixture,
            softmax_aware.bits,
            bits_exactly(tensors["output"]),
            input_gradient="grad_input_as_used_in_BiAttention_SAB",
        )
        report.compare("softmax", torch.from_numpy(tensors["input"]).softmax(-1), tensors["softmax"], ATOL)
    else:
        state_dict.compare(
            report, fixture, lambda x: signs.attention_operand(x).values, bits_exactly(tensors["output"])
        )


def compare_layer(report: Report, fixture: Fixture) -> None:
    layer = build_from_fixture(fixture)
    recorded: dict[str, Tensor] = {}
    if isinstance(layer, BivitAttention):
        layer.qkv.register_forward_hook(lambda _layer, _inputs, output: recorded.__setitem__("qkv", output))
    parameters = {f"grad/{entry.name}": entry for entry in bivit_torch.entries(layer)}
    state_dict.compare(report, fixture, layer, tolerance, parameters)
    for name, want in fixture.under("act/"):
        if name not in recorded:
            raise FormatError(f"act/{name}: the layer has no activation of this name")
        report.compare(f"act/{name}", recorded[name], want, tolerance(want))


def build_from_fixture(fixture: Fixture) -> nn.Module:
    """The layer that the sidecar's kind and the shapes describe, with the fixture's tensors in it."""
    state = state_dict.tensors(fixture.under("param/"))
    kind = str(fixture.about.get("kind"))
    layer: nn.Module
    if "qkv.weight" in state:
        dim = state["qkv.weight"].shape[1]
        rule = "sab" if "BiAttention_SAB" in kind else "baseline"
        layer = BivitAttention(dim, int(fixture.number("heads")), rule=rule)
    elif "fc1.weight" in state:
        hidden, dim = state["fc1.weight"].shape
        layer = BivitMlp(dim, hidden, binary_input="32a" not in kind, learnt_scale="fc1.scaling_factor" in state)
    elif "weight" in state:
        out, inputs = state["weight"].shape
        layer = BivitLinear(inputs, out, binary_input="32a" not in kind, learnt_scale="scaling_factor" in state)
    else:
        raise FormatError(f"{fixture.name}: no BiViT layer has the tensors {', '.join(sorted(state)[:3])}")
    bivit_torch.load_state(layer, state)
    return layer.eval()


def tolerance(want: np.ndarray) -> float:
    """The same kernels give the same bits; another machine may sum in another order."""
    return ATOL * max(1.0, float(np.abs(want).max(initial=0.0)))


def bits_exactly(bits: np.ndarray) -> state_dict.Tolerance:
    """No tolerance for the output itself, the usual one for gradients."""
    return lambda want: EXACT if want is bits else ATOL


PATHS: dict[str, Check] = {"float": run_float}
