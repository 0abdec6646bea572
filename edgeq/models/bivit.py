"""BiViT, a vision transformer with binary weights and binary attention.

He et al.: BiViT: Extremely Compressed Binary Vision Transformer, ICCV 2023, arXiv 2211.07091. The authors published the
binary layers only (`edgeq.nn.bivit`); the network around them is the plain ViT, with timm's names. Patch embedding,
layer norms, residuals and classifier are float.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq._errors import FormatError, UsageError
from edgeq.models._cost import Cost, count
from edgeq.nn.bivit import BivitAttention, BivitLinear, BivitMlp, Rule
from edgeq.nn.float_conv import Conv2d
from edgeq.nn.merged import Merged
from edgeq.nn.packed_bivit import LinearFormat, PackedBivitAttention, PackedBivitMlp, PackedLayerNorm
from edgeq.nn.packed_shift import PackedConv, PackedHead
from edgeq.nn.tuning import TuningPass
from edgeq.ops import Want

LAYER_NORM_EPS = 1e-6
INITIAL_DEVIATION = 0.02  # of the class token and the positions
MLP_FORMATS: Mapping[str, LinearFormat] = {"w1a32": "b1f32", "w1a1": "b1t2", "float": "f32f32"}
MOST, MOST_BLOCKS = 1 << 14, 1000  # what a configuration may ask for


@dataclass(frozen=True)
class BiViTConfig:
    """Which BiViT. `mlp`: "w1a32" binary weights and float activations (the paper's results), "w1a1", or "float".

    The paper trains in two stages from a float network: mlp="float" first, then the final one; `load_latents` moves the
    weights from stage to stage.
    """

    image: tuple[int, int]  # height, width
    classes: int
    in_channels: int = 3
    patch: int = 4
    dim: int = 192
    depth: int = 12
    heads: int = 3
    hidden: int = 768  # of the perceptron
    attention: Rule = "sab"
    mlp: Literal["w1a32", "w1a1", "float"] = "w1a32"
    pool: Literal["token", "mean"] = "token"  # what the classifier reads: a class token, or the mean of the patches
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("classes", "in_channels", "patch", "dim", "depth", "heads", "hidden"):
            if not 1 <= getattr(self, name) <= (most := MOST_BLOCKS if name == "depth" else MOST):
                raise UsageError(f"{name}: must be 1 to {most}, got {getattr(self, name)}")
        if len(self.image) != 2 or any(not 1 <= side <= MOST or side % self.patch for side in self.image):
            raise UsageError(f"image: height and width must be multiples of the patch {self.patch}, got {self.image}")
        if self.dim % self.heads:
            raise UsageError(f"heads: must divide dim {self.dim}, got {self.heads}")
        if self.attention not in ("sab", "baseline"):
            raise UsageError(f'attention: must be "sab" or "baseline", got {self.attention!r}')
        if self.mlp not in ("w1a32", "w1a1", "float"):
            raise UsageError(f'mlp: must be "w1a32", "w1a1" or "float", got {self.mlp!r}')
        if self.pool not in ("token", "mean"):
            raise UsageError(f'pool: must be "token" or "mean", got {self.pool!r}')
        if not 0 <= self.attention_dropout < 1:
            raise UsageError(f"attention_dropout: must be at least 0 and below 1, got {self.attention_dropout}")

    @property
    def tokens(self) -> int:
        """Patches, and the class token if there is one."""
        return (self.image[0] // self.patch) * (self.image[1] // self.patch) + (self.pool == "token")


Config = BiViTConfig  # what `edgeq.models` calls it


class PatchEmbedding(nn.Module):
    """(N, H, W, I) -> (N, patches, dim), float."""

    def __init__(self, config: BiViTConfig) -> None:
        super().__init__()
        self.proj = Conv2d(config.in_channels, config.dim, config.patch, stride=config.patch, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.proj(x)
        return patches.flatten(1, 2)


class Block(nn.Module):
    """(N, tokens, dim) -> (N, tokens, dim); residuals stay real valued."""

    def __init__(self, config: BiViTConfig, *, quantised: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self.attn = BivitAttention(
            config.dim, config.heads, rule=config.attention, dropout=config.attention_dropout, quantised=quantised
        )
        self.norm2 = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self.mlp = BivitMlp(
            config.dim,
            config.hidden,
            binary_input=config.mlp == "w1a1",
            learnt_scale=config.mlp == "w1a32",
            quantised=quantised and config.mlp != "float",
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class BiViT(nn.Module):
    """(N, H, W, I) float32, normalised pictures -> (N, classes) logits."""

    def __init__(self, config: BiViTConfig, *, quantised: bool = True) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbedding(config)
        if config.pool == "token":
            self.cls_token = nn.Parameter(torch.randn(1, 1, config.dim) * INITIAL_DEVIATION)
        self.pos_embed = nn.Parameter(torch.randn(1, config.tokens, config.dim) * INITIAL_DEVIATION)
        self.blocks = nn.ModuleList(Block(config, quantised=quantised) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(config.dim, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        if self.config.pool == "token":
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        pooled = x[:, 0] if self.config.pool == "token" else x.mean(1)
        logits: Tensor = self.head(self.norm(pooled))
        return logits


def build(config: BiViTConfig, *, quantised: bool = True) -> BiViT:
    """A fresh network from torch's random generator; quantised=False gives the float twin."""
    return BiViT(config, quantised=quantised)


def load_latents(model: BiViT, state: Mapping[str, Tensor]) -> None:
    """Start from the float twin or from an earlier stage; scales that it does not have come at the first forward.

    raises  FormatError naming a tensor that is missing, left over or of another shape
    """
    own = model.state_dict()
    missing = sorted(name for name in own.keys() - state.keys() if not name.endswith(".alpha"))
    for title, names in (("missing", missing), ("unknown", sorted(state.keys() - own.keys()))):
        if names:
            raise FormatError(f"BiViT latents: {title} {', '.join(names[:3])}; other depth or stage?")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise FormatError(f"{name}: expected shape {tuple(own[name].shape)}, got {tuple(tensor.shape)}")
    model.load_state_dict(dict(state), strict=False)


def scheme(config: BiViTConfig) -> str:
    """Of the perceptron, the larger part; attention is all signs."""
    return MLP_FORMATS[config.mlp]


def ace(config: BiViTConfig, height: int, width: int) -> Cost:
    """The cost of one picture; float weights and activations count as 32 bits, products between tokens included."""

    def formats(layer: nn.Module) -> tuple[int, int, int] | None:
        if isinstance(layer, BivitLinear):
            float_weights = config.mlp == "float" and not layer.binary_input
            return layer.weight.numel(), 32 if float_weights else 1, 1 if layer.binary_input else 32
        if isinstance(layer, Conv2d | nn.Linear):
            return layer.weight.numel(), 32, 32
        return None

    twin = functools.partial(build, config, quantised=False)  # has no scales that wait for a first forward
    layers = count(twin, (1, height, width, config.in_channels), formats)
    between = 2 * config.depth * config.tokens**2 * config.dim  # scores and context, signs or bits
    return replace(layers, ace=layers.ace + between, macs=layers.macs + between)


class PackedBlock(Merged):
    """Block; (N, tokens, dim) float32 -> the same."""

    def __init__(self, attn: PackedBivitAttention, mlp: PackedBivitMlp, dim: int) -> None:
        super().__init__()
        self.norm1, self.attn = PackedLayerNorm(dim, LAYER_NORM_EPS), attn
        self.norm2, self.mlp = PackedLayerNorm(dim, LAYER_NORM_EPS), mlp

    @classmethod
    def from_trained(cls, block: Block) -> "PackedBlock":
        dim = block.norm1.weight.shape[0]
        self = cls(PackedBivitAttention.from_trained(block.attn), PackedBivitMlp.from_trained(block.mlp), dim)
        self.norm1.copy_from(block.norm1)
        self.norm2.copy_from(block.norm2)
        return self

    def forward(self, x: Tensor, tuning: TuningPass | None = None) -> Tensor:
        x = self.attn(self.norm1(x, Want.T2, tuning), x)
        out: Tensor = self.mlp(self.norm2(x, Want.T2 if self.mlp.format == "b1t2" else Want.MAP, tuning), x)
        return out


class PackedBiViT(nn.Module):
    """BiViT as it is deployed: (N, H, W, I) float32 -> (N, classes).

    first      (1, 1, dim): class token and its position, if the classifier reads it
    positions  (1, patches, dim): of the patches
    """

    first: Tensor
    positions: Tensor

    def __init__(self, config: BiViTConfig, patches: PackedConv, blocks: list[PackedBlock], head: PackedHead) -> None:
        super().__init__()
        self.config = config
        self.patches = patches
        if config.pool == "token":
            self.register_buffer("first", torch.zeros(1, 1, config.dim))
        self.register_buffer("positions", torch.zeros(1, config.tokens - (config.pool == "token"), config.dim))
        self.blocks = nn.ModuleList(blocks)
        self.norm = PackedLayerNorm(config.dim, LAYER_NORM_EPS)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits

    def features(self, x: Tensor, tuning: TuningPass | None = None) -> Tensor:
        """(N, dim): what the classifier reads. A tuning pass gets that of every block, and of the last norm."""
        x = self.patches(x, relu=False, tuning=tuning).flatten(1, 2) + self.positions
        if self.config.pool == "token":
            x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1)
        for i, block in enumerate(self.blocks, 1):
            x = block(x, tuning)
            if tuning is not None and not tuning.lean and i < len(self.blocks):
                tuning.tap(block, self._pooled(x))
        pooled = self._pooled(x)
        if tuning is None:
            return cast(Tensor, self.norm(pooled, Want.MAP))
        hidden: Tensor = self.norm(pooled[:, None], Want.MAP, tuning)[:, 0]  # one token
        tuning.tap(self.norm, hidden)
        return hidden

    def _pooled(self, x: Tensor) -> Tensor:
        """(N, tokens, dim) -> (N, dim)."""
        pooled: Tensor = x[:, 0] if self.config.pool == "token" else ops.mean_hw(x.unsqueeze(1))
        return pooled


def pack(model: BiViT) -> PackedBiViT:
    """The deployed form of a trained network.

    raises  UsageError for a float twin, FormatError naming a weight whose sign is 0
    """
    blocks = [cast(Block, block) for block in model.blocks]
    if not blocks[0].attn.quantised:
        raise UsageError("BiViT: a float twin has no binary weights to pack")
    packed_blocks = []
    for i, block in enumerate(blocks):
        try:
            packed_blocks.append(PackedBlock.from_trained(block))
        except FormatError as error:
            raise FormatError(f"blocks.{i}: {error}") from error
    self = PackedBiViT(
        model.config,
        PackedConv.from_trained(model.patch_embed.proj),
        packed_blocks,
        PackedHead.from_trained(model.head, "f32"),
    )
    positions = model.pos_embed.detach()
    if model.config.pool == "token":
        self.first.copy_(model.cls_token.detach() + positions[:, :1])
        positions = positions[:, 1:]
    self.positions.copy_(positions)
    self.norm.copy_from(model.norm)
    return self.eval()


def packed(config: BiViTConfig) -> PackedBiViT:
    """The deployed network with all weights zero, to be filled from a package."""
    blocks = [
        PackedBlock(
            PackedBivitAttention(config.dim, config.heads, rule=config.attention),
            PackedBivitMlp(config.dim, config.hidden, MLP_FORMATS[config.mlp]),
            config.dim,
        )
        for _ in range(config.depth)
    ]
    patches = PackedConv("f32", "f32", config.in_channels, config.dim, config.patch, stride=config.patch)
    return PackedBiViT(config, patches, blocks, PackedHead(config.dim, config.classes, "f32"))
