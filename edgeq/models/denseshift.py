"""DenseShift ResNets: every convolution but the first has weights that are signed powers of two.

Li et al.: DenseShift: Towards Accurate and Efficient Low-Bit Power-of-Two Quantization, ICCV 2023, arXiv 2208.09708.
The network is that of the predecessor S3 (its public code), CIFAR type with a 3x3 stem or ImageNet type with a 7x7 stem
and a max pool; first convolution, batch norms and classifier are float. `form="s3"` gives S3's weights in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import Tensor, nn

from edgeq._errors import UsageError
from edgeq.models._cost import Cost, count
from edgeq.nn.float_conv import Conv2d
from edgeq.nn.merged import Merged
from edgeq.nn.packed_shift import Activations, PackedConv, PackedHead, PackedInput, weight_format
from edgeq.nn.shift_conv import Form, ShiftConv2d
from edgeq.nn.torch_batch_norm import TorchBatchNorm
from edgeq.nn.tuning import TuningPass
from edgeq.ops import Want
from edgeq.schemes import int8, shift

MOST, MOST_BLOCKS = 1 << 16, 1000  # what a configuration may ask for


@dataclass(frozen=True)
class DenseShiftConfig:
    """Which ResNet: `blocks[i]` basic blocks of `widths[i]` channels; all stages but the first halve the picture.

    ResNet-8 is the default; ResNet-18 has widths (64, 128, 256, 512), blocks (2, 2, 2, 2), a 7x7 stem of stride 2 and
    the max pool.

    act  between packed layers: float32, or int8 codes, whose steps are found when the network is packed; then stem and
         classifier have 8-bit weights
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

    def __post_init__(self) -> None:
        if self.form not in ("denseshift", "s3"):
            raise UsageError(f'form: must be "denseshift" or "s3", got {self.form!r}')
        if self.bits not in shift.WIDTHS or (self.form == "s3" and self.bits != 3):
            raise UsageError(f"bits: must be 2, 3 or 4, and 3 for S3, got {self.bits}")
        if not self.widths or len(self.widths) != len(self.blocks) or min(*self.widths, *self.blocks) < 1:
            raise UsageError(f"widths and blocks: one positive number a stage, got {self.widths} and {self.blocks}")
        for name in ("classes", "in_channels", "stem_kernel", "stem_stride"):
            if not 1 <= getattr(self, name) <= MOST:
                raise UsageError(f"{name}: must be 1 to {MOST}, got {getattr(self, name)}")
        if max(self.widths) > MOST or sum(self.blocks) > MOST_BLOCKS:
            raise UsageError(f"widths and blocks: at most {MOST} channels, {MOST_BLOCKS} blocks in all")
        if self.stem_kernel % 2 == 0:
            raise UsageError(f"stem_kernel: must be odd, got {self.stem_kernel}")
        if self.act not in ("f32", "i8"):
            raise UsageError(f'act: must be "f32" or "i8", got {self.act!r}')


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


@dataclass(frozen=True)
class BlockShape:
    """in_channels -> out_channels, with `stride` in the first convolution and in the shortcut."""

    in_channels: int
    out_channels: int
    stride: int

    @property
    def has_shortcut(self) -> bool:
        """Whether the input must be convolved before it can be added to the output."""
        return self.stride != 1 or self.in_channels != self.out_channels


class BasicBlock(nn.Module):
    """(N, H, W, I) -> (N, ceil(H/stride), ceil(W/stride), O)."""

    def __init__(self, config: DenseShiftConfig | None, shape: BlockShape) -> None:
        super().__init__()
        inputs, outputs, stride = shape.in_channels, shape.out_channels, shape.stride
        self.first = ConvBN(config, inputs, outputs, 3, stride)
        self.second = ConvBN(config, outputs, outputs, 3)
        self.shortcut = ConvBN(config, inputs, outputs, 1, stride) if shape.has_shortcut else None

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
        kind = config if quantised else None
        self.stages = nn.ModuleList(
            nn.Sequential(*(BasicBlock(kind, shape) for shape in stage)) for stage in _stages(config)
        )
        self.head = nn.Linear(config.widths[-1], config.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        if self.config.stem_pool:
            x = nn.functional.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(x.mean((1, 2)))
        return logits


def _stages(config: DenseShiftConfig) -> Iterator[list[BlockShape]]:
    channels = config.widths[0]
    for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
        first = BlockShape(channels, width, 2 if stage > 0 else 1)
        yield [first, *[BlockShape(width, width, 1)] * (blocks - 1)]
        channels = width


def build(config: DenseShiftConfig, *, quantised: bool = True) -> DenseShift:
    """A fresh network from torch's random generator; quantised=False gives the float twin: ordinary convolutions."""
    return DenseShift(config, quantised=quantised)


def scheme(config: DenseShiftConfig) -> str:
    return f"s{config.bits}{config.act}" if config.form == "denseshift" else f"i8{config.act}"


def ace(config: DenseShiftConfig, height: int, width: int) -> Cost:
    """The cost of one picture; float weights and activations count as 32 bits."""
    wide = 32 if config.act == "f32" else 8

    def formats(layer: nn.Module) -> tuple[int, int, int] | None:
        if isinstance(layer, ShiftConv2d):
            return layer.references[0].numel(), layer.bits, wide
        if isinstance(layer, Conv2d | nn.Linear):
            return layer.weight.numel(), wide, wide
        return None

    return count(lambda: build(config), (1, height, width, config.in_channels), formats)


class PackedBlock(Merged):
    """BasicBlock; (N, H, W, I) -> (N, ceil(H/stride), ceil(W/stride), O), float32 or codes."""

    def __init__(self, first: PackedConv, second: PackedConv, shortcut: PackedConv | None) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = first, second, shortcut

    def forward(self, x: Tensor, want: Want, tuning: TuningPass | None = None) -> Tensor:
        between = Want.CODES if self.first.act == "i8" else Want.MAP
        shortcut = x if self.shortcut is None else self.shortcut(x, relu=False, want=between, tuning=tuning)
        inner = self.first(x, want=between, tuning=tuning, beside=self.shortcut is not None)
        y: Tensor = self.second(inner, shortcut, want=want, tuning=tuning)
        if tuning is not None:
            tuning.tap(self.second, y, self.second.codes_grid)
        return y


class PackedDenseShift(nn.Module):
    """DenseShift as it is deployed: (N, H, W, I) float32 -> (N, classes).

    quantise  makes the first codes; behind the max pool there are others, for that is of floats
    """

    one_entrance = True  # one tunable layer reads the input, and everything else what it gives

    def __init__(
        self,
        config: DenseShiftConfig,
        quantise: PackedInput | None,
        stem: PackedConv,
        pooled: PackedInput | None,
        blocks: list[PackedBlock],
        head: PackedHead,
    ) -> None:
        super().__init__()
        self.config = config
        self.quantise, self.stem, self.pooled = quantise, stem, pooled
        self.blocks, self.head = nn.ModuleList(blocks), head

    @property
    def input_step(self) -> float | None:
        """Step of the input's codes; None for float activations."""
        return None if self.quantise is None else self.quantise.step

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits

    def features(self, x: Tensor, tuning: TuningPass | None = None) -> Tensor:
        """(N, C): what the classifier reads."""
        x = self.entrance(x, tuning)
        if tuning is not None:
            tuning.tap(self.stem, x, self._entering_grid)
        for i, block in enumerate(self.blocks, 1):
            x = block(x, self._between if i < len(self.blocks) else Want.MEAN, tuning)
        return x

    def entrance(self, x: Tensor, tuning: TuningPass | None = None) -> Tensor:
        """Everything in front of the first block."""
        if self.quantise is not None:
            x = self.quantise(x)
        x = self.stem(x, want=Want.MAP if self.config.stem_pool else self._between, tuning=tuning)
        if self.config.stem_pool:
            x = nn.functional.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)
            x = x if self.pooled is None else self.pooled(x)
        return x

    @property
    def _entering_grid(self) -> Tensor | None:
        """Of the codes that `entrance` gives."""
        return self.stem.codes_grid if self.pooled is None else self.pooled.grid

    @property
    def _between(self) -> Want:
        """What travels between blocks."""
        return Want.MAP if self.quantise is None else Want.CODES


def needs_samples(model: DenseShift) -> bool:
    return model.config.act == "i8"


def pack(model: DenseShift, samples: Tensor | None = None) -> PackedDenseShift:
    """The deployed form of a trained network.

    samples  (n, H, W, I) inputs as it was trained on; the steps of int8 activations are found on them
    raises   UsageError when act is "i8" and there are none, or for a float twin
    """
    act = model.config.act
    steps = Steps()
    if act == "i8":
        if samples is None or len(samples) == 0:
            raise UsageError("DenseShift with int8 activations: needs samples of its training inputs to be packed")
        steps = calibrate(model, samples)
    blocks = list(_blocks(model))
    if not isinstance(blocks[0].first.conv, ShiftConv2d):
        raise UsageError("DenseShift: a float twin has no shift weights to pack")
    stem = PackedConv.from_trained(
        model.stem.conv, model.stem.bn, act=act, step_in=steps.of("input"), step_out=steps.of("stem")
    )
    packed_blocks = []
    entering = steps.of("stem")
    for i, block in enumerate(blocks):
        packed_blocks.append(_pack_block(block, act, entering, steps, i))
        entering = steps.of(f"{i}")
    eight = act == "i8"
    return PackedDenseShift(
        model.config,
        PackedInput(steps.of("input")) if eight else None,
        stem,
        PackedInput(steps.of("stem")) if eight and model.config.stem_pool else None,
        packed_blocks,
        PackedHead.from_trained(model.head, act),
    ).eval()


def _pack_block(block: BasicBlock, act: Activations, entering: float, steps: "Steps", index: int) -> PackedBlock:
    inside, leaving = steps.of(f"{index}.first"), steps.of(f"{index}")
    beside = entering if block.shortcut is None else steps.of(f"{index}.shortcut")

    def packed_conv(layer: ConvBN, step_in: float, step_out: float, step_residual: float = 1.0) -> PackedConv:
        return PackedConv.from_trained(
            layer.conv, layer.bn, act=act, step_in=step_in, step_residual=step_residual, step_out=step_out
        )

    return PackedBlock(
        packed_conv(block.first, entering, inside),
        packed_conv(block.second, inside, leaving, beside),
        None if block.shortcut is None else packed_conv(block.shortcut, entering, beside),
    )


@dataclass(frozen=True)
class Steps:
    """Steps of int8 activations: "input", "stem" (behind ReLU and pool), "I.first", "I.shortcut" and "I" of block I."""

    found: Mapping[str, float] = field(default_factory=dict)

    def of(self, name: str) -> float:
        return self.found.get(name, 1.0)


def calibrate(model: DenseShift, samples: Tensor) -> Steps:
    """The best step of every activation of the trained network on samples (n, H, W, I)."""
    found = {"input": int8.best_step(samples)}
    handles = []

    def watch(name: str, layer: nn.Module, *, relu: bool) -> None:
        def see(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
            found[name] = int8.best_step(output.relu() if relu else output)

        handles.append(layer.register_forward_hook(see))

    watch("stem", model.stem, relu=True)
    for i, block in enumerate(_blocks(model)):
        watch(f"{i}", block, relu=False)
        watch(f"{i}.first", block.first, relu=True)
        if block.shortcut is not None:
            watch(f"{i}.shortcut", block.shortcut, relu=False)
    with torch.no_grad():
        model.eval()(samples)
    for handle in handles:
        handle.remove()
    return Steps(found)


def _blocks(model: DenseShift) -> Iterator[BasicBlock]:
    return (cast(BasicBlock, block) for stage in model.stages for block in stage.children())


def packed(config: DenseShiftConfig) -> PackedDenseShift:
    """The deployed network with all weights zero, to be filled from a package."""
    act, eight = config.act, config.act == "i8"
    weights = weight_format(config.bits, config.form)

    def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> PackedConv:
        return PackedConv(weights, act, inputs, outputs, kernel, stride=stride, padding=kernel // 2)

    blocks = []
    for shape in (shape for stage in _stages(config) for shape in stage):
        inputs, outputs = shape.in_channels, shape.out_channels
        shortcut = conv(inputs, outputs, 1, shape.stride) if shape.has_shortcut else None
        blocks.append(PackedBlock(conv(inputs, outputs, 3, shape.stride), conv(outputs, outputs, 3), shortcut))
    kernel = config.stem_kernel
    stem = PackedConv(
        act, act, config.in_channels, config.widths[0], kernel, stride=config.stem_stride, padding=kernel // 2
    )
    return PackedDenseShift(
        config,
        PackedInput() if eight else None,
        stem,
        PackedInput() if eight and config.stem_pool else None,
        blocks,
        PackedHead(config.widths[-1], config.classes, act),
    )
