"""Softmax attention between heads, float and low-bit: (B, h, T, d) and (B, h, S, d) -> context (B, h, T, d), scores.

`mask` (broadcasting against (B, h, T, S)) is added to the scores; the scores that are given back include it.
"""

from collections.abc import Callable

from torch import Tensor, nn

from edgeq.schemes.quantised import Quantised, product

Quantiser = Callable[[Tensor], Quantised]


class SoftmaxAttention(nn.Module):
    """Float."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        scores = (query * query.shape[-1] ** -0.5) @ key.mT + mask
        return scores.softmax(-1) @ value, scores


class LowBitAttention(nn.Module):
    """Queries, keys, values and probabilities are quantised; the context is a sum of integers, scaled once.

    quantiser     makes one quantiser, for signed operands or for the probabilities
    scales_query  1 / sqrt(d) multiplies the query in front of its quantiser (TBT), not the scores (BiT)
    """

    def __init__(self, quantiser: Callable[[bool], Quantiser], *, scales_query: bool) -> None:
        super().__init__()
        self.query, self.key, self.value = (quantiser(True) for _ in range(3))
        self.probabilities = quantiser(False)
        self.scales_query = scales_query

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        scale = query.shape[-1] ** -0.5
        q = self.query(query * scale if self.scales_query else query)
        scores = product(q, self.key(key).mT)
        scores = (scores if self.scales_query else scores * scale) + mask
        return product(self.probabilities(scores.softmax(-1)), self.value(value)), scores
