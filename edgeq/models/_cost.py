"""What one item costs: products and weights, counted on an empty network that computes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Formats = Callable[[nn.Module], tuple[int, int, int] | None]


@dataclass(frozen=True)
class Cost:
    """ACE = sum over multiply-accumulates of weight bits x activation bits (PokeBNN, arXiv 2112.00133)."""

    ace: int
    macs: int
    packed_bytes: int  # weights at their bit widths, without any padding of rows


def count(build: Callable[[], nn.Module], shape: tuple[int, ...], formats: Formats) -> Cost:
    """Count the layers with weights.

    build    makes the network
    shape    of one input, batch 1
    formats  of a layer that has weights: their number, their bits, the bits of its activations; None for other modules
    """
    ace = macs = bits = 0

    def see(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal ace, macs, bits
        found = formats(layer)
        if found is not None:
            weights, weight_bits, activation_bits = found
            products = weights * (output.numel() // output.shape[-1])
            ace, macs, bits = (
                ace + products * weight_bits * activation_bits,
                macs + products,
                bits + weights * weight_bits,
            )

    with torch.device("meta"), torch.no_grad():
        model = build().eval()
        for layer in model.modules():
            layer.register_forward_hook(see)
        model(torch.empty(shape))
    return Cost(ace, macs, bits // 8)
