"""Convolution in float32 on NHWC activations with OHWI weights, PyTorch's symmetric padding."""

import torch
from torch import Tensor, nn

from edgeq._errors import UsageError


class Conv2d(nn.Module):
    """(N, H, W, I) -> (N, H', W', O), H' = (H + 2 padding - kernel) // stride + 1."""

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
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise UsageError(f"groups: must divide {in_channels} and {out_channels} channels, got {groups}")
        self.stride, self.padding, self.groups = stride, padding, groups
        self.make_weight((out_channels, kernel, kernel, in_channels // groups))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None  # (O,)

    def make_weight(self, shape: tuple[int, int, int, int]) -> None:
        """Register what `kernel()` is computed from; shape (O, kh, kw, I / groups)."""
        fan_in = shape[1] * shape[2] * shape[3]
        self.weight = nn.Parameter(torch.randn(shape) * (2 / fan_in) ** 0.5)

    def kernel(self) -> Tensor:
        """(O, kh, kw, I / groups), differentiable."""
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.conv2d(
            x.permute(0, 3, 1, 2),
            self.kernel().permute(0, 3, 1, 2),
            self.bias,
            self.stride,
            self.padding,
            groups=self.groups,
        )
        return y.permute(0, 2, 3, 1)
