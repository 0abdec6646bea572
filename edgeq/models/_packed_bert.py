"""BERT for classifying sentences, deploy face: packed layers, floats only between a norm and the next residual.

Bits go from layer to layer: a linear layer hands its result over as the operand of the product that follows.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq._errors import UsageError
from edgeq.models import _bert
from edgeq.models._bert import Bert, BertConfig
from edgeq.nn.lowbit_embedding import LowBitEmbedding
from edgeq.nn.lowbit_linear import LowBitLinear
from edgeq.nn.packed_attention import PackedAttention
from edgeq.nn.packed_lowbit import PackedLowBitEmbedding, PackedLowBitLinear, PackedNorm
from edgeq.nn.packed_operands import Operand, PackedQuantiser
from edgeq.nn.tuning import FloatHead, TuningPass
from edgeq.ops import Act

_ACTS = {"gelu": Act.GELU, "relu": Act.RELU}


class PackedParts(Protocol):
    """What a paper quantises, and how.

    signs      whether every linear layer reads the plain signs of a norm, which then are formed once
    tap_words  whether a head that is learned over taps reads the mean of the words too, beside the last layer's
    """

    signs: bool
    tap_words: bool

    def quantiser(self, features: int, *, signed: bool) -> PackedQuantiser:
        """In front of a linear layer."""

    def attention(self, features: int, heads: int) -> PackedAttention: ...


class Layer(nn.Module):
    """(B, T, H) and, where the layers share them, its signs -> the same."""

    def __init__(self, config: BertConfig, parts: PackedParts) -> None:
        super().__init__()
        hidden, inner = config.hidden, config.intermediate

        def linear(i: int, o: int, *, signed: bool = True, act: Act = Act.NONE) -> PackedLowBitLinear:
            return PackedLowBitLinear(i, o, parts.quantiser(i, signed=signed), act=act)

        self.query, self.key, self.value, self.out = (linear(hidden, hidden) for _ in range(4))
        self.attention = parts.attention(hidden, config.heads)
        self.attention_norm = PackedNorm(hidden, config.norm_eps)
        self.up = linear(hidden, inner, act=_ACTS[config.activation])
        self.down = linear(inner, hidden, signed=False)
        self.norm = PackedNorm(hidden, config.norm_eps)

    def take(self, trained: _bert.Layer) -> None:
        attention = trained.attention
        for name in ("query", "key", "value", "out"):
            getattr(self, name).take(getattr(attention, name))
        self.attention.take(attention.core)
        self.up.take(cast(LowBitLinear, trained.up))
        self.down.take(cast(LowBitLinear, trained.down))
        self.attention_norm.take(trained.attention_norm)
        self.norm.take(trained.norm)

    def forward(
        self, x: Tensor, signs: Operand | None, mask: Tensor, tuning: TuningPass | None = None
    ) -> tuple[Tensor, Operand | None]:
        core = self.attention
        read = x if signs is None else signs
        q, k, v = (
            layer.quantised(read, then)
            for layer, then in ((self.query, core.query), (self.key, core.key), (self.value, core.value))
        )
        context = core(q, k, v, self.out.quantise, mask)
        x, signs = _norm(self.attention_norm, self.out(context), x, signs, tuning, mask)
        inner = self.up.quantised(x if signs is None else signs, self.down.quantise)
        return _norm(self.norm, self.down(inner), x, signs, tuning, mask)


class PackedBert(nn.Module):
    """ids, mask, types (B, T) int64 -> logits (B, labels) float32; mask 1 = real token, types may be left out."""

    def __init__(self, config: BertConfig, parts: PackedParts) -> None:
        super().__init__()
        self.config, self.signs, self.tap_words = config, parts.signs, parts.tap_words
        hidden = config.hidden
        self.word = PackedLowBitEmbedding(config.vocabulary, hidden)
        self.position = nn.Embedding(config.positions, hidden)
        self.token_type = nn.Embedding(config.token_types, hidden)
        self.norm = PackedNorm(hidden, config.norm_eps)
        self.layers = nn.ModuleList(Layer(config, parts) for _ in range(config.layers))
        first = config.pooling == "cls"
        self.pooler = PackedLowBitLinear(hidden, hidden, parts.quantiser(hidden, signed=True)) if first else None
        self.classifier = nn.Linear(hidden, config.labels)

    @torch.no_grad()
    def take(self, trained: Bert) -> None:
        """Copy what was learnt. The standardisation of a mean is folded into the classifier."""
        theirs = trained.embeddings
        self.word.take(cast(LowBitEmbedding, theirs.word))
        self.position.weight.copy_(theirs.position.weight)
        self.token_type.weight.copy_(theirs.token_type.weight)
        self.norm.take(theirs.norm)
        for ours, layer in zip(self.layers, trained.layers, strict=True):
            cast(Layer, ours).take(cast(_bert.Layer, layer))
        weight, bias = trained.classifier.weight.double(), trained.classifier.bias.double()
        if isinstance(trained.pooler, _bert.FirstToken) and self.pooler is not None:
            self.pooler.take(cast(LowBitLinear, trained.pooler.dense))
        elif isinstance(trained.pooler, _bert.StandardisedMean):
            batch = trained.pooler.standardise
            assert batch.running_mean is not None and batch.running_var is not None
            weight = weight / (batch.running_var.double() + batch.eps).sqrt()
            bias = bias - weight @ batch.running_mean.double()
        self.classifier.weight.copy_(weight)
        self.classifier.bias.copy_(bias)

    @property
    def head(self) -> FloatHead:
        """The classifier, as tuning sees it."""
        return FloatHead(self.classifier)

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        logits: Tensor = self.classifier(self.pooled(self.hidden(ids, mask, types)[-1], mask))
        return logits

    def features(self, ids: Tensor, mask: Tensor, tuning: TuningPass | None = None) -> Tensor:
        """(B, H): what the classifier reads, and the last tap of a tuning pass.

        Taps of every layer were not worth their memory: the Gram matrix grows with the square of their number.
        """
        pooled = self.pooled(self.hidden(ids, mask, tuning=tuning)[-1], mask)
        if tuning is not None:
            tuning.tap(self.layers[-1], pooled)
        return pooled

    def hidden(
        self, ids: Tensor, mask: Tensor, types: Tensor | None = None, tuning: TuningPass | None = None
    ) -> list[Tensor]:
        """Embeddings and the output of every layer, (B, T, H)."""
        length = ids.shape[1]
        if length > self.config.positions:
            raise UsageError(f"{length} tokens: this network takes at most {self.config.positions}")
        kind = self.token_type.weight[0] if types is None else self.token_type(types)
        x = self.word(ids) + self.position.weight[:length] + kind
        real = mask.to(torch.uint8)
        x, signs = _norm(self.norm, x, None, self.signs, tuning, real)
        hidden = [x]
        if tuning is not None and self.tap_words and not tuning.lean:
            tuning.tap(self.norm, real_mean(x, mask))
        for layer in self.layers:
            x, signs = layer(x, signs, real, tuning)
            hidden.append(x)
        return hidden

    def pooled(self, x: Tensor, mask: Tensor) -> Tensor:
        """Hidden states (B, T, H) -> (B, H)."""
        return real_mean(x, mask) if self.pooler is None else torch.tanh(self.pooler(x[:, 0]))


def real_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(B, T, H) -> (B, H): mean over the real tokens, added from left to right."""
    real = mask.to(x.dtype)
    count = real.sum(1, keepdim=True).clamp_min(1) * torch.ones_like(real)  # by one number, kernels do not divide
    mean: Tensor = ops.mean_hw((x * (real / count)[..., None])[:, None])
    return mean * x.shape[1]


def _norm(
    norm: PackedNorm, x: Tensor, residual: Tensor | None, signs: object, tuning: TuningPass | None, mask: Tensor
) -> tuple[Tensor, Operand | None]:
    if signs:
        return norm.with_signs(x, residual, tuning=tuning, mask=mask)
    return norm(x, residual, tuning=tuning, mask=mask), None
