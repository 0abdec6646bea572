"""What the layers of a network were called with, in one forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Call:
    """One call of the layer that is called `name` in the network."""

    name: str
    layer: nn.Module
    inputs: tuple[Tensor, ...]
    output: Tensor | tuple[Tensor, ...]


def calls_of(model: nn.Module, kinds: tuple[type[nn.Module], ...], inputs: Sequence[Tensor]) -> list[Call]:
    """Run the network without gradient and keep every call of a layer of these kinds, in order."""
    calls: list[Call] = []

    def keep(name: str, layer: nn.Module, given: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        calls.append(Call(name, layer, given, output))

    handles = [
        layer.register_forward_hook(partial(keep, name))
        for name, layer in model.named_modules()
        if isinstance(layer, kinds)
    ]
    with torch.no_grad():
        model(*inputs)
    for handle in handles:
        handle.remove()
    return calls
