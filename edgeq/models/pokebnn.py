"""PokeBNN, a binary-weight, binary-activation picture classifier.

Zhang, Zhang, Lew: PokeBNN: A Binary Pursuit of Lightweight Accuracy, CVPR 2022, arXiv 2112.00133; details from the
authors' code (google/aqt). Layers: `edgeq.nn`. The class `PokeBNNConfig` also describes shallow variants (`blocks`).

Counted by `ace`, 224 x 224 x 3, 1000 classes (equal to the authors' own count for every width from 0.125 to 2):

  width   ACE             parameters   packed kernels
  0.125      498 990 720     666 346    0.327 MB
  0.25       688 296 448   2 087 988    0.790 MB
  0.5      1 409 538 048   7 209 784    2.127 MB
  1.0      4 222 541 824  26 567 424    6.451 MB
  2.0     15 330 631 680 101 738 896   21.699 MB

Measured, zoo/pokebnn-fashion (width 0.25, blocks 1 1 1 1, 28 x 28 x 1): Fashion-MNIST of Debian's
dataset-fashion-mnist, 32 epochs, seed 1, one run; the 10 000 test pictures read once (95 % half-width 0.6 points),
validation = the last 5 000 training items:

              test      validation   parameters   packed kernels
  quantised   90.64 %   90.98 %      382 598      64 976 bytes
  float twin  92.71 %   92.98 %      382 598      -
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq._errors import UsageError
from edgeq.nn import phases
from edgeq.nn.batch_norm import BatchNorm
from edgeq.nn.conv import BinaryConv2d, QuantConv2d
from edgeq.nn.dprelu import DPReLU
from edgeq.nn.linear import QuantLinear
from edgeq.nn.packed import PackedConv2d, PackedLinear, PackedPokeConv
from edgeq.nn.poke_conv import SE_REDUCTION, PokeConv
from edgeq.nn.tuning import TuningPass

STEM_CHANNELS = 64  # not scaled by the width
STAGE_FEATURES = (64, 128, 256, 512)  # of the bottleneck, before the width multiplier
EXPANSION = 4
TAPPED = 2  # of the last bottlenecks a tunable program hands out the means of all channels
WeightedLayer = BinaryConv2d | QuantConv2d | QuantLinear


@dataclass(frozen=True)
class PokeBNNConfig:
    """Which PokeBNN. `width` is the paper's multiplier m, `blocks` the bottlenecks of each of the four stages."""

    width: float
    classes: int
    in_channels: int = 3
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    stem_kernel: int = 4
    stem_stride: int = 4
    init_group: int = 32

    def __post_init__(self) -> None:
        if len(self.blocks) != len(STAGE_FEATURES) or min(self.blocks) < 1:
            raise UsageError(f"blocks: need {len(STAGE_FEATURES)} numbers of at least 1, got {self.blocks}")
        for name in ("classes", "in_channels", "stem_kernel", "stem_stride", "init_group"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if STEM_CHANNELS % self.init_group:
            raise UsageError(f"init_group: must divide {STEM_CHANNELS}, got {self.init_group}")
        if not self.width > 0 or int(STAGE_FEATURES[0] * self.width) < SE_REDUCTION:
            raise UsageError(f"width: squeeze-excite needs width >= 0.125, got {self.width}")
        for shape in self.bottlenecks():
            wide = EXPANSION * shape.features
            if shape.in_channels < wide and wide % shape.in_channels:
                raise UsageError(
                    f"width {self.width}: the block residual of {shape.in_channels} channels cannot be tiled to "
                    f"{wide}; use a multiple of 0.25, or 0.125"
                )

    def bottlenecks(self) -> Iterator["BottleneckShape"]:
        """The bottlenecks in execution order."""
        channels = STEM_CHANNELS
        for stage, (base, count) in enumerate(zip(STAGE_FEATURES, self.blocks, strict=True)):
            features = int(base * self.width)
            for index in range(count):
                yield BottleneckShape(channels, features, 2 if stage > 0 and index == 0 else 1)
                channels = EXPANSION * features


Config = PokeBNNConfig  # what `edgeq.models` calls it


@dataclass(frozen=True)
class BottleneckShape:
    """in_channels -> EXPANSION * features, with `stride` in the middle convolution."""

    in_channels: int
    features: int
    stride: int


class Stem(nn.Module):
    """(N, H, W, I) -> (N, H', W', 64): an 8-bit patch convolution (VALID) and an 8-bit grouped 3x3 (SAME)."""

    def __init__(self, config: PokeBNNConfig, *, quantised: bool = True) -> None:
        super().__init__()
        group = config.init_group
        self.conv = QuantConv2d(
            config.in_channels,
            group,
            config.stem_kernel,
            stride=config.stem_stride,
            padding="valid",
            quantised=quantised,
        )
        self.bn = BatchNorm(group)
        self.act = DPReLU(group)
        self.conv_group = QuantConv2d(group, STEM_CHANNELS, 3, groups=group, quantised=quantised)
        self.bn_group = BatchNorm(STEM_CHANNELS)
        self.act_group = DPReLU(STEM_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn(self.conv(x)))
        out: Tensor = self.act_group(self.bn_group(self.conv_group(x)))
        return out


class Bottleneck(nn.Module):
    """(N, H, W, I) -> (N, ceil(H/stride), ceil(W/stride), 4 features)."""

    def __init__(self, shape: BottleneckShape, *, quantised: bool = True) -> None:
        super().__init__()
        features, wide = shape.features, EXPANSION * shape.features
        self.conv1 = PokeConv(shape.in_channels, features, 1, quantised=quantised)
        self.conv2 = PokeConv(features, features, 3, stride=shape.stride, quantised=quantised)
        self.conv3 = PokeConv(features, wide, 1, initial_scale=0.0, quantised=quantised)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv3(self.conv2(self.conv1(x)), x)
        return out


class PokeBNN(nn.Module):
    """(N, H, W, I) float32, normalised pictures -> (N, classes) logits."""

    def __init__(self, config: PokeBNNConfig, *, quantised: bool = True) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config, quantised=quantised)
        shapes = list(config.bottlenecks())
        self.blocks = nn.ModuleList(Bottleneck(shape, quantised=quantised) for shape in shapes)
        self.head = QuantLinear(EXPANSION * shapes[-1].features, config.classes, bits=8, quantised=quantised)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x.mean((1, 2)))
        return logits

    def set_weight_quantisation(self, on: bool) -> None:
        """Quantise the weights of all convolutions (the head's always are)."""
        phases.set_weight_quantisation(self, on, keep=self.head)

    def start_calibration(self) -> None:
        phases.start_calibration(self)

    def freeze_bounds(self) -> None:
        phases.freeze_bounds(self)


@dataclass(frozen=True)
class Cost:
    """Price of one picture. ACE = sum over convolution and dense MACs of weight bits x activation bits."""

    conv_ace: int
    dense_ace: int
    macs_by_bits: dict[int, int]
    weights_by_bits: dict[int, int]  # convolution and dense kernels
    other_parameters: int  # BN affine, DPReLU and biases; running statistics and bounds are not counted

    @property
    def ace(self) -> int:
        return self.conv_ace + self.dense_ace

    @property
    def parameters(self) -> int:
        return sum(self.weights_by_bits.values()) + self.other_parameters

    @property
    def packed_bytes(self) -> int:
        """Kernels at their bit widths, without any padding of rows."""
        return sum(bits * count for bits, count in self.weights_by_bits.items()) // 8


def ace(config: PokeBNNConfig, height: int, width: int) -> Cost:
    """Count the layers of an empty network on pictures of height x width.

    raises  UsageError if the picture is smaller than the stem's kernel
    """
    if min(height, width) < config.stem_kernel:
        raise UsageError(f"picture {height} x {width} is smaller than the stem kernel {config.stem_kernel}")
    with torch.device("meta"):
        model = PokeBNN(config)
    macs_by_bits: dict[int, int] = {}
    weights_by_bits: dict[int, int] = {}
    conv = dense = 0
    for layer, positions in _positions(model, height, width):
        weights = layer.weight.numel()
        macs_by_bits[layer.bits] = macs_by_bits.get(layer.bits, 0) + positions * weights
        weights_by_bits[layer.bits] = weights_by_bits.get(layer.bits, 0) + weights
        cost = positions * weights * layer.bits**2
        conv, dense = (conv, dense + cost) if layer is model.head else (conv + cost, dense)
    total = sum([parameter.numel() for parameter in model.parameters()])
    return Cost(conv, dense, macs_by_bits, weights_by_bits, total - sum(weights_by_bits.values()))


def _positions(model: PokeBNN, height: int, width: int) -> Iterator[tuple[WeightedLayer, int]]:
    """Every layer with weights, and at how many places of a picture each of its weights is used."""
    first = model.stem.conv
    height, width = ((n - first.weight.shape[1]) // first.stride + 1 for n in (height, width))
    yield from ((first, height * width), (model.stem.conv_group, height * width))
    for poke in (module for module in model.modules() if isinstance(module, PokeConv)):
        height, width = (-(-n // poke.conv.stride) for n in (height, width))
        yield from ((poke.conv, height * width), (poke.se.fc1, 1), (poke.se.fc2, 1))
    yield model.head, 1


def build(config: PokeBNNConfig, *, quantised: bool = True) -> PokeBNN:
    """A fresh network from torch's random generator; quantised=False gives the float twin."""
    return PokeBNN(config, quantised=quantised)


def scheme(config: PokeBNNConfig) -> str:
    return "binary"


class PackedStem(nn.Module):
    """Stem with 8-bit weights; (N, H, W, I) -> (N, H', W', 64)."""

    def __init__(self, conv: PackedConv2d, conv_group: PackedConv2d) -> None:
        super().__init__()
        self.conv, self.conv_group = conv, conv_group

    def forward(self, x: Tensor, tuning: TuningPass | None = None) -> Tensor:
        out: Tensor = self.conv_group(self.conv(x, tuning), tuning)
        return out


class PackedBottleneck(nn.Module):
    """Bottleneck with 1-bit weights; (N, H, W, I) -> (N, ceil(H/stride), ceil(W/stride), 4 features)."""

    def __init__(self, conv1: PackedPokeConv, conv2: PackedPokeConv, conv3: PackedPokeConv) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv1, conv2, conv3

    @classmethod
    def from_trained(cls, block: Bottleneck) -> "PackedBottleneck":
        return cls(*(PackedPokeConv.from_trained(conv) for conv in (block.conv1, block.conv2, block.conv3)))

    def forward(self, x: Tensor, tuning: TuningPass | None = None) -> Tensor:
        inner = self.conv2(self.conv1(x, tuning=tuning), tuning=tuning)
        out: Tensor = self.conv3(inner, x, tuning)
        return out


class PackedPokeBNN(nn.Module):
    """PokeBNN as it is deployed: (N, H, W, I) float32 -> (N, classes)."""

    one_entrance = True  # one tunable layer reads the input, and everything else what it gives

    def __init__(self, stem: PackedStem, blocks: list[PackedBottleneck], head: PackedLinear) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = stem, nn.ModuleList(blocks), head

    @classmethod
    def from_trained(cls, model: PokeBNN) -> "PackedPokeBNN":
        stem = model.stem
        return cls(
            PackedStem(
                PackedConv2d.from_trained(stem.conv, stem.bn, stem.act),
                PackedConv2d.from_trained(stem.conv_group, stem.bn_group, stem.act_group),
            ),
            [PackedBottleneck.from_trained(cast(Bottleneck, block)) for block in model.blocks],
            PackedLinear.from_trained(model.head),
        ).eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits

    def features(self, x: Tensor, tuning: TuningPass | None = None) -> Tensor:
        """(N, C): what the classifier reads."""
        x = self.stem(x, tuning)
        for i, block in enumerate(self.blocks, TAPPED - len(self.blocks)):
            x = block(x, tuning)
            if tuning is not None and i >= 0 and not tuning.lean:
                tuning.tap(block, ops.mean_hw(x))
        pooled: Tensor = ops.mean_hw(x)
        return pooled


def pack(model: PokeBNN) -> PackedPokeBNN:
    """The deployed form of a trained network."""
    return PackedPokeBNN.from_trained(model)


def packed(config: PokeBNNConfig) -> PackedPokeBNN:
    """The deployed network with all weights zero, to be filled from a package."""
    group = config.init_group
    stem = PackedStem(
        PackedConv2d(config.in_channels, group, config.stem_kernel, stride=config.stem_stride, same=False),
        PackedConv2d(group, STEM_CHANNELS, 3, groups=group, same=True),
    )
    shapes = list(config.bottlenecks())
    blocks = [
        PackedBottleneck(
            PackedPokeConv(shape.in_channels, shape.features, 1),
            PackedPokeConv(shape.features, shape.features, 3, stride=shape.stride),
            PackedPokeConv(shape.features, EXPANSION * shape.features, 1),
        )
        for shape in shapes
    ]
    return PackedPokeBNN(stem, blocks, PackedLinear(EXPANSION * shapes[-1].features, config.classes))
