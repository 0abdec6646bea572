"""BiT: BERT with 1-bit weights and elastic activations of 1 to 8 bits.

Liu et al.: BiT: Robustly Binarized Multi-distilled Transformer, NeurIPS 2022, arXiv 2205.13016; details from the
authors' code (facebookresearch/bit). Each linear layer shifts its input by a learnt vector before it is quantised;
with 2 bits or more, unsigned activations start at the minimum of the whole batch (see `edgeq.schemes.elastic`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, cast

from torch import Tensor, nn

from edgeq._errors import UsageError
from edgeq.models import _bert, _latents
from edgeq.models._bert import Bert, BertConfig, Parts
from edgeq.models._packed_bert import PackedBert
from edgeq.nn.attention import LowBitAttention
from edgeq.nn.elastic import Elastic
from edgeq.nn.lowbit_embedding import LowBitEmbedding
from edgeq.nn.lowbit_linear import LowBitLinear
from edgeq.nn.packed_attention import CodeAttention, PackedAttention, SignAttention
from edgeq.nn.packed_operands import PackedQuantiser, elastic_quantiser
from edgeq.ops import Keep, Probability
from edgeq.schemes.around_mean import bit_weights
from edgeq.schemes.elastic import Grid, full_grid
from edgeq.schemes.quantised import Quantised


@dataclass(frozen=True, kw_only=True)
class BiTConfig(BertConfig):
    """A BERT, the bits of its activations, and whether weights have one scale per row or one per tensor.

    minima  what code 0 of unsigned activations of two or more bits stands for: the minimum of the whole batch, as in
            the paper, or 0, so that a result depends on no other sentence and on no padding; to be trained as such
    """

    bits: int = 1
    minima: Literal["batch", "zero"] = "batch"
    scale_per_row: bool = False
    embedding_scale_per_row: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.bits <= 8:
            raise UsageError(f"bits: activations have 1 to 8, got {self.bits}")
        if self.minima not in ("batch", "zero"):
            raise UsageError(f"minima: must be batch or zero, got {self.minima!r}")


Config = BiTConfig  # what `edgeq.models` calls it


class BiTParts(Parts):
    def __init__(self, config: BiTConfig) -> None:
        self.config = config

    def word_embedding(self, rows: int, features: int) -> nn.Module:
        def quantise(rows: Tensor, table: Tensor) -> Quantised:
            return bit_weights(rows, per_row=self.config.embedding_scale_per_row, table=table)

        return LowBitEmbedding(rows, features, quantise_rows=quantise, padding=_bert.PADDING)

    def linear(self, in_features: int, out_features: int) -> nn.Module:
        return self._linear(in_features, out_features, signed=True)

    def ffn_output(self, in_features: int, out_features: int) -> nn.Module:
        return self._linear(in_features, out_features, signed=False)

    def attention(self) -> nn.Module:
        return LowBitAttention(self._elastic, scales_query=False)

    def _elastic(self, signed: bool) -> Elastic:
        return Elastic(_grid(self.config, signed))

    def _linear(self, in_features: int, out_features: int, *, signed: bool) -> nn.Module:
        return LowBitLinear(
            in_features,
            out_features,
            quantise_input=self._elastic(signed),
            quantise_weight=partial(bit_weights, per_row=self.config.scale_per_row),
            moves=True,
        )


def build(config: BiTConfig, *, quantised: bool = True) -> Bert:
    """A fresh network from torch's random generator; quantised=False gives the float twin, an ordinary BERT."""
    return Bert(config, BiTParts(config)) if quantised else _bert.build(config)


def load_latents(model: Bert, state: Mapping[str, Tensor]) -> None:
    """Start from the float twin; raises FormatError naming a tensor that does not fit."""
    _latents.load("BiT", model, state)


class PackedBiTParts:
    """Each linear layer has a shift of its own in front of its quantiser, so none shares an operand."""

    signs = False
    tap_words = False  # on tweets worse by 1 to 6 points with 100 or 300 to learn from

    def __init__(self, config: BiTConfig) -> None:
        self.config = config

    def quantiser(self, features: int, *, signed: bool) -> PackedQuantiser:
        return elastic_quantiser(_grid(self.config, signed), features, moves=True)

    def attention(self, features: int, heads: int) -> PackedAttention:
        if self.config.bits == 1:
            return SignAttention(features, heads, Keep.SOFTMAX)
        query, key, value = (elastic_quantiser(_grid(self.config, True), features) for _ in range(3))
        unsigned = _grid(self.config, False)
        probability = Probability.SHIFT if unsigned.shifted else Probability.STEP
        return CodeAttention(
            heads, (query, key, value), probability, unsigned.high, d=features // heads, scales_query=False
        )


def packed(config: BiTConfig) -> PackedBert:
    """The deployed network with all weights zero, to be filled from a package."""
    return PackedBert(config, PackedBiTParts(config)).eval()


def pack(model: Bert) -> PackedBert:
    """The deployed form of a trained network."""
    face = packed(cast(BiTConfig, model.config))
    face.take(model)
    return face


def _grid(config: BiTConfig, signed: bool) -> Grid:
    return replace(full_grid(config.bits, signed=signed), from_zero=not signed and config.minima == "zero")


def scheme(config: BiTConfig) -> str:
    """As the paper writes it: bits of weights and activations."""
    return f"W1A{config.bits}"
