"""Ternary and binary BART (TBT): sequence to sequence with 1- or 2-bit weights and 1-, 2- or 8-bit activations.

Liu et al.: Binary and Ternary Natural Language Generation, ACL 2023, arXiv 2306.01841; details from the authors' code
(facebookresearch/Ternary_Binary_Transformer). Three things to know:

- The head multiplies by the LATENT float table; only the look-up is low-bit. A model that is to be deployed with one
  low-bit table must be trained with `head="quantised"`.
- Scales of 8-bit activations and minima of unsigned 2-bit ones are those of the whole tensor at hand, so results depend
  on batch mates, padding and, with a cache, on the step: this is the authors' arithmetic, the reference mode.
- A cache keeps keys and values as floats and quantises all of them again at every step, as the authors do.

`scales="row"` is EdgeQ's fast mode, to be trained as such: scales and minima are those of one token in front of each
linear layer; inside attention steps are constant and probabilities start at 0. Then a result depends neither on the
batch nor on the cache, whose keys and values can be plain codes. `head="int8"` is a table of its own with 8-bit rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from edgeq._errors import FormatError, UsageError
from edgeq.models import _latents, _packed_bart
from edgeq.models._packed_bart import PackedBart, Session
from edgeq.nn.attention import LowBitAttention, Quantiser, SoftmaxAttention
from edgeq.nn.elastic import Elastic
from edgeq.nn.heads import merge_heads, split_heads
from edgeq.nn.lowbit_embedding import LowBitEmbedding
from edgeq.nn.lowbit_linear import LowBitLinear
from edgeq.schemes import dynamic, fixed, ternary
from edgeq.schemes.elastic import Grid, ternary_grid
from edgeq.schemes.quantised import product

NORM_EPS = 1e-5
POSITION_OFFSET = 2  # rows of the position tables that no position uses
MASKED = torch.finfo(torch.float32).min  # added to the score of a padded key


@dataclass(frozen=True, kw_only=True)
class TernaryBartConfig:
    """Sizes, bits, and the ids of the tokens that begin, end and pad."""

    vocabulary: int
    hidden: int
    encoder_layers: int
    decoder_layers: int
    encoder_heads: int
    decoder_heads: int
    encoder_ffn: int
    decoder_ffn: int
    positions: int
    weight_bits: int = 2
    activation_bits: int = 8
    clip: float = dynamic.CLIP  # of 8-bit activations with scales = "tensor"
    scales: Literal["tensor", "row"] = "tensor"  # what shares a scale or a minimum
    attention_bound: float = 8.0  # of queries, keys and values with scales = "row"
    head: Literal["latent", "quantised", "separate", "int8"] = "latent"
    padding: int = 1
    start: int = 2
    end: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        sizes = ("vocabulary", "hidden", "encoder_heads", "decoder_heads", "encoder_ffn", "decoder_ffn", "positions")
        for name in (*sizes, "encoder_layers", "decoder_layers"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: must be at least 1, got {getattr(self, name)}")
        for name in ("encoder_heads", "decoder_heads"):
            if self.hidden % getattr(self, name):
                raise UsageError(f"hidden: {self.hidden} is not a multiple of {name} {getattr(self, name)}")
        for name, known in (("weight_bits", (1, 2)), ("activation_bits", (1, 2, 8))):
            if getattr(self, name) not in known:
                raise UsageError(f"{name}: must be one of {known}, got {getattr(self, name)}")
        if self.head not in ("latent", "quantised", "separate", "int8"):
            raise UsageError(f"head: must be latent, quantised, separate or int8, got {self.head!r}")
        if self.scales not in ("tensor", "row"):
            raise UsageError(f"scales: must be tensor or row, got {self.scales!r}")
        for name in ("padding", "start", "end"):
            if not 0 <= getattr(self, name) < self.vocabulary:
                raise UsageError(f"{name}: token {getattr(self, name)} is not in a vocabulary of {self.vocabulary}")
        for name in ("clip", "attention_bound"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}: must be positive, got {getattr(self, name)}")


Config = TernaryBartConfig  # what `edgeq.models` calls it


class Parts:
    """What the network is built from: low-bit, or float for the twin."""

    def __init__(self, config: TernaryBartConfig, *, quantised: bool) -> None:
        self.config, self.quantised = config, quantised

    def embedding(self) -> nn.Module:
        rows, features = self.config.vocabulary, self.config.hidden
        if not self.quantised:
            return nn.Embedding(rows, features, padding_idx=self.config.padding)
        bits = self.config.weight_bits
        return LowBitEmbedding(
            rows,
            features,
            quantise_rows=lambda rows, _table: ternary.weights(rows, bits),
            padding=self.config.padding,
        )

    def linear(self, in_features: int, out_features: int, *, signed: bool = True) -> nn.Module:
        if not self.quantised:
            return nn.Linear(in_features, out_features)
        weights = partial(ternary.weights, bits=self.config.weight_bits)
        return LowBitLinear(in_features, out_features, quantise_input=self._activation(signed), quantise_weight=weights)

    def attention(self) -> nn.Module:
        if not self.quantised:
            return SoftmaxAttention()
        if self.config.scales == "tensor":
            return LowBitAttention(self._activation, scales_query=True)
        if self.config.activation_bits == 8:
            operand = partial(fixed.signed, bound=self.config.attention_bound)
            return LowBitAttention(lambda signed: operand if signed else fixed.probabilities, scales_query=False)
        return LowBitAttention(
            lambda signed: Elastic(replace(self._grid(signed), from_zero=not signed)), scales_query=True
        )

    def _activation(self, signed: bool) -> Quantiser:
        per_row = self.config.scales == "row"
        if self.config.activation_bits == 8:
            clip = math.inf if per_row else self.config.clip
            return partial(dynamic.signed if signed else dynamic.unsigned, clip=clip, per_row=per_row)
        return Elastic(self._grid(signed), per_row=per_row)

    def _grid(self, signed: bool) -> Grid:
        return ternary_grid(self.config.activation_bits, signed=signed)


class Attention(nn.Module):
    """Queries (B, T, D) to the keys and values of a source that `keys_values` made -> (B, T, D), scores."""

    def __init__(self, hidden: int, heads: int, parts: Parts) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (parts.linear(hidden, hidden) for _ in range(4))
        self.core = parts.attention()

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, D) -> keys and values (B, h, S, d)."""
        return split_heads(self.key(source), self.heads), split_heads(self.value(source), self.heads)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        context, scores = self.core(split_heads(self.query(x), self.heads), keys, values, mask)
        return self.out(merge_heads(context)), scores


class FeedForward(nn.Module):
    """(B, T, D) -> (B, T, D)."""

    def __init__(self, hidden: int, inner: int, parts: Parts) -> None:
        super().__init__()
        self.up = parts.linear(hidden, inner)
        self.down = parts.linear(inner, hidden, signed=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(nn.functional.gelu(self.up(x)))
        return out


class Embed(nn.Module):
    """Word vectors (B, T, D) of positions first..first+T-1 -> (B, T, D)."""

    def __init__(self, config: TernaryBartConfig) -> None:
        super().__init__()
        self.position = nn.Embedding(config.positions + POSITION_OFFSET, config.hidden)
        self.norm = nn.LayerNorm(config.hidden, NORM_EPS)

    def forward(self, words: Tensor, first: int) -> Tensor:
        begin = first + POSITION_OFFSET
        end = begin + words.shape[1]
        if end > self.position.num_embeddings:
            most = self.position.num_embeddings - POSITION_OFFSET
            raise UsageError(f"{end - POSITION_OFFSET} tokens: this network takes at most {most}")
        out: Tensor = self.norm(words + self.position.weight[begin:end])
        return out


class EncoderLayer(nn.Module):
    """(B, S, D) -> (B, S, D), scores."""

    def __init__(self, config: TernaryBartConfig, parts: Parts) -> None:
        super().__init__()
        self.attention = Attention(config.hidden, config.encoder_heads, parts)
        self.attention_norm = nn.LayerNorm(config.hidden, NORM_EPS)
        self.ffn = FeedForward(config.hidden, config.encoder_ffn, parts)
        self.norm = nn.LayerNorm(config.hidden, NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        y, scores = self.attention(x, *self.attention.keys_values(x), mask)
        x = self.attention_norm(x + self.dropout(y))
        return self.norm(x + self.dropout(self.ffn(x))), scores


@dataclass
class LayerCache:
    """Float keys and values (B, h, T, d) of what one decoder layer has seen, and those of the encoder's output."""

    keys: Tensor | None
    values: Tensor | None
    source_keys: Tensor
    source_values: Tensor

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.keys is None or self.values is None:
            self.keys, self.values = keys, values
        else:
            self.keys, self.values = torch.cat((self.keys, keys), 2), torch.cat((self.values, values), 2)
        return self.keys, self.values


class DecoderLayer(nn.Module):
    """(B, T, D) -> (B, T, D), scores among the target, scores to the source."""

    def __init__(self, config: TernaryBartConfig, parts: Parts) -> None:
        super().__init__()
        self.attention = Attention(config.hidden, config.decoder_heads, parts)
        self.attention_norm = nn.LayerNorm(config.hidden, NORM_EPS)
        self.cross = Attention(config.hidden, config.decoder_heads, parts)
        self.cross_norm = nn.LayerNorm(config.hidden, NORM_EPS)
        self.ffn = FeedForward(config.hidden, config.decoder_ffn, parts)
        self.norm = nn.LayerNorm(config.hidden, NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: LayerCache, causal: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, scores = self.attention(x, *cache.extend(*self.attention.keys_values(x)), causal)
        x = self.attention_norm(x + self.dropout(y))
        y, cross_scores = self.cross(x, cache.source_keys, cache.source_values, mask)
        x = self.cross_norm(x + self.dropout(y))
        return self.norm(x + self.dropout(self.ffn(x))), scores, cross_scores


class Encoder(nn.Module):
    """Word vectors (B, S, D), mask (B, 1, 1, S) -> hidden states of the embedding and each layer, scores of each."""

    def __init__(self, config: TernaryBartConfig, parts: Parts) -> None:
        super().__init__()
        self.embed = Embed(config)
        self.layers = nn.ModuleList(EncoderLayer(config, parts) for _ in range(config.encoder_layers))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, words: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        hidden, all_scores = [self.dropout(self.embed(words, 0))], []
        for layer in self.layers:
            x, scores = layer(hidden[-1], mask)
            hidden.append(x)
            all_scores.append(scores)
        return hidden, all_scores


class Decoder(nn.Module):
    """The layers that write; driven by TernaryBart.decode."""

    def __init__(self, config: TernaryBartConfig, parts: Parts) -> None:
        super().__init__()
        self.embed = Embed(config)
        self.layers = nn.ModuleList(DecoderLayer(config, parts) for _ in range(config.decoder_layers))
        self.dropout = nn.Dropout(config.dropout)


@dataclass
class Cache:
    """What decoding has seen so far; made by `TernaryBart.start`, extended by each `decode`."""

    layers: list[LayerCache]
    mask: Tensor  # (B, 1, 1, S), added to scores of the source
    length: int = 0


@dataclass(frozen=True)
class Features:
    """A forward pass with everything that distillation looks at; probabilities are softmax of the scores."""

    logits: Tensor  # (B, T, vocabulary)
    encoder_hidden: list[Tensor] = field(default_factory=list)  # (B, S, D), embedding and every layer
    decoder_hidden: list[Tensor] = field(default_factory=list)  # (B, T, D)
    encoder_scores: list[Tensor] = field(default_factory=list)  # (B, h, S, S)
    decoder_scores: list[Tensor] = field(default_factory=list)  # (B, h, T, T)
    cross_scores: list[Tensor] = field(default_factory=list)  # (B, h, T, S)


class TernaryBart(nn.Module):
    """Source ids and mask (B, S), target ids (B, T) -> logits (B, T, vocabulary) of the next target token."""

    def __init__(self, config: TernaryBartConfig, *, quantised: bool = True) -> None:
        super().__init__()
        self.config = config
        parts = Parts(config, quantised=quantised)
        self.words = parts.embedding()
        self.encoder = Encoder(config, parts)
        self.decoder = Decoder(config, parts)
        separate = config.head in ("separate", "int8")
        shape = (config.vocabulary, config.hidden)
        self.register_parameter("head", nn.Parameter(torch.zeros(shape)) if separate else None)
        self.register_buffer("head_bias", torch.zeros(1, config.vocabulary))
        self.quantised_head = config.head if quantised and config.head in ("quantised", "int8") else None

    head: nn.Parameter | None
    head_bias: Tensor

    def forward(self, ids: Tensor, mask: Tensor, target: Tensor) -> Tensor:
        return self.features(ids, mask, target).logits

    def features(self, ids: Tensor, mask: Tensor, target: Tensor) -> Features:
        """Teacher forcing: all target tokens at once."""
        hidden, scores = self.encoder(self.words(ids), _added(mask))
        decoded = self.decode(target, self.start(hidden[-1], mask))
        return Features(
            decoded.logits, hidden, decoded.decoder_hidden, scores, decoded.decoder_scores, decoded.cross_scores
        )

    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Source ids and mask (B, S) -> (B, S, D)."""
        hidden: list[Tensor] = self.encoder(self.words(ids), _added(mask))[0]
        return hidden[-1]

    def start(self, encoded: Tensor, mask: Tensor) -> Cache:
        """An empty cache for an encoded source (B, S, D) with mask (B, S)."""
        layers = (layer for layer in self.decoder.layers if isinstance(layer, DecoderLayer))
        return Cache([LayerCache(None, None, *layer.cross.keys_values(encoded)) for layer in layers], _added(mask))

    def decode(self, target: Tensor, cache: Cache) -> Features:
        """The next target tokens (B, T), after those in the cache, which is extended."""
        new, seen = target.shape[1], cache.length
        causal = torch.full((new, seen + new), -torch.inf).triu(seen + 1)
        hidden = [self.decoder.dropout(self.decoder.embed(self.words(target), seen))]
        decoder_scores, cross_scores = [], []
        for layer, layer_cache in zip(self.decoder.layers, cache.layers, strict=True):
            x, scores, cross = layer(hidden[-1], layer_cache, causal, cache.mask)
            hidden.append(x)
            decoder_scores.append(scores)
            cross_scores.append(cross)
        cache.length += new
        return Features(self._logits(hidden[-1]), [], hidden, [], decoder_scores, cross_scores)

    @torch.no_grad()
    def generate(self, ids: Tensor, mask: Tensor, *, longest: int) -> Tensor:
        """Greedy decoding with a cache: (B, up to longest) ids without the start token; padding after the end."""
        if longest < 1:
            raise UsageError(f"longest: must be at least 1, got {longest}")
        cache = self.start(self.encode(ids, mask), mask)
        token = torch.full((ids.shape[0], 1), self.config.start)
        ended = torch.zeros_like(token, dtype=torch.bool)
        written: list[Tensor] = []
        while len(written) < longest and not bool(ended.all()):
            token = self.decode(token, cache).logits.argmax(-1).masked_fill(ended, self.config.padding)
            ended |= token == self.config.end
            written.append(token)
        return torch.cat(written, 1)

    def _logits(self, x: Tensor) -> Tensor:
        table: Tensor = self.words.get_parameter("weight") if self.head is None else self.head
        if self.quantised_head == "int8":
            row = partial(dynamic.signed, clip=math.inf, per_row=True)
            return product(row(x), row(table).mT) + self.head_bias
        if self.quantised_head:
            table = ternary.weights(table, self.config.weight_bits).values
        return nn.functional.linear(x, table) + self.head_bias


def build(config: TernaryBartConfig, *, quantised: bool = True) -> TernaryBart:
    """A fresh network from torch's random generator; quantised=False gives the float twin, an ordinary BART."""
    return TernaryBart(config, quantised=quantised)


def load_latents(model: TernaryBart, state: Mapping[str, Tensor]) -> None:
    """Start from the float twin; raises FormatError naming a tensor that does not fit."""
    _latents.load("ternary BART", model, state)


def packed(config: TernaryBartConfig) -> PackedBart:
    """The deployed network with all weights zero, to be filled from a package."""
    return PackedBart(config).eval()


def pack(model: TernaryBart) -> PackedBart:
    """The deployed form of a trained network."""
    face = packed(model.config)
    face.take(model)
    return face


def methods(net: PackedBart, given: Mapping[str, object]) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """`encode` and `decode` for one source of at most given["source"] tokens and a target of given["target"]."""
    sizes = [given.get(name) for name in ("source", "target")]
    if not all(type(size) is int and 0 < size <= net.config.positions for size in sizes):
        raise FormatError(f'config.json: "input" must hold "source" and "target", 1 to {net.config.positions} tokens')
    source, target = (int(str(size)) for size in sizes)
    return _packed_bart.methods(Session(net, source=source, target=target))


def scheme(config: TernaryBartConfig) -> str:
    """As the paper writes it."""
    return f"W{config.weight_bits}A{config.activation_bits}"


def _added(mask: Tensor) -> Tensor:
    return (1 - mask[:, None, None].float()) * MASKED
