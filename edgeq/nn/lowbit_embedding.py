"""Embedding table with low-bit rows; only the rows that are looked up are quantised and get a gradient."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgeq.schemes.quantised import Quantised

RowQuantiser = Callable[[Tensor, Tensor], Quantised]


class LowBitEmbedding(nn.Module):
    """ids (...) int64 -> (..., D) float32.

    quantise_rows  of (rows (..., D), whole table (N, D)): a scheme may need statistics of the table
    padding        id whose row gets no gradient
    """

    def __init__(self, rows: int, features: int, *, quantise_rows: RowQuantiser, padding: int | None = None) -> None:
        super().__init__()
        self.quantise_rows = quantise_rows
        self.padding = padding
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(rows, features), std=0.02))  # (N, D) latents

    def forward(self, ids: Tensor) -> Tensor:
        rows = nn.functional.embedding(ids, self.weight, self.padding)
        return self.quantise_rows(rows, self.weight).values
