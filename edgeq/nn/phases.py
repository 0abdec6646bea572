"""Switching the quantisers of a whole network on in the order activations, bounds, weights."""

from torch import nn

from edgeq.nn.conv import BinaryConv2d, QuantConv2d
from edgeq.nn.input_quantiser import InputQuantiser
from edgeq.nn.linear import QuantLinear


def set_weight_quantisation(model: nn.Module, on: bool, *, keep: nn.Module | None = None) -> None:
    """Quantise the weights of every layer or use the float latents; the layer `keep` is left as it is."""
    for layer in model.modules():
        if isinstance(layer, BinaryConv2d | QuantConv2d | QuantLinear) and layer is not keep:
            layer.quantise_weights = on


def start_calibration(model: nn.Module) -> None:
    """From the next training step on, collect the statistics of every input that has bounds."""
    for quantiser in input_quantisers(model):
        quantiser.start_calibration()


def freeze_bounds(model: nn.Module) -> None:
    """Let the next training step turn the statistics into bounds, for good."""
    for quantiser in input_quantisers(model):
        quantiser.freeze_bounds()


def input_quantisers(model: nn.Module) -> list[InputQuantiser]:
    return [module for module in model.modules() if isinstance(module, InputQuantiser)]
