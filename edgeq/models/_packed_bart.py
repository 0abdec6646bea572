"""Ternary and binary BART, deploy face: packed layers, and a cache of keys and values as small as their codes.

A program has two methods that share the cache: `encode` reads a source and begins, `decode` writes one more token.
What the cache holds: planes of signs (1 bit), codes (2 bits, and 8 bits with constant steps), or floats, where the
authors' arithmetic quantises all of it again at every step (8 bits, scales="tensor").
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq._errors import UsageError
from edgeq.nn.attention import LowBitAttention
from edgeq.nn.lowbit_embedding import LowBitEmbedding
from edgeq.nn.lowbit_linear import LowBitLinear
from edgeq.nn.packed_attention import CodeAttention, PackedAttention, SignAttention
from edgeq.nn.packed_lowbit import PackedLowBitEmbedding, PackedLowBitLinear, PackedNorm, WeightBits
from edgeq.nn.packed_operands import Dynamic, Operand, PackedQuantiser, Steps, elastic_quantiser
from edgeq.ops import Act, Keep, Probability, Quant, Want, row_bytes
from edgeq.schemes import dynamic, fixed, ternary
from edgeq.schemes.elastic import Grid, ternary_grid

if TYPE_CHECKING:
    from edgeq.models import ternary_bart
    from edgeq.models.ternary_bart import TernaryBart, TernaryBartConfig

NORM_EPS = 1e-5
POSITION_OFFSET = 2  # rows of the position tables that no position uses


class Parts:
    """Which packed layers a configuration asks for."""

    def __init__(self, config: TernaryBartConfig) -> None:
        self.config = config
        self.weight_bits = cast(WeightBits, config.weight_bits)
        self.fixed = config.activation_bits == 8 and config.scales == "row"

    def linear(self, i: int, o: int, *, signed: bool = True, act: Act = Act.NONE) -> PackedLowBitLinear:
        return PackedLowBitLinear(i, o, self._activation(i, signed), weight_bits=self.weight_bits, act=act)

    def attention(self, heads: int) -> PackedAttention:
        config, unsigned = self.config, ternary_grid(self.config.activation_bits, signed=False)
        if config.activation_bits == 1:
            return SignAttention(config.hidden, heads, Keep.SOFTMAX, scales_query=True)
        top = unsigned.high
        if self.fixed:
            probability, top = Probability.UNIT, fixed.PROBABILITY_TOP
        elif config.activation_bits == 8:
            probability, top = Probability.RANGE, fixed.PROBABILITY_TOP
        else:
            probability = Probability.SHIFT if config.scales == "tensor" else Probability.STEP
        operands = (self._operand(), self._operand(), self._operand())
        d = config.hidden // heads
        return CodeAttention(heads, operands, probability, top, d=d, scales_query=not self.fixed)

    def _operand(self) -> PackedQuantiser:
        if self.fixed:
            return Steps(self.config.hidden, Grid(8, -fixed.SIGNED_TOP, fixed.SIGNED_TOP))
        return self._activation(self.config.hidden, True)

    def _activation(self, features: int, signed: bool) -> PackedQuantiser:
        config = self.config
        if config.activation_bits == 8:
            return Dynamic(math.inf if config.scales == "row" else config.clip, config.scales, signed=signed)
        return elastic_quantiser(ternary_grid(config.activation_bits, signed=signed), features, over=config.scales)


class Attention(nn.Module):
    """Queries (B, T, D) to the cached keys and values of a source -> (B, T, D)."""

    def __init__(self, hidden: int, heads: int, parts: Parts) -> None:
        super().__init__()
        self.heads, self.hidden = heads, hidden
        self.query, self.key, self.value, self.out = (parts.linear(hidden, hidden) for _ in range(4))
        self.core = parts.attention(heads)

    def take(self, trained: ternary_bart.Attention) -> None:
        core = cast(LowBitAttention, trained.core)
        gain = (self.hidden // self.heads) ** -0.5 if core.scales_query else 1.0
        self.query.take(cast(LowBitLinear, trained.query), gain=gain)
        for name in ("key", "value", "out"):
            getattr(self, name).take(getattr(trained, name))
        self.core.take(core)

    @property
    def keeps_floats(self) -> bool:
        """Whether scales of keys and values hang on the whole cache."""
        return isinstance(self.core.key, Dynamic)

    def entries(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, D) -> what the cache keeps of keys and values: (2, B, S, row), or (B, S, D) int8 or float32."""
        if self.keeps_floats:
            return self.key(source), self.value(source)
        return self.key.quantised(source, self.core.key).codes, self.value.quantised(source, self.core.value).codes

    def forward(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor | None,
        *,
        causal: bool = False,
        used: Tensor | None = None,
    ) -> Tensor:
        core = self.core
        query = self.query.quantised(x, core.query)
        if self.keeps_floats:
            key, value = core.key(keys), core.value(values)
        else:
            key, value = Operand(core.key.kind, keys), Operand(core.value.kind, values)
        out: Tensor = self.out(core(query, key, value, self.out.quantise, mask, causal=causal, used=used))
        return out

    def empty(self, batch: int, length: int) -> Tensor:
        """A cache for keys or values of `length` tokens."""
        if self.keeps_floats:
            return torch.zeros(batch, length, self.hidden)
        if self.core.key.kind == "t2":
            return torch.zeros(2, batch, length, row_bytes(self.hidden), dtype=torch.uint8)
        return torch.zeros(batch, length, self.hidden, dtype=torch.int8)


class FeedForward(nn.Module):
    """(B, T, D) -> (B, T, D)."""

    def __init__(self, hidden: int, inner: int, parts: Parts) -> None:
        super().__init__()
        self.up = parts.linear(hidden, inner, act=Act.GELU)
        self.down = parts.linear(inner, hidden, signed=False)

    def take(self, trained: ternary_bart.FeedForward) -> None:
        self.up.take(cast(LowBitLinear, trained.up))
        self.down.take(cast(LowBitLinear, trained.down))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(self.up.quantised(x, self.down.quantise))
        return out


class Embed(nn.Module):
    """Word vectors (B, T, D) at positions (T,) -> (B, T, D)."""

    def __init__(self, config: TernaryBartConfig) -> None:
        super().__init__()
        self.position = nn.Embedding(config.positions + POSITION_OFFSET, config.hidden)
        self.norm = PackedNorm(config.hidden, NORM_EPS)

    def take(self, trained: ternary_bart.Embed) -> None:
        self.position.weight.copy_(trained.position.weight)
        self.norm.take(trained.norm)

    def forward(self, words: Tensor) -> Tensor:
        """From position 0 on."""
        length, most = words.shape[1], self.position.num_embeddings - POSITION_OFFSET
        if length > most:
            raise UsageError(f"{length} tokens: this network takes at most {most}")
        out: Tensor = self.norm(words + self.position.weight[POSITION_OFFSET : POSITION_OFFSET + length])
        return out

    def at(self, words: Tensor, position: Tensor) -> Tensor:
        """Words (B, 1, D) at a position (1,) int64."""
        out: Tensor = self.norm(words + self.position(position + POSITION_OFFSET))
        return out


class EncoderLayer(nn.Module):
    """(B, S, D) -> (B, S, D)."""

    def __init__(self, config: TernaryBartConfig, parts: Parts) -> None:
        super().__init__()
        self.attention = Attention(config.hidden, config.encoder_heads, parts)
        self.attention_norm = PackedNorm(config.hidden, NORM_EPS)
        self.ffn = FeedForward(config.hidden, config.encoder_ffn, parts)
        self.norm = PackedNorm(config.hidden, NORM_EPS)

    def take(self, trained: ternary_bart.EncoderLayer) -> None:
        for name in ("attention", "attention_norm", "ffn", "norm"):
            getattr(self, name).take(getattr(trained, name))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention_norm(self.attention(x, *self.attention.entries(x), mask), x)
        out: Tensor = self.norm(self.ffn(x), x)
        return out


class DecoderLayer(nn.Module):
    """(B, T, D) -> (B, T, D)."""

    def __init__(self, config: TernaryBartConfig, parts: Parts) -> None:
        super().__init__()
        self.attention = Attention(config.hidden, config.decoder_heads, parts)
        self.attention_norm = PackedNorm(config.hidden, NORM_EPS)
        self.cross = Attention(config.hidden, config.decoder_heads, parts)
        self.cross_norm = PackedNorm(config.hidden, NORM_EPS)
        self.ffn = FeedForward(config.hidden, config.decoder_ffn, parts)
        self.norm = PackedNorm(config.hidden, NORM_EPS)

    def take(self, trained: ternary_bart.DecoderLayer) -> None:
        for name in ("attention", "attention_norm", "cross", "cross_norm", "ffn", "norm"):
            getattr(self, name).take(getattr(trained, name))

    def forward(
        self,
        x: Tensor,
        own: tuple[Tensor, Tensor],
        source: tuple[Tensor, Tensor],
        mask: Tensor,
        used: Tensor | None = None,
    ) -> Tensor:
        """own, source  cached keys and values; used (1,): of its own only so many exist, None: all, causally."""
        x = self.attention_norm(self.attention(x, *own, None, causal=used is None, used=used), x)
        x = self.cross_norm(self.cross(x, *source, mask), x)
        out: Tensor = self.norm(self.ffn(x), x)
        return out


class Head(nn.Module):
    """Hidden states (B, T, D) -> logits (B, T, V): floats times a float table or low-bit rows, or codes times codes."""

    weight: Tensor
    params: Tensor

    def __init__(self, config: TernaryBartConfig) -> None:
        super().__init__()
        self.kind, self.bits = config.head, config.weight_bits
        dtype = torch.int8 if self.kind in ("int8", "quantised") else torch.float32
        self.quantise = Dynamic(math.inf, "row", signed=True)
        self.register_buffer("weight", torch.zeros(config.vocabulary, config.hidden, dtype=dtype))
        self.register_buffer("params", torch.ones(2, config.vocabulary))  # scale, bias

    def take(self, trained: TernaryBart) -> None:
        table = cast(LowBitEmbedding, trained.words).weight if trained.head is None else trained.head
        self.params[1].copy_(trained.head_bias[0])
        if self.kind in ("int8", "quantised"):
            low_bit = self.kind == "quantised"
            rows = ternary.weights(table, self.bits) if low_bit else dynamic.signed(table, clip=math.inf, per_row=True)
            self.weight.copy_(rows.codes)
            self.params[0].copy_(rows.scale[:, 0])
        else:
            self.weight.copy_(table)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor
        if self.kind == "int8":
            operand = self.quantise(x)
            tail = (Act.NONE, self.params, None, None, None, Want.MAP)
            logits = ops.linear_i8i8(operand.codes, self.weight, operand.rows, *tail)[0]
        elif self.kind == "quantised":
            rows = ops.linear_i8f32(x.flatten(0, -2), self.weight, None, Quant.NONE, Act.NONE, self.params)
            logits = rows.view(*x.shape[:-1], -1)
        else:
            logits = nn.functional.linear(x, self.weight, self.params[1])
        return logits


class PackedBart(nn.Module):
    """Source ids and mask (B, S), target ids (B, T) int64 -> logits (B, T, vocabulary) of the next target token."""

    def __init__(self, config: TernaryBartConfig) -> None:
        super().__init__()
        self.config = config
        parts = Parts(config)
        self.words = PackedLowBitEmbedding(config.vocabulary, config.hidden, weight_bits=parts.weight_bits)
        self.source, self.target = Embed(config), Embed(config)
        self.encoder = nn.ModuleList(EncoderLayer(config, parts) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config, parts) for _ in range(config.decoder_layers))
        self.head = Head(config)

    @torch.no_grad()
    def take(self, trained: TernaryBart) -> None:
        """Copy what was learnt."""
        self.words.take(cast(LowBitEmbedding, trained.words))
        self.source.take(trained.encoder.embed)
        self.target.take(trained.decoder.embed)
        for ours, theirs in ((self.encoder, trained.encoder.layers), (self.decoder, trained.decoder.layers)):
            for layer, other in zip(ours, theirs, strict=True):
                cast(EncoderLayer, layer).take(cast("ternary_bart.EncoderLayer", other))
        self.head.take(trained)

    def forward(self, ids: Tensor, mask: Tensor, target: Tensor) -> Tensor:
        """Teacher forcing: all target tokens at once."""
        return self.logits(self.decoded(self.encoded(ids, mask)[-1], mask, target)[-1])

    def encoded(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """Hidden states of the encoder: the embedding and every layer, (B, S, D)."""
        hidden = [self.source(self.words(ids))]
        real = mask.to(torch.uint8)
        for layer in self.encoder:
            hidden.append(layer(hidden[-1], real))
        return hidden

    def decoded(self, encoded: Tensor, mask: Tensor, target: Tensor) -> list[Tensor]:
        """Hidden states of the decoder, (B, T, D)."""
        hidden = [self.target(self.words(target))]
        real = mask.to(torch.uint8)
        for layer in map(_decoder_layer, self.decoder):
            x = hidden[-1]
            hidden.append(layer(x, layer.attention.entries(x), layer.cross.entries(encoded), real))
        return hidden

    def logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x)
        return logits


class Session(nn.Module):
    """A packed BART with the memory of one source in the work: `encode`, then `decode` token after token.

    The memory holds `batch` sources of `source` tokens and as many targets of at most `target` tokens.
    """

    mask: Tensor

    def __init__(self, net: PackedBart, *, source: int, target: int, batch: int = 1) -> None:
        super().__init__()
        if max(source, target) > net.config.positions:
            raise UsageError(f"{max(source, target)} tokens: this network takes at most {net.config.positions}")
        self.net, self.batch, self.longest = net, batch, target
        self.register_buffer("mask", torch.zeros(batch, source, dtype=torch.uint8), persistent=False)
        for i, layer in enumerate(map(_decoder_layer, net.decoder)):
            for part in ("keys", "values"):
                own, cross = layer.attention.empty(batch, target), layer.cross.empty(batch, source)
                self.register_buffer(f"own_{part}_{i}", own, persistent=False)
                self.register_buffer(f"source_{part}_{i}", cross, persistent=False)

    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Begin with source ids and mask (B, S) int64; return the encoder's last hidden states (B, S, D)."""
        encoded = self.net.encoded(ids, mask)[-1]
        self.mask.copy_(mask.to(torch.uint8))
        for i, layer in enumerate(map(_decoder_layer, self.net.decoder)):
            for cache, entries in zip(self._pair("source", i), layer.cross.entries(encoded), strict=True):
                cache.copy_(entries)
            for cache in self._pair("own", i):
                cache.zero_()  # scales that hang on the whole cache must not see an earlier target
        return encoded

    def decode(self, token: Tensor, position: Tensor) -> Tensor:
        """The token (B, 1) int64 at position (1,) int64 -> logits (B, 1, V) of the next one."""
        x = self.net.target.at(self.net.words(token), position)
        for i, layer in enumerate(map(_decoder_layer, self.net.decoder)):
            own = self._pair("own", i)
            for cache, entry in zip(own, layer.attention.entries(x), strict=True):
                cache.index_copy_(cache.dim() - 2, position, entry)
            x = layer(x, own, self._pair("source", i), self.mask, position + 1)
        return self.net.logits(x)

    def _pair(self, owner: str, layer: int) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"{owner}_keys_{layer}"), self.get_buffer(f"{owner}_values_{layer}")


class Method(nn.Module):
    """One method of a session, as a module: what torch.export takes. All have the session's memory in common."""

    def __init__(self, session: Session, name: Literal["encode", "decode"]) -> None:
        super().__init__()
        self.session, self.name = session, name

    def forward(self, *inputs: Tensor) -> Tensor:
        result: Tensor = getattr(self.session, self.name)(*inputs)
        return result


def methods(session: Session) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """`encode` and `decode` with inputs of their shapes."""
    batch, source = session.mask.shape
    ids, mask = torch.zeros(batch, source, dtype=torch.int64), torch.ones(batch, source, dtype=torch.int64)
    token, position = torch.zeros(batch, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    return {
        "encode": (Method(session, "encode").eval(), (ids, mask)),
        "decode": (Method(session, "decode").eval(), (token, position)),
    }


def _decoder_layer(layer: nn.Module) -> DecoderLayer:
    assert isinstance(layer, DecoderLayer)
    return layer
