"""Convolutions on NHWC activations with OHWI weights: binary (SAME) and uniformly quantised."""

from typing import Literal

import torch
from torch import Tensor, nn

from edgeq.nn.input_quantiser import InputQuantiser
from edgeq.schemes import binary, uniform

Padding = Literal["same", "valid"]


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros (before, after) of the TensorFlow SAME rule for one axis; an odd one goes to the end."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def convolve(x: Tensor, w: Tensor, stride: int, groups: int, padding: Padding) -> Tensor:
    """x (N, H, W, I), w (O, kh, kw, I/groups) -> (N, H', W', O)."""
    kernel_h, kernel_w = w.shape[1], w.shape[2]
    if kernel_h == kernel_w == stride == groups == 1:
        return nn.functional.linear(x, w.view(w.shape[0], -1))
    zeros = (0, 0)
    if padding == "same":
        x, zeros = pad_same(x, (kernel_h, kernel_w), stride)
    nchw, oihw = x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2)
    return nn.functional.conv2d(nchw, oihw, None, stride, zeros, groups=groups).permute(0, 2, 3, 1)


def pad_same(x: Tensor, kernel: tuple[int, int], stride: int) -> tuple[Tensor, tuple[int, int]]:
    """What SAME asks for: x (N, H, W, C), padded if need be, and the zeros still to come on both sides of H and W.

    Equal zeros on both sides are left to the operator itself, which adds them without a copy.
    """
    top, bottom = same_padding(x.shape[1], kernel[0], stride)
    left, right = same_padding(x.shape[2], kernel[1], stride)
    if top == bottom and left == right:
        return x, (top, left)
    return nn.functional.pad(x, (0, 0, left, right, top, bottom)), (0, 0)


def lecun_normal(shape: tuple[int, ...]) -> Tensor:
    """Initial weights (O, ..., I): normal, variance 1 / fan-in, cut at two deviations."""
    fan_in = 1
    for size in shape[1:]:
        fan_in *= size
    weight = torch.empty(shape)
    deviation = fan_in**-0.5 / 0.87962566103423978  # the cut at +-2 shrinks the deviation by this factor
    return nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)


class BinaryConv2d(nn.Module):
    """(N, H, W, I) -> (N, H', W', O), SAME; 1-bit input, 1-bit weights, no bias. Border zeros stay zeros."""

    bits = 1

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, quantised: bool = True
    ) -> None:
        super().__init__()
        self.stride = stride
        self.quantised = quantised  # False: the float twin
        self.quantise_weights = True
        self.weight = nn.Parameter(lecun_normal((out_channels, kernel, kernel, in_channels)))  # OHWI latents

    def forward(self, x: Tensor) -> Tensor:
        w: Tensor = self.weight
        if self.quantised:
            x = binary.activations(x)
            w = binary.weights(w) if self.quantise_weights else w
        return convolve(x, w, self.stride, 1, "same")


class QuantConv2d(nn.Module):
    """(N, H, W, I) -> (N, H', W', O); SYM input with per-channel bounds, SYM weights, no bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        padding: Padding = "same",
        bits: int = 8,
        quantised: bool = True,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.groups = groups
        self.padding: Padding = padding
        self.bits = bits
        self.quantised = quantised
        self.quantise_weights = True
        self.input_quantiser = InputQuantiser(in_channels, bits, "sym")
        shape = (out_channels, kernel, kernel, in_channels // groups)
        self.weight = nn.Parameter(lecun_normal(shape))  # OHWI latents

    def forward(self, x: Tensor) -> Tensor:
        w: Tensor = self.weight
        if self.quantised:
            x = self.input_quantiser(x)
            w = uniform.weights(w, self.bits) if self.quantise_weights else w
        return convolve(x, w, self.stride, self.groups, self.padding)
