"""BiViT, a vision transformer with binary weights and binary attention.

He et al.: BiViT: Extremely Compressed Binary Vision Transformer, ICCV 2023, arXiv 2211.07091. The authors published the
binary layers only (`edgeq.nn.bivit`); the network around them is the plain ViT, with timm's names. Patch embedding,
layer norms, residuals and classifier are float.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edgeq._errors import FormatError, UsageError
from edgeq.nn.bivit import BivitAttention, BivitMlp, Rule
from edgeq.nn.float_conv import Conv2d

LAYER_NORM_EPS = 1e-6
INITIAL_DEVIATION = 0.02  # of the class token and the positions


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
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("classes", "in_channels", "patch", "dim", "depth", "heads", "hidden"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if len(self.image) != 2 or any(side < 1 or side % self.patch for side in self.image):
            raise UsageError(f"image: height and width must be multiples of the patch {self.patch}, got {self.image}")
        if self.dim % self.heads:
            raise UsageError(f"heads: must divide dim {self.dim}, got {self.heads}")
        if self.attention not in ("sab", "baseline"):
            raise UsageError(f'attention: must be "sab" or "baseline", got {self.attention!r}')
        if self.mlp not in ("w1a32", "w1a1", "float"):
            raise UsageError(f'mlp: must be "w1a32", "w1a1" or "float", got {self.mlp!r}')
        if not 0 <= self.attention_dropout < 1:
            raise UsageError(f"attention_dropout: must be at least 0 and below 1, got {self.attention_dropout}")

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return (self.image[0] // self.patch) * (self.image[1] // self.patch) + 1


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
        self.cls_token = nn.Parameter(torch.randn(1, 1, config.dim) * INITIAL_DEVIATION)
        self.pos_embed = nn.Parameter(torch.randn(1, config.tokens, config.dim) * INITIAL_DEVIATION)
        self.blocks = nn.ModuleList(Block(config, quantised=quantised) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(config.dim, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x[:, 0]))
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
