"""Small packed networks that can be tuned, a task for them, and the tuning module over them in eager."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edgeq._native.tune import Forward, Outputs
from edgeq.compile.layout import PARTS, Tuning
from edgeq.compile.tunable import TunableNet, base_bias, base_head
from edgeq.compile.tuning_base import measure_base
from edgeq.device.records import Outcome
from edgeq.models import denseshift, pokebnn
from edgeq.tune import Samples
from edgeq.tune.forward import output_names, wanted

SHAPE = (12, 9, 2)
CLASSES = 4


def shift_network(act: str = "i8") -> nn.Module:
    """Packed DenseShift with random weights, batch norms as they are after some data."""
    torch.manual_seed(3)
    config = denseshift.DenseShiftConfig(CLASSES, in_channels=2, widths=(6, 8), blocks=(1, 1), stem_stride=2, act=act)
    model = denseshift.build(config)
    for _ in range(8):
        model(torch.randn(32, *SHAPE))
    return denseshift.pack(model.eval(), torch.randn(64, *SHAPE)).eval()


def poke_network() -> nn.Module:
    g = torch.Generator().manual_seed(1)
    model = pokebnn.packed(pokebnn.PokeBNNConfig(width=0.125, classes=CLASSES, in_channels=2, blocks=(1, 1, 1, 1)))
    for buffer in model.buffers():
        if buffer.dtype == torch.float32:
            buffer.copy_(torch.rand(buffer.shape, generator=g) * 0.2 + 0.1)
        else:
            buffer.copy_(torch.randint(-8, 8, buffer.shape, generator=g).to(buffer.dtype))
    return model.eval()


def task(count: int, seed: int, *, gain: float = 1.0, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy patterns, one a class; gain and offset move the device's world."""
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(99).standard_normal((CLASSES, *SHAPE))
    y = rng.integers(0, CLASSES, count)
    x = gain * (patterns[y] + 0.8 * rng.standard_normal((count, *SHAPE))) + offset
    return x.astype(np.float32), y.astype(np.int32)


def tuning_of(model: nn.Module) -> Tuning:
    x, y = task(200, 1)
    layout, base = measure_base(model, x, y)
    weight, bias = base_head(model)
    channels = base_bias(model, (torch.zeros(1, *SHAPE),))
    return Tuning("ab" * 32, layout, weight.numpy(), bias.numpy(), channels.numpy(), base)


class Eager:
    """Answers `Forward` in eager."""

    def __init__(self, model: nn.Module, tuning: Tuning, samples: Samples) -> None:
        assert tuning.base is not None
        self.net = TunableNet(model, torch.from_numpy(tuning.base.sigma), PARTS).eval()
        self.x, self.names = torch.from_numpy(samples.inputs[0]), output_names(tuning.layout)
        self.passes = 0

    def __call__(self, request: Forward) -> Outputs:
        self.passes += len(request.samples)
        x = self.x[torch.from_numpy(request.samples.astype(np.int64))]
        fixed = (torch.from_numpy(a) for a in (request.ac_rows, request.head_weight, request.head_bias))
        with torch.no_grad():
            outputs = self.net(x, *fixed)
        return wanted(request, {name: y.numpy() for name, y in zip(self.names, outputs, strict=True)})


@dataclass
class Spec:
    shape: tuple[int, ...]


class EagerNet:
    """A loaded method, as `edgeq.device` shows it, that runs in eager."""

    def __init__(self, module, example) -> None:
        self._module = module
        self.inputs = [Spec(tuple(x.shape)) for x in example]
        self.outputs = module(*example)

    @torch.no_grad()
    def evaluate(self, inputs) -> Outcome:
        cut = [np.split(x, len(x) // spec.shape[0]) for x, spec in zip(inputs, self.inputs, strict=True)]
        found = [self._module(*map(torch.tensor, sample)) for sample in zip(*cut, strict=True)]
        return Outcome(tuple(np.concatenate(part) for part in zip(*found, strict=True)), [1] * len(found))
