"""Learning where ZeroQAT begins: clipping bounds and equivalent scales by backpropagation, on the host, from base data.

The packed network is run in torch floats twice: as it would be without rounding (the teacher: weights as they were
before they became codes, where they are known, and activations as they come), and with the codes that the bounds and
scales give, straight through. What is lowered is the squared difference of every layer's outputs before activation, in
units of its variance, all layers together. The formulas and their source: start.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from edgeq._errors import UnsupportedError, UsageError
from edgeq.nn.packed_shift import PackedConv, PackedInput
from edgeq.nn.tuning import TuningPass
from edgeq.ops import Latent, Want
from edgeq.schemes import int8, shift

from .layout import Layout
from .start import Start
from .tunable import Tunable, base_codes

Array = np.ndarray[Any, Any]
RATE, BATCH = 5e-3, 32
_SAME = 1e-3  # of the deviation: what scales of a pair may change where nothing is rounded


@dataclass(frozen=True)
class Coded:
    """A tunable layer, by its index, whose codes follow from weights (outputs, inputs) in units of a code."""

    layer: int
    weights: Array
    kind: Latent
    low: int
    high: int


@dataclass(frozen=True)
class StartLearned:
    """before, after: mean squared difference from the teacher over all data, with the base's codes and with the start.

    after is never above before: the base's own point is among those that are compared.
    """

    start: Start
    before: float
    after: float


def coded_of(model: nn.Module, layout: Layout) -> list[Coded]:
    """The layers with latents of a packed network, which knows no weights but its codes."""
    codes = base_codes(model, layout)
    kinds = [(latent.layer, Latent(latent.kind), latent.top) for latent in layout.latents]
    return [
        Coded(i, array.astype(np.float32), kind, -top, top)
        for (i, kind, top), (array, _) in zip(kinds, codes, strict=True)
    ]


def learn_start(
    model: nn.Module, inputs: Array, coded: Sequence[Coded], *, epochs: int = 20, seed: int = 1
) -> StartLearned:
    """Bounds and scales for a packed network of int8 convolutions.

    inputs  (n, ...) base data, as the network takes them
    raises  UnsupportedError for another kind of network, UsageError for no data
    """
    if len(inputs) == 0:
        raise UsageError("the start of zeroqat: needs samples of the base's training data")
    x = torch.from_numpy(np.ascontiguousarray(inputs))
    net = View(model, coded, x[:2])
    net.measure(x)
    parameters = [*net.bounds.values(), *net.scales.values()]
    optimiser = torch.optim.AdamW(parameters, RATE, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    before = least = net.error(x)
    best = [p.detach().clone() for p in parameters]
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for at in range(0, len(x), BATCH):
            optimiser.zero_grad()
            torch.autograd.backward(net.loss(x[order[at : at + BATCH]]))
            optimiser.step()
        found = net.error(x)
        if found < least:
            least, best = found, [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, value in zip(parameters, best, strict=True):
            p.copy_(value)
    return StartLearned(net.start(), before, least)


class View:
    """A packed network in torch floats, between layers in units of codes.

    bounds  u by layer with codes: g = 2 sigmoid(u)
    scales  log t by the first layer of each pair
    """

    def __init__(self, model: nn.Module, coded: Sequence[Coded], example: Tensor) -> None:
        self.model = model
        tuning = TuningPass()
        with torch.no_grad():
            cast(Tunable, model).features(example, tuning=tuning)
        self.layers = [layer for layer, _, _ in tuning.sites]
        for layer in self.layers:
            if not isinstance(layer, PackedConv) or layer.act != "i8":
                raise UnsupportedError("the start of zeroqat: for networks of int8 convolutions so far (DenseShift)")
        self.coded = {c.layer: c for c in coded}
        self.weights = {i: self._weights(i) for i in range(len(self.layers))}
        self.index = {id(layer): i for i, layer in enumerate(self.layers)}
        self.bounds = {c.layer: nn.Parameter(torch.zeros(len(c.weights))) for c in coded}
        self.scales: dict[int, nn.Parameter] = {}
        self.reader: dict[int, int] = {}  # of a layer with scales
        self.variance = [1.0] * len(self.layers)
        self._find_pairs(example)

    def outputs(self, x: Tensor, *, teacher: bool = False, rounded: bool = True) -> list[Tensor]:
        """(N, H, W, O) of every tunable layer before its residual and activation, equivalent scales taken out."""
        if teacher:
            return self._run(x, self.weights.__getitem__, scaled=False, rounded=False)[0]
        return self._run(x, partial(self._seen, rounded=rounded), scaled=True, rounded=rounded)[0]

    def loss(self, x: Tensor, *, rounded: bool = True) -> Tensor:
        with torch.no_grad():
            wanted = self.outputs(x, teacher=True)
        found = self.outputs(x, rounded=rounded)
        terms = [(a - b).square().mean() / v for a, b, v in zip(found, wanted, self.variance, strict=True)]
        return torch.stack(terms).mean()

    def error(self, x: Tensor) -> float:
        """The loss over all samples."""
        with torch.no_grad():
            parts = [x[at : at + BATCH] for at in range(0, len(x), BATCH)]
            return float(sum(float(self.loss(part)) * len(part) for part in parts)) / len(x)

    def measure(self, x: Tensor) -> None:
        """The variance of each layer's outputs, from the first samples."""
        with torch.no_grad():
            self.variance = [max(1e-12, float(y.var())) for y in self.outputs(x[: 4 * BATCH], teacher=True)]

    def start(self) -> Start:
        ones = [torch.ones(layer.params.shape[1]) for layer in self._convs()]
        with torch.no_grad():
            bound = [self._bound(i) if i in self.bounds else one for i, one in enumerate(ones)]
            scale = [self.scales[i].exp() if i in self.scales else one for i, one in enumerate(ones)]
        pairs = tuple(sorted(self.reader.items()))
        return Start(torch.cat(bound).numpy(), torch.cat(scale).numpy(), pairs)

    # ---- one pass
    def _run(
        self, x: Tensor, weights: Callable[[int], Tensor], *, scaled: bool, rounded: bool
    ) -> tuple[list[Tensor], list[tuple[str, int, int]]]:
        """Outputs, and who read what: ("x" or "residual", who made it, who read it)."""
        outputs: list[Tensor] = [x] * len(self.layers)
        reads: list[tuple[str, int, int]] = []
        made: dict[int, tuple[int, Tensor]] = {}  # by id; the tensor is kept, so that no other takes its id

        def enter(layer: PackedInput, h: Tensor) -> Tensor:
            return _on_grid(h * layer.grid[0], rounded)

        def conv(
            layer: PackedConv,
            h: Tensor,
            residual: Tensor | None = None,
            *,
            relu: bool = True,
            want: Want = Want.MAP,
            tuning: TuningPass | None = None,
            beside: bool = False,
        ) -> Tensor:
            i = self.index[id(layer)]
            for role, tensor in (("x", h), ("residual", residual)):
                if tensor is not None and id(tensor) in made:
                    reads.append((role, made[id(tensor)][0], i))
            w = weights(i)
            y = nn.functional.conv2d(
                h.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2), None, layer.stride, layer.padding, 1, layer.groups
            ).permute(0, 2, 3, 1)
            y = y * layer.params[0] + layer.params[1]
            outputs[i] = y
            if scaled and i in self.scales:
                y = y * (-self.scales[i]).exp()
            if residual is not None:
                y = y + residual * layer.skip
            y = y.relu() if relu else y
            if want == Want.MEAN:
                return y.mean((1, 2))
            if want == Want.CODES:
                y = _on_grid(y * layer.grid[0], rounded)
                if relu and residual is None:
                    made[id(y)] = i, y
            return y

        with _instead(self.model, PackedInput, enter), _instead(self.model, PackedConv, conv):
            cast(Tunable, self.model).features(x)
        return outputs, reads

    def _scaled(self, i: int) -> Tensor:
        """(O, kh, kw, I): what is equivalent to the layer's weights behind scales."""
        w = self.weights[i]
        for p, q in self.reader.items():
            if q == i:
                w = w * self.scales[p].exp()
        return w

    def _seen(self, i: int, *, rounded: bool) -> Tensor:
        """(O, kh, kw, I) that the student's layer multiplies with: codes times the bound."""
        w = self._scaled(i)
        if i not in self.bounds:
            return w
        g, c = self._bound(i)[:, None, None, None], self.coded[i]
        v = w / g
        passed = v.clamp(c.low, c.high)
        if not rounded:
            return passed * g
        return (passed + (_codes(passed, c) - passed).detach()) * g

    def _bound(self, i: int) -> Tensor:
        return 2 * torch.sigmoid(self.bounds[i])

    # ---- what there is
    def _convs(self) -> Iterator[PackedConv]:
        for layer in self.layers:
            assert isinstance(layer, PackedConv)
            yield layer

    def _weights(self, i: int) -> Tensor:
        """(O, kh, kw, I/groups) float32 in units of a code."""
        layer = self.layers[i]
        assert isinstance(layer, PackedConv)
        w = layer.weight
        if w.dtype == torch.uint8 and w.dim() == 4:  # depthwise: the row runs over the outputs
            w = shift.values(*shift.unpack(w, layer.params.shape[1])).permute(2, 0, 1)[..., None]
        elif w.dtype == torch.uint8:
            w = shift.values(*shift.unpack(w, layer.in_channels // layer.groups))
        if i in self.coded:
            return torch.tensor(self.coded[i].weights, dtype=torch.float32).view(w.shape)
        return w.to(torch.float32)

    def _find_pairs(self, example: Tensor) -> None:
        """Layers whose outputs one other layer reads, and nothing else; what they change unrounded must be nothing."""
        with torch.no_grad():
            plain, reads = self._run(example, self._scaled, scaled=True, rounded=False)
        convs = list(self._convs())
        for role, p, q in reads:
            alone = sum(maker == p for _, maker, _ in reads) == 1
            if role != "x" or not alone or q not in self.coded or convs[q].groups != 1:
                continue
            noise = torch.randn(convs[p].params.shape[1], generator=torch.Generator().manual_seed(p))
            self.scales[p], self.reader[p] = nn.Parameter(0.2 * noise), q
            with torch.no_grad():
                moved, _ = self._run(example, self._scaled, scaled=True, rounded=False)
                same = all((a - b).abs().max() <= _SAME * a.std() for a, b in zip(plain, moved, strict=True))
                self.scales[p].zero_()
            if not same:
                del self.scales[p], self.reader[p]


def _codes(v: Tensor, c: Coded) -> Tensor:
    """As the core makes codes of latents, `eq_latent_codes`."""
    if c.kind == Latent.SIGNS:
        return torch.where(v >= 0, 1.0, -1.0)
    whole = v.round()
    if c.kind == Latent.POWERS:
        power = torch.exp2(whole.abs().clamp(min=1).log2().round())
        return torch.where(whole < 0, -power, power)
    return whole


def _on_grid(y: Tensor, rounded: bool) -> Tensor:
    """y in codes; rounded: to int8's, straight through."""
    if not rounded:
        return y
    passed = y.clamp(-int8.TOP, int8.TOP)
    return passed + (passed.round() - passed).detach()


@contextmanager
def _instead(model: nn.Module, kind: type[nn.Module], forward: Callable[..., Tensor]) -> Iterator[None]:
    """Modules of a kind run forward(module, ...) for a while."""
    found = [module for module in model.modules() if isinstance(module, kind)]
    for module in found:
        module.__dict__["forward"] = partial(forward, module)
    try:
        yield
    finally:
        for module in found:
            del module.__dict__["forward"]
