"""Every quantiser of BiBERT, BiT and TBT by itself, and linear layers made of them: fixtures `quantizers*`."""

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from edgeq._errors import FormatError
from edgeq.schemes import around_mean, dynamic, elastic, signs, ternary
from edgeq.schemes.quantised import Quantised, product

from .codes import OUTPUT_ATOL, compare_quantised
from .report import Check, Fixture, Report

GRADIENT_ATOL = 5e-6
ALPHA_RTOL = 1e-4  # a float32 sum over all values, in another order

Quantise = Callable[[Tensor], Quantised]

PLAIN: dict[str, Quantise] = {
    "bibert_BinaryQuantizer": signs.attention_operand,
    "bibert_ZMeanBinaryQuantizer": signs.attention_bit,
    "bit_Bwn_layerwise": partial(around_mean.bit_weights, per_row=False),
    "bit_Bwn_rowwise": partial(around_mean.bit_weights, per_row=True),
} | {
    f"{paper}_{name}": quantise
    for paper in ("bibert", "tbt")
    for name, quantise in (
        ("Sym8_layerwise", dynamic.signed),
        ("Asym8_layerwise", dynamic.unsigned),
        ("Twn_layerwise", partial(ternary.twn_weights, per_row=False)),
        ("Twn_rowwise", partial(ternary.twn_weights, per_row=True)),
        ("Sym4_rowwise", partial(dynamic.signed, bits=4, per_row=True)),
    )
}
GRIDS = {"bit": elastic.full_grid, "tbt": elastic.ternary_grid}
ELASTIC = re.compile(r"(bit|tbt)_elastic_(signed|unsigned)_(\d)bit\w*")
LINEAR = re.compile(r"lin\d+x\d+/(bibert|bit|bit_rowwise|tbt)_w(\d)a(\d)_(sym|asym)")


def recognises(fixture: Fixture) -> bool:
    return "bibert_BinaryQuantizer/y" in fixture.tensors


def run_float(fixture: Fixture, report: Report) -> None:
    for name in sorted({key.rpartition("/")[0] for key in fixture.tensors if "/" in key}):
        if name in PLAIN:
            compare_plain(report, fixture, name)
        elif match := ELASTIC.fullmatch(name):
            compare_elastic(report, fixture, match)
        elif match := LINEAR.fullmatch(name):
            compare_linear(report, fixture, match)
        elif not name.startswith("lin") or name.count("/"):
            raise FormatError(f"{fixture.name}: {name}: no such quantiser")


def compare_plain(report: Report, fixture: Fixture, name: str) -> None:
    x = _tensor(fixture, "x").requires_grad_()
    quantised = PLAIN[name](x)
    quantised.values.backward(_tensor(fixture, "grad_out"))
    compare_quantised(report, f"{name}/y", quantised, fixture.tensors[f"{name}/y"])
    report.compare(f"{name}/grad_x", _grad(x), fixture.tensors[f"{name}/grad_x"], 0.0)


def compare_elastic(report: Report, fixture: Fixture, match: re.Match[str]) -> None:
    name = match[0]
    grid = GRIDS[match[1]](int(match[3]), signed=match[2] == "signed")
    x, alpha = (_tensor(fixture, f"{name}/{key}").requires_grad_() for key in ("x", "alpha"))
    quantised = elastic.quantise(x, alpha, grid)
    quantised.values.backward(_tensor(fixture, "grad_out"))
    compare_quantised(report, f"{name}/y", quantised, fixture.tensors[f"{name}/y"])
    report.compare(f"{name}/grad_x", _grad(x), fixture.tensors[f"{name}/grad_x"], 0.0)
    _compare_relative(report, f"{name}/grad_alpha", _grad(alpha), fixture.tensors[f"{name}/grad_alpha"])
    _compare_relative(
        report, f"{name}/alpha_init", elastic.initial_alpha(x, grid), fixture.tensors[f"{name}/alpha_init"]
    )


def compare_linear(report: Report, fixture: Fixture, match: re.Match[str]) -> None:
    name, model, signed = match[0], match[1], match[4] == "sym"
    shared = name.partition("/")[0]
    weight, bias, x = (_tensor(fixture, key) for key in (f"{shared}/W", f"{shared}/b", f"{name}/X"))
    weight, x = weight.requires_grad_(), x.requires_grad_()
    shifted = x + 0.1 * torch.arange(x.shape[-1]).float().sin() if model.startswith("bit") else x
    alpha = None
    if f"{name}/alpha" in fixture.tensors:
        alpha = _tensor(fixture, f"{name}/alpha").requires_grad_()
        x_q = elastic.quantise(shifted, alpha, GRIDS[model[:3]](int(match[3]), signed=signed))
    elif model == "bibert":
        x_q = signs.linear_input(x)
    else:
        x_q = (dynamic.signed if signed else dynamic.unsigned)(x)
    quantise_weight: dict[str, Quantise] = {
        "bibert": around_mean.bibert_weights,
        "bit": partial(around_mean.bit_weights, per_row=False),
        "bit_rowwise": partial(around_mean.bit_weights, per_row=True),
        "tbt": partial(ternary.weights, bits=int(match[2])),
    }
    w_q = quantise_weight[model](weight)
    y = product(x_q, w_q.mT) + bias
    y.backward(_tensor(fixture, f"{shared}/G"))
    want = {key: fixture.tensors[f"{name}/{key}"] for key in ("x_q", "w_q", "y", "grad_W", "grad_X")}
    compare_quantised(report, f"{name}/x_q", x_q, want["x_q"])
    compare_quantised(report, f"{name}/w_q", w_q, want["w_q"])
    report.compare(f"{name}/y", y, want["y"], OUTPUT_ATOL)
    report.compare(f"{name}/grad_W", _grad(weight), want["grad_W"], GRADIENT_ATOL)
    report.compare(f"{name}/grad_X", _grad(x), want["grad_X"], GRADIENT_ATOL)
    if alpha is not None:
        _compare_relative(report, f"{name}/grad_alpha", _grad(alpha), fixture.tensors[f"{name}/grad_alpha"])


def _compare_relative(report: Report, name: str, got: Tensor, want: np.ndarray) -> None:
    report.compare(name, got, want, ALPHA_RTOL * float(np.abs(want)))


def _tensor(fixture: Fixture, key: str) -> Tensor:
    return torch.from_numpy(fixture.tensors[key])


def _grad(x: Tensor) -> Tensor:
    assert x.grad is not None
    return x.grad


PATHS: dict[str, Check] = {"float": run_float}
