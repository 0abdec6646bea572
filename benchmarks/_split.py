"""How much of a fused binary convolution is convolution: the same call with its true epilogue and without.

The network is run once in eager over its compiled graph, which hands over each fused convolution with its real inputs;
then every layer is timed in turns with its own epilogue, writing only sign bits of the accumulators, and writing only
the accumulators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from edgeq import _native
from edgeq.compile import executorch
from edgeq.ops import Want
from edgeq.ops.params import split_params

from . import _core
from ._executorch import OperatorTime
from .harness import Engine, measure

_PAD, _TILE = 0, 1  # eq_residual_mode


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

    def as_json(self, in_network: OperatorTime) -> dict[str, object]:
        return {**asdict(self), "in_network_us": in_network.median_us}


def convolutions(model: nn.Module, picture: Tensor) -> list[Fused]:
    """The fused binary convolutions of `model` with the inputs that `picture` gives them, in order of execution."""
    with torch.no_grad():
        graph = executorch.fused(model, (picture,))
        recorder = _Recorder(graph)
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
        if target == torch.ops.edgeq.conv2d_b1b1_fused.default:
            self.found.append(Fused(*(a.clone() if isinstance(a, Tensor) else a for a in args)))
        return super().call_function(target, args, kwargs)


def _call(layer: Fused, kind: str) -> _core.Call:
    """kind: full, bits or acc."""
    n, h, w, o = layer.out_shape
    bits = np.empty((n, h, w, _native.row_bytes(o)), np.uint8)
    if kind == "full":
        e = _true_epilogue(layer, bits)
    else:
        e = _core.epilogue({"out_bits": bits} if kind == "bits" else {"out_acc": np.empty((n, h, w, o), np.int32)})
    kernel = (layer.w.shape[1], layer.w.shape[2])
    op = _core.conv2d(n, *layer.x.shape[1:3], layer.channels, o, kernel, layer.stride, layer.groups)
    return _core.operator("conv2d_b1b1", op, (layer.x.numpy(), layer.w.numpy()), e)


def _true_epilogue(layer: Fused, bits: Any) -> Any:
    n, h, w, o = layer.out_shape
    arrays: dict[str, Any] = {
        name: row.contiguous().numpy() for name, row in split_params(layer.params, layer.act).items()
    }
    if layer.gain is not None:
        arrays["gain"] = layer.gain.contiguous().numpy()
    if layer.want & Want.MAP:
        arrays["out"] = np.empty((n, h, w, o), np.float32)
    if layer.want & Want.BITS:
        arrays["out_bits"] = bits
    if layer.want & Want.MEAN:
        arrays["out_mean"] = np.empty((n, o), np.float32)
    given = ((layer.local, _PAD), (layer.block, _TILE))
    residuals = [(data.contiguous().numpy(), mode) for data, mode in given if data is not None]
    return _core.epilogue(arrays, act=layer.act, residuals=residuals)
