"""Convolution whose weights are signed powers of two; activations stay float32."""

from typing import Literal

import torch
from torch import Tensor, nn

from edgeq._errors import UsageError
from edgeq.nn.float_conv import Conv2d
from edgeq.schemes import shift

Form = Literal["denseshift", "s3"]
INITIAL_DEVIATION = 1e-3  # of every reference: small, so that signs and exponents move early in training


class ShiftConv2d(Conv2d):
    """(N, H, W, I) -> (N, H', W', O); latents are the references of `edgeq.schemes.shift`, which learn instead of w."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = False,
        bits: int = 3,
        form: Form = "denseshift",
    ) -> None:
        if form == "s3" and bits != 3:
            raise UsageError(f"bits: S3 weights have 3 bits, got {bits}")
        self.bits, self.form = bits, form
        super().__init__(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=bias)

    def make_weight(self, shape: tuple[int, int, int, int]) -> None:
        count = shift.S3_REFERENCES if self.form == "s3" else shift.references(self.bits)
        self.references = nn.Parameter(torch.randn(count, *shape) * INITIAL_DEVIATION)  # (count, O, kh, kw, I / groups)

    def kernel(self) -> Tensor:
        return shift.s3_weights(self.references) if self.form == "s3" else shift.weights(self.references)
