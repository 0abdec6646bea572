"""MiniLM sentence encoder: a BERT whose token states are averaged into one vector of length 1.

Wang et al.: MiniLM: Deep Self-Attention Distillation, NeurIPS 2020, arXiv 2002.10957; pooling and normalisation as in
sentence-transformers' all-MiniLM-L6-v2. The float network comes from a checkpoint (`edgeq.importers.minilm`); the
packed one has INT4 linear layers with 8-bit activations (`edgeq.ptq`) and one byte per entry of the word embedding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeq import ops
from edgeq._errors import UsageError
from edgeq.nn.heads import merge_heads, split_heads
from edgeq.nn.int4_linear import Int4Linear
from edgeq.nn.int8_embedding import Int8Embedding
from edgeq.nn.packed_lowbit import PackedNorm
from edgeq.ops import Act

MASKED = -10000.0  # added to the score of a padded key


@dataclass(frozen=True)
class MiniLMConfig:
    """Sizes; the defaults are all-MiniLM-L6-v2's. `tokens` is the length that a compiled network takes."""

    vocabulary: int = 30522
    hidden: int = 384
    heads: int = 12
    layers: int = 6
    intermediate: int = 1536
    tokens: int = 64
    group: int = 32  # inputs that share a scale in the packed form
    zeros: bool = True  # whether they have a zero of their own
    norm_eps: float = 1e-12

    def __post_init__(self) -> None:
        for name in ("vocabulary", "hidden", "heads", "layers", "intermediate", "tokens", "group"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.hidden % self.heads:
            raise UsageError(f"hidden: {self.hidden} is not a multiple of {self.heads} heads")
        if self.hidden % self.group or self.intermediate % self.group:
            raise UsageError(f"group: {self.group} does not divide hidden {self.hidden} and {self.intermediate}")


Config = MiniLMConfig


def scheme(config: MiniLMConfig) -> str:
    return "int4"


class Norm(nn.LayerNorm):
    """LayerNorm of a sum, train face of `PackedNorm`."""

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        return super().forward(x if residual is None else x + residual)


class Attention(nn.Module):
    """(B, T, 3 H) queries, keys and values, mask (B, T) uint8, 0 hides a key -> (B, T, H)."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, qkv: Tensor, mask: Tensor) -> Tensor:
        added = (1 - mask.to(qkv.dtype))[:, None, None] * MASKED
        query, key, value = (split_heads(part, self.heads) for part in qkv.chunk(3, -1))
        return merge_heads(functional.scaled_dot_product_attention(query, key, value, added))


class PackedAttention(Attention):
    """The same in one operator; a hidden key counts for nothing at all."""

    def forward(self, qkv: Tensor, mask: Tensor) -> Tensor:
        width = qkv.shape[-1] // (3 * self.heads)
        context: Tensor = ops.attention_f32(qkv, self.heads, width**-0.5, mask)
        return context


class Layer(nn.Module):
    """(B, T, H) -> (B, T, H); query, key and value are one linear layer."""

    def __init__(self, config: MiniLMConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.qkv: nn.Module = nn.Linear(hidden, 3 * hidden)
        self.attention: nn.Module = Attention(config.heads)
        self.out: nn.Module = nn.Linear(hidden, hidden)
        self.attention_norm: nn.Module = Norm(hidden, config.norm_eps)
        self.up: nn.Module = nn.Linear(hidden, config.intermediate)
        self.activation: nn.Module = nn.GELU()
        self.down: nn.Module = nn.Linear(config.intermediate, hidden)
        self.norm: nn.Module = Norm(hidden, config.norm_eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention_norm(self.out(self.attention(self.qkv(x), mask)), x)
        y: Tensor = self.norm(self.down(self.activation(self.up(x))), x)
        return y


class MiniLM(nn.Module):
    """ids, mask (B, T) int64 -> (B, H) float32 of length 1; mask 1 = real token."""

    def __init__(self, config: MiniLMConfig) -> None:
        super().__init__()
        self.config = config
        self.word: nn.Module = nn.Embedding(config.vocabulary, config.hidden)
        self.position = nn.Parameter(torch.zeros(config.tokens, config.hidden))  # the type of a sole sentence included
        self.norm: nn.Module = Norm(config.hidden, config.norm_eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        real, seen = mask.to(torch.float32), mask.to(torch.uint8)
        x = self.norm(self.word(ids) + self.position[: ids.shape[1]])
        for layer in self.layers:
            x = layer(x, seen)
        mean = (x * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp_min(1)
        unit: Tensor = mean / mean.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)
        return unit


def build(config: MiniLMConfig) -> MiniLM:
    """The float network."""
    return MiniLM(config)


def packed(config: MiniLMConfig) -> MiniLM:
    """The packed network, weights to be loaded."""
    model = MiniLM(config)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear):
            model.set_submodule(
                name, Int4Linear(layer.in_features, layer.out_features, config.group, zeros=config.zeros)
            )
    return deploy(model, Int8Embedding(config.vocabulary, config.hidden))


def deploy(model: MiniLM, word: Int8Embedding) -> MiniLM:
    """Finish a network whose linear layers are packed: embedding, norms, attention, GELU in the layer in front."""
    model.word = word
    for name, norm in list(model.named_modules()):
        if isinstance(norm, Norm):
            packed = PackedNorm(model.config.hidden, norm.eps)
            packed.take(norm)
            model.set_submodule(name, packed)
    for layer in model.layers:
        assert isinstance(layer, Layer) and isinstance(layer.up, Int4Linear)
        layer.up.act, layer.activation = Act.GELU, nn.Identity()
        layer.attention = PackedAttention(model.config.heads)
    return model
