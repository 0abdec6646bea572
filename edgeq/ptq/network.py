"""Quantise the linear layers of a whole network, one after the other, each on the inputs that it will really get.

Layer by layer in the order of the forward pass: aim at the float layer's outputs (`gptq.aimed`), quantise
(`gptq.quantise`), and let the bias take up the mean error that is left. Layers that read the same tensor, such as
query, key and value, are quantised together.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from edgeq._errors import UsageError
from edgeq.nn.int4_linear import Int4Linear
from edgeq.ptq import gptq
from edgeq.schemes.grouped import GroupedWeight
from edgeq.schemes.int4 import GRIDS, Grid

Batches = Sequence[tuple[Tensor, ...]]
Tell = Callable[[str, int, int], None]  # name of the layer, steps done, steps in all

SCHEMES = {"int4": 4, "int3": 3, "int2": 2}
NEEDS_TRAINING = (
    "{scheme} by rounding alone loses most of what a network knows (sentence embeddings: cosine 0.89 at 3 bits, "
    "0.49 at 2); below 4 bits train with the quantiser in the loop instead: edgeq train"
)


def quantize(
    module: nn.Module,
    scheme: str = "int4",
    *,
    calibration: Batches,
    group: int = 32,
    grid: Grid = "asymmetric",
    skip: Collection[str] = (),
    below_4_bits: bool = False,
    progress: Tell | None = None,
) -> nn.Module:
    """A copy of a network whose linear layers have INT4 weights and run on the C core, with 8-bit activations.

    module        in float32; only its `nn.Linear` layers change
    scheme        "int4"; "int3" and "int2" use fewer codes of the same files, and need `below_4_bits`
    calibration   argument tuples of real inputs, without padding; some thousand rows in all
    group         inputs that share a scale; divides the inputs of every layer
    grid          "asymmetric", "symmetric", or "q4_0" (as in GGUF files)
    skip          names of layers that stay float
    progress      called before each step
    raises        UsageError for a network without linear layers, for unknown schemes and groups that do not divide
    """
    check(scheme, grid, group, below_4_bits=below_4_bits)
    bits = SCHEMES[scheme]
    if bits < 4:
        warnings.warn(NEEDS_TRAINING.format(scheme=scheme), stacklevel=2)
    module = module.eval()
    weights = quantise_linears(module, calibration, group=group, grid=grid, bits=bits, skip=skip, progress=progress)
    result = copy.deepcopy(module)
    for name, weight in weights.items():
        result.set_submodule(name, Int4Linear.from_weight(weight))
    return result


def check(scheme: str, grid: str, group: int, *, below_4_bits: bool) -> None:
    """Raises UsageError for options that `quantize` would refuse."""
    if scheme not in SCHEMES:
        raise UsageError(f"scheme {scheme!r} is not known; use one of: {', '.join(SCHEMES)}")
    if grid not in GRIDS:
        raise UsageError(f"grid {grid!r} is not known; use one of: {', '.join(GRIDS)}")
    if group < 1:
        raise UsageError(f"group: must be at least 1, got {group}")
    if SCHEMES[scheme] < 4 and not below_4_bits:
        raise UsageError(NEEDS_TRAINING.format(scheme=scheme))


def quantise_linears(
    module: nn.Module,
    calibration: Batches,
    *,
    group: int,
    grid: Grid = "asymmetric",
    bits: int = 4,
    skip: Collection[str] = (),
    progress: Tell | None = None,
) -> dict[str, GroupedWeight]:
    """The quantised weights of every `nn.Linear` that the calibration inputs reach, by name; `module` stays."""
    if not calibration:
        raise UsageError("calibration: no inputs given")
    unknown = set(skip) - {name for name, _ in module.named_modules()}
    if unknown:
        raise UsageError(f"skip: the network has no layer {sorted(unknown)[0]!r}")
    steps = [[name for name in step if name not in skip] for step in _steps(module, calibration[0])]
    steps = [step for step in steps if step]
    if not steps:
        raise UsageError(f"{type(module).__name__}: no linear layer to quantise")
    working = copy.deepcopy(module)
    done: dict[str, GroupedWeight] = {}
    for index, step in enumerate(steps):
        if progress:
            progress(step[0], index, len(steps))
        seen = _statistics(module, working, step[0], calibration)
        for name in step:
            layer, replaced = module.get_submodule(name), working.get_submodule(name)
            assert isinstance(layer, nn.Linear) and isinstance(replaced, nn.Linear)
            done[name] = _quantise(layer, seen, group, grid, bits)
            with torch.no_grad():
                replaced.weight.copy_(done[name].dequantise())
                replaced.bias = nn.Parameter(_bias(done[name]))
    return done


@dataclass
class _Statistics:
    """Of one step's input: n rows, x in the quantised network, f in the float one."""

    hessian: Tensor  # x^T x / n
    cross: Tensor  # (f - x)^T x / n
    mean: Tensor  # of x
    float_mean: Tensor  # of f


def _quantise(layer: nn.Linear, seen: _Statistics, group: int, grid: Grid, bits: int) -> GroupedWeight:
    w = layer.weight.detach()
    target = gptq.aimed(w, seen.hessian, seen.cross)
    weight = gptq.quantise(target, seen.hessian, group=group, grid=grid, bits=bits)
    bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach()
    error = w @ seen.float_mean - weight.dequantise() @ seen.mean
    return replace(weight, bias=bias + error, activation="int8 per token")


def _bias(weight: GroupedWeight) -> Tensor:
    assert weight.bias is not None
    return weight.bias


def _steps(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[list[str]]:
    """Names of the linear layers in the order of a forward pass, those with the same input together."""
    readers: dict[int, list[str]] = {}
    alive: list[Tensor] = []  # an identity is worth something only while its tensor lives
    seen: set[str] = set()

    def note(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            if name not in seen:
                seen.add(name)
                alive.append(args[0])
                readers.setdefault(id(args[0]), []).append(name)

        return hook

    linears = [(name, layer) for name, layer in module.named_modules() if type(layer) is nn.Linear]
    handles = [layer.register_forward_pre_hook(note(name)) for name, layer in linears]
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return list(readers.values())


class _Reached(Exception):
    """The forward pass has come to the layer whose input was wanted."""


def _statistics(exact: nn.Module, working: nn.Module, name: str, calibration: Batches) -> _Statistics:
    rows, inputs = 0, exact.get_submodule(name).in_features
    assert isinstance(inputs, int)
    hessian, cross = torch.zeros(inputs, inputs), torch.zeros(inputs, inputs)
    total, float_total = torch.zeros(inputs), torch.zeros(inputs)
    with _capture(exact, name) as wanted, _capture(working, name) as given:
        for batch in calibration:
            f, x = wanted(batch), given(batch)
            rows += len(x)
            hessian += x.T @ x
            cross += (f - x).T @ x
            total += x.sum(0)
            float_total += f.sum(0)
    return _Statistics(hessian / rows, cross / rows, total / rows, float_total / rows)


@contextmanager
def _capture(module: nn.Module, name: str) -> Iterator[Callable[[tuple[Tensor, ...]], Tensor]]:
    """A function that runs the network up to layer `name` and gives that layer's input, (rows, i) float32."""
    caught: list[Tensor] = []

    def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        caught.append(args[0])
        raise _Reached

    def run(batch: tuple[Tensor, ...]) -> Tensor:
        caught.clear()
        try:
            with torch.no_grad():
                module(*batch)
        except _Reached:
            return caught[0].detach().flatten(0, -2).float()
        raise UsageError(f"calibration: an input does not reach layer {name!r}, which the first one reached")

    handle = module.get_submodule(name).register_forward_pre_hook(hook)
    try:
        yield run
    finally:
        handle.remove()
