"""Linear layer with INT4 weights in groups and 8-bit activations, deploy face."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq._native import row_bytes
from edgeq.ops import Act, Codes, Want
from edgeq.schemes import int4
from edgeq.schemes.grouped import GroupedWeight


class Int4Linear(nn.Module):
    """(..., I) -> (..., O) float32: each row of the input in 255 steps from its minimum, weights as in `schemes.int4`.

    act  applied to the result
    """

    codes: Tensor
    scale: Tensor
    zero: Tensor | None
    params: Tensor

    def __init__(
        self, in_features: int, out_features: int, group: int = 32, *, zeros: bool = True, act: Act = Act.NONE
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.act = in_features, out_features, act
        self.group, groups = group, in_features // group
        self.register_buffer("codes", torch.zeros(out_features, row_bytes(4 * in_features), dtype=torch.uint8))
        self.register_buffer("scale", torch.zeros(out_features, groups, dtype=torch.float16))
        zero = torch.zeros(out_features, (groups + 1) // 2, dtype=torch.uint8) if zeros else None
        self.register_buffer("zero", zero)
        self.register_buffer("params", torch.zeros(3, out_features))  # scale 1, bias, sum of the row's weights

    @classmethod
    def from_weight(cls, weight: GroupedWeight, *, zeros: bool = True, act: Act = Act.NONE) -> Int4Linear:
        """Raises UsageError for a weight that an INT4 file cannot hold; zeros = False needs all of them to be 8."""
        outputs, inputs = weight.codes.shape
        packed = int4.pack(weight, zeros=zeros)
        self = cls(inputs, outputs, weight.group, zeros=zeros, act=act)
        for name, tensor in packed.items():
            getattr(self, name).copy_(tensor)
        self.params[0] = 1
        if weight.bias is not None:
            self.params[1] = weight.bias
        self.params[2] = weight.dequantise().double().sum(1).float()
        return self

    def forward(self, x: Tensor) -> Tensor:
        codes, rows = ops.quantise_rows_i8(x, Codes.ROW_ASYM, 0.0)
        weight = (self.codes, self.scale, self.zero, self.group)
        out: Tensor = ops.linear_i4i8(codes, *weight, None, rows, self.act, self.params, None, None, None, Want.MAP)[0]
        return out
