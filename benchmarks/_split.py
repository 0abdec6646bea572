"""How much of a fused binary convolution is convolution: the same call with its true epilogue and without.

The network is run once in eager over its compiled graph, which hands over each fused convolution with its real inputs;
then every layer is timed in turns with its own epilogue, writing only sign bits of the accumulators, and writing only
the accumulators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from edgeq import _native
from edgeq.ops.params import split_params

from . import _core
from .harness import Engine, WrongResultError, measure

_PAD, _TILE = 0, 1  # eq_residual_mode
_RESULTS = ("out", "out_bits", "out_mean")


@dataclass(frozen=True)
class Fused:
    """The arguments of one conv2d_b1b1_fused call."""

    x: Tensor
    w: Tensor
    channels: int
    stride: int
    groups: int
    act: int
    params: Tensor
    local: Tensor | None
    block: Tensor | None
    gain: Tensor | None
    want: int
    expected: tuple[Any, ...]  # map, bits, mean; what is not wanted is empty

    @property
    def name(self) -> str:
        _, h, w, _ = self.x.shape
        o, kernel = self.w.shape[:2]
        return f"{h}x{w}x{self.channels}->{o} k{kernel} s{self.stride}"

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        n, h, w, _ = self.x.shape
        return n, -(-h // self.stride), -(-w // self.stride), self.w.shape[0]


@dataclass(frozen=True)
class Split:
    """One layer's minima, microseconds: whole, with bits as its only output, with accumulators as its only output."""

    name: str
    full_us: float
    bits_us: float
    acc_us: float

    @property
    def bits_part(self) -> float:
        return min(1.0, self.bits_us / self.full_us)

    @property
    def acc_part(self) -> float:
        return min(1.0, self.acc_us / self.full_us)


def convolutions(graph: fx.GraphModule, picture: Tensor) -> list[Fused]:
    """The fused binary convolutions of a compiled graph with the inputs that `picture` gives them, in order."""
    recorder = _Recorder(graph)
    with torch.no_grad():
        recorder.run(picture)
    return recorder.found


def multiply_adds(layers: Sequence[Fused]) -> int:
    """Of the layers together, taps in the padding included (the paper counts them)."""
    return sum(
        int(np.prod(layer.out_shape)) * layer.w.shape[1] * layer.w.shape[2] * layer.channels // layer.groups
        for layer in layers
    )


def measured(layers: Sequence[Fused], isa: str, *, rounds: int) -> list[Split]:
    """Each layer's split on one instruction set, one thread."""
    _native.select_isa(isa)
    splits = []
    for layer in layers:
        engines = [Engine(kind, _call(layer, kind)) for kind in ("full", "bits", "acc")]
        timings = measure(engines, rounds=rounds).timings
        splits.append(Split(layer.name, *(timings[kind].min_us for kind in ("full", "bits", "acc"))))
    return splits


class _Recorder(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.found: list[Fused] = []

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        result = super().call_function(target, args, kwargs)
        if target == torch.ops.edgeq.conv2d_b1b1_fused.default:
            given = (a.contiguous() if isinstance(a, Tensor) else a for a in args)
            self.found.append(Fused(*given, expected=tuple(r.numpy() for r in result)))
        return result


def _call(layer: Fused, kind: str) -> _core.Call:
    """kind: full (checked against the recorded results), bits or acc."""
    shape = layer.out_shape
    if kind == "full":
        results = {name: np.empty_like(r) for name, r in zip(_RESULTS, layer.expected, strict=True) if r.size}
        e = _epilogue(layer, results)
    elif kind == "bits":
        e = _core.epilogue({"out_bits": np.empty((*shape[:3], _native.row_bytes(shape[3])), np.uint8)})
    else:
        e = _core.epilogue({"out_acc": np.empty(shape, np.int32)})
    n, h, w, _ = layer.x.shape
    o, *kernel, _ = layer.w.shape
    op = _core.conv2d(n, h, w, layer.channels, o, (kernel[0], kernel[1]), layer.stride, layer.groups)
    call = _core.operator("conv2d_b1b1", op, (layer.x.numpy(), layer.w.numpy()), e)
    if kind == "full":
        call()
        wanted = [r for r in layer.expected if r.size]
        if not all(np.array_equal(*pair) for pair in zip(results.values(), wanted, strict=True)):
            raise WrongResultError(f"{layer.name}: the core gives another result than the compiled graph")
    return call


def _epilogue(layer: Fused, results: dict[str, Any]) -> Any:
    arrays = {name: row.numpy() for name, row in split_params(layer.params, layer.act).items()}
    if layer.gain is not None:
        arrays["gain"] = layer.gain.numpy()
    given = ((layer.local, _PAD), (layer.block, _TILE))
    residuals = [(data.numpy(), mode) for data, mode in given if data is not None]
    return _core.epilogue({**arrays, **results}, act=layer.act, residuals=residuals)
