"""The further methods of a tunable program, and what must be known to use them.

  forward_tune(x.., ac, head_w, head_b) -> logits, hidden, taps, moments        (shapes: `TunableNet`)
  forward_step(x.., ac, head_w, head_b) -> logits, hidden                       the same bits, and nothing to pay for
                                                                                what a zeroth-order step does not ask
  forward_pair(x.., ac (2, n), head_w, head_b) -> logits (2, C), hidden (2, H)  both signs of a step: weights are loaded
                                                                                once, what comes before ac runs once

Which inputs and outputs there are follows from the parts that were asked for. With latents the first two take one more
input for each layer whose codes may be learned, lat (O, K) in codes, and forward_tune gives what it read, (B, K).
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq._errors import UnsupportedError, UsageError
from edgeq.nn.tuning import TuningPass
from edgeq.ops import Act, Want

from .layout import LatentLayer, Layer, Layout, Tap, latent_names

Array = np.ndarray[Any, Any]


class Head(Protocol):
    """The last layer of a packed network."""

    def real(self) -> tuple[Tensor, Tensor]:
        """(C, H) weights and (C,) biases in real units."""

    def seen(self, x: Tensor) -> Tensor:
        """The values that its product sees of its input x (B, H)."""


class Tunable(Protocol):
    """What a packed network must have: see `edgeq.models.denseshift` for one."""

    head: Head

    def features(self, *x: Tensor, tuning: TuningPass | None = None) -> Tensor:
        """(B, H): what the head reads."""


def can_pair(model: nn.Module) -> bool:
    """Does one tunable layer read the input, and everything else what it gives?"""
    return getattr(model, "one_entrance", False) is True


class TunableNet(nn.Module):
    """The module behind `forward_tune`.

      x.., ac (1 or B, 2 n), head_w (C, H), head_b (C,) -> logits (B, C), hidden (B, H), taps (B, D), moments (B, 2, n)

    Without the part "scales" there is neither ac nor moments, without "taps" no taps; lean: neither. What a row gives
    depends on no other row, nor on how many there are. pair: of one sample and two rows of ac, a result for each row.
    """

    def __init__(
        self,
        model: nn.Module,
        sigma: Tensor,
        parts: tuple[str, ...],
        *,
        lean: bool = False,
        pair: bool = False,
        latents: tuple[int, ...] = (),
    ) -> None:
        """latents: layers, by their index among the tunable ones, that take theirs behind all other inputs."""
        super().__init__()
        self.latents = latents
        self.model, self.parts, self.lean, self.pair = model, parts, lean, pair
        self.sigma = tuple(float(s) for s in sigma)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        first = len(inputs) - len(self.latents)
        *x, w, b = inputs[:first]
        latents = dict(zip(self.latents, inputs[first:], strict=True))
        scales = "scales" in self.parts
        ac = x.pop() if scales else None
        tuning = TuningPass(ac, self.sigma, lean=self.lean, pair=self.pair, latents=latents)
        model = cast(Tunable, self.model)
        hidden = model.head.seen(model.features(*x, tuning=tuning))
        params = torch.stack([torch.ones_like(b), b])
        logits = ops.linear_f32f32(hidden, w, None, Act.NONE, params, None, None, None, Want.MAP)[0]
        outputs = [logits, hidden]
        if self.lean:
            return tuple(outputs)
        if "taps" in self.parts:
            outputs.append(torch.cat([h for _, h in tuning.taps], 1))
        if scales:
            outputs.append(torch.cat(tuning.moments, 2))
        return (*outputs, *tuning.reads)


def layout_of(model: nn.Module, example: tuple[Tensor, ...], parts: tuple[str, ...]) -> Layout:
    """What there is to tune in a packed network, found by running it once.

    raises  UnsupportedError for a network that has no tunable form
    """
    if not hasattr(model, "features") or not hasattr(model, "head"):
        raise UnsupportedError(f"{type(model).__name__}: gives no scores of classes, so there is no head to tune")
    names = {id(module): name for name, module in model.named_modules()}
    tuning = TuningPass()
    with torch.no_grad():
        hidden = cast(Tunable, model).features(*example, tuning=tuning)
    layers, taps, at = [], [], 0
    for layer, params, depth in tuning.sites if "scales" in parts else ():
        layers.append(Layer(names[id(layer)], params.shape[1], at, depth))
        at += 2 * params.shape[1]
    at = 0
    for layer, h in tuning.taps if "taps" in parts else ():
        taps.append(Tap(names[id(layer)], at, h.shape[1]))
        at += h.shape[1]
    weight, _ = base_head(model)
    latents = _latents(tuning, [layer.name for layer in layers], latent_names(parts))
    return Layout(parts, tuple(layers), tuple(taps), weight.shape[0], hidden.shape[1], latents)


def _latents(tuning: TuningPass, layers: list[str], wanted: tuple[str, ...]) -> tuple[LatentLayer, ...]:
    """Those of the tunable layers that are named: by themselves, by what their names begin with, or "all"."""
    found = []
    for name in wanted:
        chosen = [i for i, layer in enumerate(layers) if name == "all" or f"{layer}.".startswith(f"{name}.")]
        if not chosen:
            raise UsageError(f'latents: no tunable layer "{name}"; there are: {", ".join(layers)}')
        for i in chosen:
            codes = codes_of(tuning.sites[i][0])
            if codes is not None:
                outputs, inputs = codes[0].shape
                found.append(LatentLayer(i, outputs, inputs, int(codes[1]), codes[2]))
            elif name == layers[i]:
                raise UnsupportedError(f"latents: the codes of {name} cannot be learned")
    if wanted and not found:
        raise UnsupportedError("latents: no layer of this network has codes that can be learned yet")
    return tuple(sorted(set(found), key=lambda latent: latent.layer))


def codes_of(layer: object) -> tuple[Tensor, ops.Latent, int] | None:
    """(O, K) int8 codes of a packed layer, how they follow from latents, the largest; None: they cannot be learned."""
    find = getattr(layer, "latent_codes", None)
    found: tuple[Tensor, ops.Latent, int] | None = None if find is None else find()
    return found


def base_codes(model: nn.Module, layout: Layout) -> tuple[tuple[Array, Array], ...]:
    """Of every layer with latents the codes (O, K) int8 and the scales (O,) float32."""
    layers = dict(model.named_modules())
    found = []
    for latent in layout.latents:
        layer = layers[layout.layers[latent.layer].name]
        codes = codes_of(layer)
        assert codes is not None
        scale = cast(Tensor, layer.params)[0]
        found.append((codes[0].contiguous().numpy(), np.array(scale.numpy(), np.float32)))
    return tuple(found)


def base_head(model: nn.Module) -> tuple[Tensor, Tensor]:
    """(C, H) and (C,) of the packed network's last layer in real units."""
    return cast(Tunable, model).head.real()


def base_bias(model: nn.Module, example: tuple[Tensor, ...]) -> Tensor:
    """(n,): the bias of every channel of every tunable layer, real units."""
    tuning = TuningPass()
    with torch.no_grad():
        cast(Tunable, model).features(*example, tuning=tuning)
    return torch.cat([params[1] for _, params, _ in tuning.sites])


def tunable_method(
    model: nn.Module,
    example: tuple[Tensor, ...],
    layout: Layout,
    sigma: Array | None,
    *,
    batch: int = 1,
    rows: int = 1,
    classes: int | None = None,
    lean: bool = False,
    pair: bool = False,
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The module behind `forward_tune`, lean behind `forward_step`, lean pair behind `forward_pair`; inputs for it.

    sigma    (layers,); None: ones
    batch    samples of one call
    rows     rows of ac: 1, or one for every sample
    classes  of the head, if there are to be more than the base knows
    """
    found = torch.ones(len(layout.layers)) if sigma is None else torch.from_numpy(np.array(sigma, np.float32))
    inputs = [x.expand(batch, *x.shape[1:]).contiguous() for x in example]
    if "scales" in layout.parts:
        inputs.append(torch.zeros(2 if pair else rows, 2 * layout.channels))
    head = torch.zeros(classes or layout.classes, layout.hidden)
    latents = () if pair else layout.latents
    indices = tuple(latent.layer for latent in latents)
    net = TunableNet(model, found, layout.parts, lean=lean, pair=pair, latents=indices).eval()
    own = (torch.zeros(latent.outputs, latent.inputs) for latent in latents)
    return net, (*inputs, head, torch.zeros(len(head)), *own)
