"""Attention between packed operands, deploy face: scores and contexts are sums of integers, scaled once.

Queries, keys and values come as operands (B, tokens, heads * d); the context goes out as (B, tokens, heads * d), as
floats or, where it is a sum of signs, at once as the signs that the next layer reads. mask (B, keys) uint8: a key with
0 has probability 0; if all keys of a row are masked, none counts as masked. used (1,) int64: only so many keys exist,
the rest is the empty part of a cache.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq.nn.attention import LowBitAttention, Quantiser
from edgeq.nn.elastic import Elastic
from edgeq.nn.packed_operands import Operand, PackedQuantiser, Signs
from edgeq.ops import Keep, Probability, Want
from edgeq.schemes.elastic import ALPHA_MIN


class PackedAttention(nn.Module):
    """What makes its operands (`query`, `key`, `value`), and how it weighs and sums."""

    query: PackedQuantiser
    key: PackedQuantiser
    value: PackedQuantiser

    def take(self, trained: nn.Module) -> None:
        """Copy what was learnt."""

    def forward(
        self,
        query: Operand,
        key: Operand,
        value: Operand,
        then: PackedQuantiser,
        mask: Tensor | None,
        *,
        causal: bool = False,
        used: Tensor | None = None,
    ) -> Tensor | Operand:
        """The context: floats, or what `then`, the quantiser of the next layer, makes of them."""
        raise AssertionError(f"{type(self).__name__} has no rule")


class SignAttention(PackedAttention):
    """Over signs: a key counts or not, the context is a sum of signs.

    keep  POSITIVE: where its score is > 0 (BiBERT); SOFTMAX: where its probability is above half a step (BiT, TBT)
    """

    steps: Tensor

    def __init__(self, features: int, heads: int, keep: Keep, *, scales_query: bool = False) -> None:
        super().__init__()
        self.features, self.heads, self.keep, self.scales_query = features, heads, keep, scales_query
        self.query, self.key, self.value = (Signs(features) for _ in range(3))
        self.register_buffer("steps", torch.tensor([1.0, 0.0, 1.0]))  # of scores; half that of probabilities; context

    def take(self, trained: nn.Module) -> None:
        if isinstance(trained, LowBitAttention):
            query, key, value, p = (
                _alpha(q) for q in (trained.query, trained.key, trained.value, trained.probabilities)
            )
            by = 1.0 if self.scales_query else (self.features // self.heads) ** -0.5
            self.steps.copy_(torch.tensor([query * key * by, p / 2, p * value], dtype=torch.float64))

    def forward(
        self,
        query: Operand,
        key: Operand,
        value: Operand,
        then: PackedQuantiser,
        mask: Tensor | None,
        *,
        causal: bool = False,
        used: Tensor | None = None,
    ) -> Operand:
        assert isinstance(then, Signs)
        planes: Tensor = ops.attention_b1(
            query.codes,
            key.codes,
            value.codes,
            self.features,
            self.heads,
            self.keep,
            0,
            self.steps,
            then.threshold,
            mask,
            used,
            int(causal),
            Want.T2,
        )[1]
        return Operand("t2", planes)


class CodeAttention(PackedAttention):
    """Over int8 codes: softmax of integer scores, probabilities as codes, the context from integers.

    operands      what makes queries, keys and values: constant steps, or one dynamic scale for the whole tensor
    probability   STEP: codes 0..top of a learnt step; SHIFT: the same above the minimum of all; UNIT, RANGE: the whole
                  grid 0..top lies between 0 and 1, or between the minimum and the maximum of all
    scales_query  1 / sqrt(d) was applied to the query (by its linear layer), not to the scores
    """

    steps: Tensor

    def __init__(
        self,
        heads: int,
        operands: tuple[PackedQuantiser, PackedQuantiser, PackedQuantiser],
        probability: Probability,
        top: int,
        *,
        d: int,
        scales_query: bool,
    ) -> None:
        super().__init__()
        self.heads, self.probability, self.top = heads, probability, top
        self.by = 1.0 if scales_query else d**-0.5
        self.query, self.key, self.value = operands
        self.register_buffer("steps", torch.ones(3))  # of scores, values, probabilities

    def take(self, trained: nn.Module) -> None:
        assert isinstance(trained, LowBitAttention)
        pairs = ((self.query, trained.query), (self.key, trained.key), (self.value, trained.value))
        query, key, value = (ours.take(theirs, None) for ours, theirs in pairs)
        self.steps.copy_(
            torch.tensor([query * key * self.by, value, _alpha(trained.probabilities)], dtype=torch.float64)
        )

    def forward(
        self,
        query: Operand,
        key: Operand,
        value: Operand,
        then: PackedQuantiser,
        mask: Tensor | None,
        *,
        causal: bool = False,
        used: Tensor | None = None,
    ) -> Tensor:
        steps = self.steps
        if query.rows is not None and key.rows is not None and value.rows is not None:
            scores = query.rows[0, :1] * key.rows[0, :1] * self.by
            steps = torch.cat((scores, value.rows[0, :1], steps[2:]))
        context: Tensor = ops.attention_i8(
            query.codes,
            key.codes,
            value.codes,
            self.heads,
            self.probability,
            self.top,
            0,
            steps,
            mask,
            used,
            int(causal),
        )
        return context


def _alpha(trained: Quantiser) -> float:
    """The learnt step of an elastic quantiser; others need none here."""
    return float(trained.alpha.detach().clamp_min(ALPHA_MIN)) if isinstance(trained, Elastic) else 1.0
