"""Small low-bit networks for 8x8 digits, trained in seconds, and the worlds that they were not trained for.

The digits are scikit-learn's (1,797 pictures): of a seed's order the first 900 train the base, 350 can be learned from
in another world, 547 test. Networks: an MLP 64-128-64-10 and a CNN 16-32/2-32/2-10 with W4, ternary or binary codes in
every layer, one scale a channel, and int8 codes between the layers; they run on the core's int8 kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeq._native.tune_types import TuneLatent
from edgeq.nn.packed_shift import PackedConv, PackedHead, PackedInput, grid
from edgeq.nn.tuning import TuningPass
from edgeq.ops import Want
from edgeq.schemes import int8

Array = np.ndarray[Any, Any]
Part = tuple[Array, Array]
BASE, LEARN, MIDDLE = 900, 350, 0.3
SEEDS = (0, 1, 2)  # of the order of the pictures, of the networks, and of the runs
STEPS = {"mlp": 700, "cnn": 500, "words": 900}
RATE, BATCH = 3e-3, 64
CODES = {"w4": (-8, 7), "tern": (-1, 1), "bin": (-1, 1)}
WIDTHS = {"mlp": ((64, 128), (128, 64)), "cnn": ((1, 16), (16, 32), (32, 32)), "words": ((576, 128), (128, 64))}
STRIDES = {"mlp": (1, 1), "cnn": (1, 2, 2), "words": (1, 1)}
HIDDEN = {"mlp": 64, "cnn": 128, "words": 64}
CONVOLVED = "cnn"  # the others are fully connected


def _turned(x: Array) -> Array:
    from scipy.ndimage import rotate

    return np.stack([rotate(picture, 35, reshape=False, order=1) for picture in x]).clip(0, 1)


def worlds(seed: int) -> Mapping[str, Callable[[Array], Array]]:
    """Of pictures (n, 8, 8), 0 to 1."""
    noise, places = np.random.RandomState(1000 + seed), np.random.RandomState(77).permutation(64)
    return {
        "clean": lambda x: x,
        "rot": _turned,
        "inv": lambda x: 1 - x,
        "gain": lambda x: (0.3 * x + 0.55).clip(0, 1),
        "noise": lambda x: (x + 0.45 * noise.randn(*x.shape)).clip(0, 1),
        "inv+rot": lambda x: 1 - _turned(x),
        "permuted": lambda x: x.reshape(len(x), 64)[:, places].reshape(x.shape),
    }


@cache
def pictures(seed: int, world: str) -> tuple[Part, Part, Part]:
    """Base, learning and test parts of a world: float32 (n, 8, 8, 1) and int64 labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.RandomState(seed).permutation(len(found.images))
    x, y = found.images[order] / 16.0, found.target[order].astype(np.int64)
    shift = worlds(seed)[world]
    cuts = (slice(BASE), slice(BASE, BASE + LEARN), slice(BASE + LEARN, None))
    parts = [((shift(x[cut]) - MIDDLE).astype(np.float32)[..., None], y[cut]) for cut in cuts]
    return parts[0], parts[1], parts[2]


def known(seed: int, classes: int = 10) -> Part:
    """What a base is trained on: its part of the pictures, those of the first `classes` digits."""
    x, y = pictures(seed, "clean")[0]
    return x[y < classes], y[y < classes]


# ---- training
class Latents(nn.Module):
    """The network while it is trained: float weights seen through their codes, straight through."""

    def __init__(self, kind: str, bits: str, classes: int, seed: int) -> None:
        super().__init__()
        self.kind, self.bits = kind, bits
        generator = torch.Generator().manual_seed(seed)
        shapes = [(o, i) if kind != CONVOLVED else (o, i, 3, 3) for i, o in WIDTHS[kind]]
        shapes.append((classes, HIDDEN[kind]))
        weights = [torch.randn(s, generator=generator) / np.sqrt(np.prod(s[1:])) for s in shapes]
        self.weights = nn.ParameterList(weights)
        self.biases = nn.ParameterList(torch.zeros(s[0]) for s in shapes)
        self.log_scales = [torch.zeros(s[0]) for s in shapes]  # learned by the ceiling only
        self.steps: list[float] = []  # of the codes between the layers, once they are known
        self.fixed: list[Tensor] = []  # the scales, once they are known

    def scale(self, i: int) -> Tensor:
        """(O,): one code of layer i in real units."""
        if self.fixed:
            return self.fixed[i]
        w = self.weights[i].detach().flatten(1).abs()
        return (w.amax(1) / 7.5).clamp(min=1e-6) if self.bits == "w4" else w.mean(1) * (1.3, 1.0)[self.bits == "bin"]

    def codes(self, i: int) -> Tensor:
        w = self.weights[i]
        v = w / self.scale(i).reshape(-1, *[1] * (w.dim() - 1))
        low, high = CODES[self.bits]
        rounded = torch.where(v >= 0, 1.0, -1.0) if self.bits == "bin" else v.round().clamp(low, high)
        passed = v.clamp(low, high)
        return passed + (rounded - passed).detach()

    def layer(self, i: int, x: Tensor) -> Tensor:
        codes = self.codes(i)
        if codes.dim() == 2:
            y = nn.functional.linear(x, codes)
        else:
            y = nn.functional.conv2d(x, codes, stride=STRIDES[self.kind][i], padding=1)
        shape = (1, -1, *[1] * (y.dim() - 2))
        return y * (self.scale(i) * self.log_scales[i].exp()).reshape(shape) + self.biases[i].reshape(shape)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1) if self.kind != CONVOLVED else x.permute(0, 3, 1, 2)
        last = len(self.weights) - 1
        for i in range(last):
            x = self.layer(i, x).relu()
            if self.steps and i < last - 1:
                short = x.clamp(max=int8.TOP * self.steps[i + 1])
                x = short + ((short / self.steps[i + 1]).round() * self.steps[i + 1] - short).detach()
        return self.layer(last, x if self.kind != CONVOLVED else x.permute(0, 2, 3, 1).flatten(1))


def fit(net: nn.Module, parameters: Sequence[Tensor], part: Part, *, steps: int, rate: float, seed: int) -> None:
    """Adam with a cosine, batches drawn with replacement."""
    x, y = torch.from_numpy(part[0]), torch.from_numpy(part[1])
    optimiser = torch.optim.Adam(parameters, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(0, len(x), (BATCH,), generator=generator)
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


@cache
def trained(kind: str, bits: str, seed: int, classes: int = 10) -> Latents:
    """kind mlp or cnn, bits w4, tern or bin."""
    return train(kind, bits, seed, known(seed, classes), classes)


def train(kind: str, bits: str, seed: int, part: Part, classes: int = 10) -> Latents:
    """On samples (n, h, w, 1) float32 and labels (n,)."""
    x = part[0]
    net = Latents(kind, bits, classes, seed)
    fit(net, list(net.parameters()), part, steps=STEPS[kind], rate=RATE, seed=seed)
    with torch.no_grad():
        net.fixed = [net.scale(i).clone() for i in range(len(net.weights))]
        steps, h = [float(np.abs(x).max()) / int8.TOP], torch.from_numpy(x)
        h = h.flatten(1) if kind != CONVOLVED else h.permute(0, 3, 1, 2)
        for i in range(len(net.weights) - 1):
            h = net.layer(i, h).relu()
            steps.append(float(h.max()) / int8.TOP)
        net.steps = steps
    return net


def ceiling(net: Latents, part: Part, *, steps: int, rate: float, seed: int) -> Latents:
    """Backpropagation through all latents, scales and biases of a copy, from the weights before they were rounded."""
    copy = Latents(net.kind, net.bits, len(net.biases[-1]), 0)
    copy.load_state_dict(net.state_dict())
    copy.steps, copy.fixed = net.steps, net.fixed
    copy.log_scales = [torch.zeros(len(b), requires_grad=True) for b in copy.biases]
    fit(copy, [*copy.parameters(), *copy.log_scales], part, steps=steps, rate=rate, seed=seed)
    return copy


# ---- deployed
class DigitsNet(nn.Module):
    """(n, 8, 8, 1) float32 -> (n, classes): the codes in the core's int8 layers; `edgeq.compile.tunable.Tunable`."""

    def __init__(self, net: Latents) -> None:
        super().__init__()
        self.kind, self.bits, self.steps = net.kind, net.bits, net.steps
        self.enter = PackedInput(net.steps[0])
        layers = []
        with torch.no_grad():
            for i, (inputs, outputs) in enumerate(WIDTHS[net.kind]):
                kernel = 3 if net.kind == CONVOLVED else 1
                layer = PackedConv(
                    "i8", "i8", inputs, outputs, kernel, stride=STRIDES[net.kind][i], padding=kernel // 2
                )
                codes = net.codes(i).reshape(outputs, inputs, kernel, kernel)
                layer.weight.copy_(codes.permute(0, 2, 3, 1))
                layer.params.copy_(torch.stack([net.scale(i) * net.steps[i], net.biases[i]]))
                layer.grid.copy_(grid(net.steps[i + 1]))
                layers.append(layer)
            self.layers = nn.ModuleList(layers)
            self.real = [layer.params[0].clone() for layer in layers]  # of one code
            last = len(net.weights) - 1
            self.head = PackedHead(HIDDEN[net.kind], len(net.biases[last]), "i8")
            self.head.weight.copy_(net.codes(last))
            self.head.params.copy_(torch.stack([net.scale(last), net.biases[last]]))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits

    def features(self, x: Tensor, tuning: TuningPass | None = None) -> Tensor:
        """(n, H): what the head reads."""
        h = self.enter(x)
        h = h if self.kind == CONVOLVED else h.reshape(-1, 1, 1, WIDTHS[self.kind][0][0])
        for i, layer in enumerate(self.layers, 1):
            last = i == len(self.layers)
            h = layer(h, want=Want.MAP if last else Want.CODES, tuning=tuning)
            if tuning is not None:
                if last:
                    tuning.tap(layer, h.flatten(1))
                elif self.kind != CONVOLVED:
                    tuning.tap(layer, h.flatten(1).float() * self.steps[i])
                else:
                    tuning.tap(layer, h, layer.codes_grid)
        return h.flatten(1)

    def latents(self) -> tuple[TuneLatent, ...]:
        """What `t2`, `t3` and `zeroqat` may move: the codes of fully connected layers."""
        if self.kind == CONVOLVED:
            return ()
        low, high = CODES[self.bits]
        return tuple(
            TuneLatent(
                i,
                layer.weight.flatten(1).numpy().copy(),  # not the layer's own: it is written
                (layer.params[0] / self.steps[i]).numpy().astype(np.float32),
                low,
                high,
                self.bits == "bin",
            )
            for i, layer in enumerate(self.layers)
        )

    def write_codes(self, latents: Sequence[Array], *, exact: bool = False) -> None:
        """Latents in codes (O, I), rounded as the module says, into the layers.

        exact  on the finest grid that eight bits have for the codes and half of one beyond, scales to fit
        """
        low, high = CODES[self.bits]
        fine = int(int8.TOP / (max(-low, high) + 0.5)) if exact else 1
        for i, (layer, v) in enumerate(zip(self.layers, latents, strict=True)):
            if exact:
                codes = np.rint(fine * v).clip(-int8.TOP, int8.TOP)
            else:
                codes = np.where(v >= 0, 1, -1) if self.bits == "bin" else np.rint(v).clip(low, high)
            layer.params[0] = self.real[i] / fine
            layer.weight.copy_(torch.from_numpy(codes.astype(np.int8)).reshape(layer.weight.shape))
