"""BERT for classifying sentences, with exchangeable parts: the skeleton of BiBERT and BiT, and their float teacher.

Post-LayerNorm; only the word embedding, the linear layers and the products of attention differ between the papers.
With mean pooling (not in the papers) the classifier reads standardised means over the real tokens.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edgeq._errors import UsageError
from edgeq.nn.attention import SoftmaxAttention
from edgeq.nn.heads import merge_heads, split_heads

MASKED = -10000.0  # added to the score of a padded key
PADDING = 0  # token whose word embedding gets no gradient


@dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT. `labels` is the number of classes, or 1 for regression."""

    vocabulary: int
    hidden: int
    heads: int
    layers: int
    intermediate: int
    positions: int
    token_types: int = 2
    labels: int = 2
    activation: Literal["gelu", "relu"] = "gelu"
    pooling: Literal["cls", "mean"] = "cls"
    norm_eps: float = 1e-12
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocabulary", "hidden", "heads", "layers", "intermediate", "positions", "token_types", "labels"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.hidden % self.heads:
            raise UsageError(f"hidden: {self.hidden} is not a multiple of {self.heads} heads")
        for name, known in (("activation", ("gelu", "relu")), ("pooling", ("cls", "mean"))):
            if getattr(self, name) not in known:
                raise UsageError(f"{name}: must be {' or '.join(known)}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class AttentionTrace:
    """What distillation looks at in one layer; float, before any quantiser."""

    query: Tensor  # (B, h, T, d)
    key: Tensor  # (B, h, T, d)
    value: Tensor  # (B, h, T, d)
    scores: Tensor  # (B, h, T, T), mask included


@dataclass(frozen=True)
class Features:
    """A forward pass with everything that distillation looks at."""

    logits: Tensor  # (B, labels)
    hidden: list[Tensor]  # embeddings and every layer, (B, T, H)
    attention: list[AttentionTrace]


class Parts:
    """What a BERT is built from; this one is float, a paper overrides what it quantises."""

    def word_embedding(self, rows: int, features: int) -> nn.Module:
        return nn.Embedding(rows, features, padding_idx=PADDING)

    def linear(self, in_features: int, out_features: int) -> nn.Module:
        return nn.Linear(in_features, out_features)

    def ffn_output(self, in_features: int, out_features: int) -> nn.Module:
        """The linear layer behind the activation function."""
        return self.linear(in_features, out_features)

    def attention(self) -> nn.Module:
        """A module with the signature of SoftmaxAttention."""
        return SoftmaxAttention()


class Embeddings(nn.Module):
    """Token ids and types (B, T) -> (B, T, H)."""

    def __init__(self, config: BertConfig, parts: Parts) -> None:
        super().__init__()
        self.word = parts.word_embedding(config.vocabulary, config.hidden)
        self.position = nn.Embedding(config.positions, config.hidden)
        self.token_type = nn.Embedding(config.token_types, config.hidden)
        self.norm = nn.LayerNorm(config.hidden, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Tensor, types: Tensor) -> Tensor:
        length = ids.shape[1]
        if length > self.position.num_embeddings:
            raise UsageError(f"{length} tokens: this network takes at most {self.position.num_embeddings}")
        x = self.word(ids) + self.position.weight[:length] + self.token_type(types)
        out: Tensor = self.dropout(self.norm(x))
        return out


class SelfAttention(nn.Module):
    """(B, T, H) -> (B, T, H), output projection included."""

    def __init__(self, config: BertConfig, parts: Parts) -> None:
        super().__init__()
        self.heads = config.heads
        hidden = config.hidden
        self.query, self.key, self.value = (parts.linear(hidden, hidden) for _ in range(3))
        self.core = parts.attention()
        self.out = parts.linear(hidden, hidden)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, AttentionTrace]:
        query, key, value = (split_heads(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        context, scores = self.core(query, key, value, mask)
        return self.out(merge_heads(context)), AttentionTrace(query, key, value, scores)


class Layer(nn.Module):
    """(B, T, H) -> (B, T, H)."""

    def __init__(self, config: BertConfig, parts: Parts) -> None:
        super().__init__()
        self.attention = SelfAttention(config, parts)
        self.attention_norm = nn.LayerNorm(config.hidden, config.norm_eps)
        self.up = parts.linear(config.hidden, config.intermediate)
        self.activation = {"gelu": nn.GELU, "relu": nn.ReLU}[config.activation]()
        self.down = parts.ffn_output(config.intermediate, config.hidden)
        self.norm = nn.LayerNorm(config.hidden, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, AttentionTrace]:
        y, trace = self.attention(x, mask)
        x = self.attention_norm(self.dropout(y) + x)
        y = self.down(self.activation(self.up(x)))
        return self.norm(self.dropout(y) + x), trace


class FirstToken(nn.Module):
    """Hidden states (B, T, H) and mask (B, T) -> (B, H): tanh of a linear layer on the first token."""

    def __init__(self, config: BertConfig, parts: Parts) -> None:
        super().__init__()
        self.dense = parts.linear(config.hidden, config.hidden)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return torch.tanh(self.dense(x[:, 0]))


class StandardisedMean(nn.Module):
    """Hidden states (B, T, H) and mask (B, T) -> (B, H): mean over the real tokens, standardised per channel."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.standardise = nn.BatchNorm1d(config.hidden, affine=False, momentum=0.05)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        weight = mask.to(x.dtype)[..., None]
        out: Tensor = self.standardise((x * weight).sum(1) / weight.sum(1).clamp_min(1))
        return out


class Bert(nn.Module):
    """ids, mask, types (B, T) int64 -> logits (B, labels); mask 1 = real token, types may be left out."""

    def __init__(self, config: BertConfig, parts: Parts) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config, parts)
        self.layers = nn.ModuleList(Layer(config, parts) for _ in range(config.layers))
        self.pooler = FirstToken(config, parts) if config.pooling == "cls" else StandardisedMean(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden, config.labels)  # float in every paper

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        return self.features(ids, mask, types).logits

    def features(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Features:
        """The same pass, with the hidden states and attention scores that distillation compares."""
        x = self.embeddings(ids, torch.zeros_like(ids) if types is None else types)
        added = (1 - mask[:, None, None].to(x.dtype)) * MASKED
        hidden, attention = [x], []
        for layer in self.layers:
            x, trace = layer(x, added)
            hidden.append(x)
            attention.append(trace)
        return Features(self.classifier(self.dropout(self.pooler(x, mask))), hidden, attention)


def build(config: BertConfig) -> Bert:
    """The float network: teacher and twin."""
    return Bert(config, Parts())
