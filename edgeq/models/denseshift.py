"""DenseShift ResNets: every convolution but the first has weights that are signed powers of two.

Li et al.: DenseShift: Towards Accurate and Efficient Low-Bit Power-of-Two Quantization, ICCV 2023, arXiv 2208.09708.
The network is that of the predecessor S3 (its public code), CIFAR type with a 3x3 stem or ImageNet type with a 7x7 stem
and a max pool; first convolution, batch norms and classifier are float. `form="s3"` gives S3's weights in it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from edgeq._errors import UsageError
from edgeq.nn.float_conv import Conv2d
from edgeq.nn.shift_conv import Form, ShiftConv2d
from edgeq.nn.torch_batch_norm import TorchBatchNorm
from edgeq.schemes import shift


@dataclass(frozen=True)
class DenseShiftConfig:
    """Which ResNet: `blocks[i]` basic blocks of `widths[i]` channels; all stages but the first halve the picture.

    ResNet-8 is the default; ResNet-18 has widths (64, 128, 256, 512), blocks (2, 2, 2, 2), a 7x7 stem of stride 2 and
    the max pool.

    act    between packed layers: float32, or int8 codes of static steps, which also makes stem and classifier int8
    steps  of those codes, found when a network is packed, in order of execution; empty until then
    """

    classes: int
    in_channels: int = 3
    bits: int = 3
    form: Form = "denseshift"
    widths: tuple[int, ...] = (16, 32, 64)
    blocks: tuple[int, ...] = (1, 1, 1)
    stem_kernel: int = 3
    stem_stride: int = 1
    stem_pool: bool = False  # max pool 3x3, stride 2, behind the stem
    act: Literal["f32", "i8"] = "f32"
    steps: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.form not in ("denseshift", "s3"):
            raise UsageError(f'form: must be "denseshift" or "s3", got {self.form!r}')
        if self.bits not in shift.WIDTHS or (self.form == "s3" and self.bits != 3):
            raise UsageError(f"bits: must be 2, 3 or 4, and 3 for S3, got {self.bits}")
        if not self.widths or len(self.widths) != len(self.blocks) or min(*self.widths, *self.blocks) < 1:
            raise UsageError(f"widths and blocks: one positive number a stage, got {self.widths} and {self.blocks}")
        for name in ("classes", "in_channels", "stem_kernel", "stem_stride"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.stem_kernel % 2 == 0:
            raise UsageError(f"stem_kernel: must be odd, got {self.stem_kernel}")
        if self.act not in ("f32", "i8"):
            raise UsageError(f'act: must be "f32" or "i8", got {self.act!r}')
        if self.steps and (self.act == "f32" or not all(0 < step < math.inf for step in self.steps)):
            raise UsageError(f"steps: positive numbers, and only with act i8, got {self.steps}")


Config = DenseShiftConfig  # what `edgeq.models` calls it


class ConvBN(nn.Module):
    """(N, H, W, I) -> (N, ceil(H/stride), ceil(W/stride), O): a convolution of odd kernel and its batch norm.

    Shift weights as the configuration says, or float ones if it is None.
    """

    def __init__(
        self, config: DenseShiftConfig | None, in_channels: int, out_channels: int, kernel: int, stride: int = 1
    ) -> None:
        super().__init__()
        padding = kernel // 2
        self.conv = (
            Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding)
            if config is None
            else ShiftConv2d(
                in_channels, out_channels, kernel, stride=stride, padding=padding, bits=config.bits, form=config.form
            )
        )
        self.bn = TorchBatchNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x))
        return y


class BasicBlock(nn.Module):
    """(N, H, W, I) -> (N, ceil(H/stride), ceil(W/stride), O)."""

    def __init__(
        self, config: DenseShiftConfig | None, in_channels: int, out_channels: int, *, stride: int = 1
    ) -> None:
        super().__init__()
        self.first = ConvBN(config, in_channels, out_channels, 3, stride)
        self.second = ConvBN(config, out_channels, out_channels, 3)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = None if same else ConvBN(config, in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x).relu())
        shortcut = x if self.shortcut is None else self.shortcut(x)
        out: Tensor = (y + shortcut).relu()
        return out


class DenseShift(nn.Module):
    """(N, H, W, I) float32, normalised pictures -> (N, classes) logits."""

    def __init__(self, config: DenseShiftConfig, *, quantised: bool = True) -> None:
        super().__init__()
        self.config = config
        self.stem = ConvBN(None, config.in_channels, config.widths[0], config.stem_kernel, config.stem_stride)
        self.stages = nn.ModuleList(nn.Sequential(*blocks) for blocks in _stages(config, quantised=quantised))
        self.head = nn.Linear(config.widths[-1], config.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        if self.config.stem_pool:
            x = nn.functional.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(x.mean((1, 2)))
        return logits


def _stages(config: DenseShiftConfig, *, quantised: bool) -> Iterator[list[BasicBlock]]:
    channels = config.widths[0]
    for stage, (width, count) in enumerate(zip(config.widths, config.blocks, strict=True)):
        blocks = []
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(BasicBlock(config if quantised else None, channels, width, stride=stride))
            channels = width
        yield blocks


def build(config: DenseShiftConfig, *, quantised: bool = True) -> DenseShift:
    """A fresh network from torch's random generator; quantised=False gives the float twin: ordinary convolutions."""
    return DenseShift(config, quantised=quantised)
