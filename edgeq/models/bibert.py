"""BiBERT: BERT with 1-bit weights, 1-bit activations and an attention without softmax.

Qin et al.: BiBERT: Accurate Fully Binarized BERT, ICLR 2022, arXiv 2203.06390; details from the authors' code
(htqin/BiBERT). sign(0) = 0 and the context of attention is a small integer, often 0: its codes are ternary.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from edgeq.models import _bert, _latents
from edgeq.models._bert import Bert, BertConfig, Parts
from edgeq.models._packed_bert import PackedBert
from edgeq.nn.lowbit_embedding import LowBitEmbedding
from edgeq.nn.lowbit_linear import LowBitLinear
from edgeq.nn.packed_attention import SignAttention
from edgeq.nn.packed_operands import Signs
from edgeq.ops import Keep
from edgeq.schemes import signs
from edgeq.schemes.around_mean import bibert_weights
from edgeq.schemes.quantised import product

BiBERTConfig = BertConfig
Config = BiBERTConfig  # what `edgeq.models` calls it


class BooleanAttention(nn.Module):
    """A key counts or not: score > 0; the context is a sum of signs of the values, an integer."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = (signs.attention_operand(x) for x in (query, key, value))
        scores = product(q, k.mT) * query.shape[-1] ** -0.5 + mask
        return product(signs.attention_bit(scores), v), scores


class BiBERTParts(Parts):
    def word_embedding(self, rows: int, features: int) -> nn.Module:
        return LowBitEmbedding(
            rows, features, quantise_rows=lambda rows, _table: bibert_weights(rows), padding=_bert.PADDING
        )

    def linear(self, in_features: int, out_features: int) -> nn.Module:
        return LowBitLinear(
            in_features, out_features, quantise_input=signs.linear_input, quantise_weight=bibert_weights
        )

    def attention(self) -> nn.Module:
        return BooleanAttention()


def build(config: BiBERTConfig, *, quantised: bool = True) -> Bert:
    """A fresh network from torch's random generator; quantised=False gives the float twin, an ordinary BERT."""
    return Bert(config, BiBERTParts()) if quantised else _bert.build(config)


def load_latents(model: Bert, state: Mapping[str, Tensor]) -> None:
    """Start from the float twin; raises FormatError naming a tensor that does not fit."""
    _latents.load("BiBERT", model, state)


class PackedBiBERTParts:
    """Every linear layer reads signs: those of a norm are formed once for all that read them."""

    signs = True
    tap_words = True  # on tweets better by 1 to 8 points with 100 or 300 to learn from: attention here forgets words

    def quantiser(self, features: int, *, signed: bool) -> Signs:
        return Signs(features)

    def attention(self, features: int, heads: int) -> SignAttention:
        return SignAttention(features, heads, Keep.POSITIVE)


def packed(config: BiBERTConfig) -> PackedBert:
    """The deployed network with all weights zero, to be filled from a package."""
    return PackedBert(config, PackedBiBERTParts()).eval()


def pack(model: Bert) -> PackedBert:
    """The deployed form of a trained network."""
    face = packed(model.config)
    face.take(model)
    return face


def scheme(config: BiBERTConfig) -> str:
    """As the paper writes it: bits of weights and activations."""
    return "W1A1"
