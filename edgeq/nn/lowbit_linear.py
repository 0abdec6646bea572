"""Linear layer between quantised operands: sums of integers, scaled once."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgeq.schemes.quantised import Quantised, product

Quantiser = Callable[[Tensor], Quantised]


class LowBitLinear(nn.Module):
    """(..., I) -> (..., O): quantise_input(x + move) times quantise_weight(W), plus bias.

    quantise_input   a function, or a module with parameters of its own
    quantise_weight  of the latents (O, I): one scale per row or one in all
    moves            whether there is a learnt shift `move` (I,) in front of the input's quantiser, as in BiT
    """

    move: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        quantise_input: Quantiser,
        quantise_weight: Quantiser,
        moves: bool = False,
    ) -> None:
        super().__init__()
        self.quantise_input = quantise_input
        self.quantise_weight = quantise_weight
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(out_features, in_features), std=0.02))  # (O, I) latents
        self.bias = nn.Parameter(torch.zeros(out_features))  # (O,)
        self.register_parameter("move", nn.Parameter(torch.zeros(in_features)) if moves else None)  # (I,)

    def forward(self, x: Tensor) -> Tensor:
        if self.move is not None:
            x = x + self.move
        return self.product(self.quantise_input(x))

    def product(self, x: Quantised) -> Tensor:
        """What follows the quantiser of the input."""
        return product(x, self.quantise_weight(self.weight).mT) + self.bias


def zero_codes(model: nn.Module) -> dict[str, int]:
    """How many weights of each LowBitLinear have code 0 in a row whose scale is not 0, where there are any.

    One bit cannot store them: such a layer is packed in two planes, or its importer says how many became +1.
    """
    counts = {}
    for name, layer in model.named_modules():
        if isinstance(layer, LowBitLinear):
            weight = layer.quantise_weight(layer.weight.detach())
            counts[name] = int(((weight.codes == 0) & (weight.scale != 0)).sum())
    return {name: count for name, count in counts.items() if count}
