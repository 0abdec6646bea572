"""Embedding table with one byte per entry and one scale per row, deploy face."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeq import ops


class Int8Embedding(nn.Module):
    """ids (...) int64 -> (..., H) float32, row = codes * scale."""

    codes: Tensor
    scale: Tensor

    def __init__(self, rows: int, features: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(rows, features, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(rows))

    @classmethod
    def from_float(cls, table: nn.Embedding) -> Int8Embedding:
        """Rounded to the nearest of 255 levels between the row's extremes; a row of zeros stays one."""
        weight = table.weight.detach().float()
        self = cls(*weight.shape)
        largest = weight.abs().amax(1, keepdim=True)
        self.scale.copy_(largest[:, 0] / 127)
        self.codes.copy_((weight * (127 / largest.clamp_min(torch.finfo(torch.float32).tiny))).round())
        return self

    def forward(self, ids: Tensor) -> Tensor:
        rows: Tensor = ops.embedding_i8(ids, self.codes, self.scale)
        return rows
