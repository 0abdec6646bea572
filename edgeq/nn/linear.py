"""Linear layer with SYM or POS input (per-channel bounds) and SYM weights (per output channel)."""

from typing import Literal

import torch
from torch import Tensor, nn

from edgeq.nn.conv import lecun_normal
from edgeq.nn.input_quantiser import InputQuantiser
from edgeq.schemes import uniform


class QuantLinear(nn.Module):
    """(..., I) -> (..., O), with bias."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bits: int,
        grid: Literal["sym", "pos"] = "sym",
        quantised: bool = True,
    ) -> None:
        super().__init__()
        self.bits = bits
        self.quantised = quantised
        self.quantise_weights = True
        self.input_quantiser = InputQuantiser(in_features, bits, grid)
        self.weight = nn.Parameter(lecun_normal((out_features, in_features)))  # (O, I) latents
        self.bias = nn.Parameter(torch.zeros(out_features))  # (O,)

    def forward(self, x: Tensor) -> Tensor:
        w: Tensor = self.weight
        if self.quantised:
            x = self.input_quantiser(x)
            w = uniform.weights(w, self.bits) if self.quantise_weights else w
        return nn.functional.linear(x, w, self.bias)
