"""Linear layers, embeddings and norms of low-bit transformers, deploy face: packed weights, integer products.

A weight of exactly 0 has no place in one bit: it is packed as +1, and `edgeq.nn.lowbit_linear.zero_codes` counts how
many there are. Rows whose scale is 0 are 0 whatever their bits are.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq._errors import UnsupportedError
from edgeq.nn.lowbit_embedding import LowBitEmbedding
from edgeq.nn.lowbit_linear import LowBitLinear
from edgeq.nn.packed import pack_bits
from edgeq.nn.packed_operands import Operand, PackedQuantiser, Signs, Steps
from edgeq.nn.tuning import TuningPass, layer_norm
from edgeq.ops import Act, Want, row_bytes, stack_params
from edgeq.schemes.quantised import Quantised

WeightBits = Literal[1, 2]  # 2 are ternary


class PackedLowBitLinear(nn.Module):
    """LowBitLinear, and the activation function behind it: (..., I) float32 or an Operand -> (..., O)."""

    weight: Tensor
    params: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        quantise: PackedQuantiser,
        *,
        weight_bits: WeightBits = 1,
        act: Act = Act.NONE,
    ) -> None:
        super().__init__()
        if weight_bits == 2 and quantise.kind != "i8":
            raise UnsupportedError("ternary weights with 1-bit activations are not deployed; use 2 or 8 bits")
        self.features, self.weight_bits, self.act = in_features, weight_bits, act
        self.quantise = quantise
        self.register_buffer("weight", self._planes(empty_rows(out_features, in_features, weight_bits)))
        # scale and bias; what an input of 1 throughout would give, where code 0 of the operand is worth something
        self.register_buffer("params", torch.zeros(3 if quantise.shifted else 2, out_features))

    def take(self, trained: LowBitLinear, *, gain: float = 1.0) -> None:
        """Copy what was learnt; gain multiplies the result."""
        step = self.quantise.take(trained.quantise_input, trained.move)
        weight = trained.quantise_weight(trained.weight.detach())
        scale = _per_row(weight)
        self.weight.copy_(self._planes(pack_rows(weight.codes, self.weight_bits)))
        self.params[:2].copy_(stack_params(step * scale * gain, trained.bias * gain))
        if self.quantise.shifted:
            self.params[2].copy_(scale * weight.codes.sum(-1) * gain)

    def _planes(self, rows: Tensor) -> Tensor:
        """What the operator for the operand's kind reads: planes in front, or, between bits, none for one plane."""
        return rows[None] if self.weight_bits == 1 and self.quantise.kind == "i8" else rows

    def forward(self, x: Tensor | Operand) -> Tensor:
        """(..., O) float32."""
        return self._product(x, Want.MAP)[0]

    def quantised(self, x: Tensor | Operand, then: PackedQuantiser) -> Operand:
        """The result as the operand of the next product; floats never reach memory where the kernel can round."""
        if isinstance(then, Signs) and then.threshold is None:
            return Operand("t2", self._product(x, Want.T2)[1])
        if isinstance(then, Steps) and then.move is None:
            return Operand("i8", self._product(x, Want.CODES, then.grid)[2])
        operand: Operand = then(self._product(x, Want.MAP)[0])
        return operand

    def _product(self, x: Tensor | Operand, want: Want, grid: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        operand = self.quantise(x) if isinstance(x, Tensor) else x
        codes, tail = operand.codes, (self.act, self.params)
        results: tuple[Tensor, Tensor, Tensor]
        if operand.kind == "i8":
            linear = ops.linear_b1i8 if self.weight_bits == 1 else ops.linear_t2i8
            results = linear(codes, self.weight, operand.rows, *tail, None, None, grid, want)
        else:
            linear = ops.linear_b1t2 if operand.kind == "t2" else ops.linear_b1u1
            results = linear(codes, self.weight, self.features, *tail, None, grid, want)
        return results


class PackedLowBitEmbedding(nn.Module):
    """ids (...) int64 -> (..., D) float32; ids past the table are an error."""

    weight: Tensor
    scale: Tensor

    def __init__(self, rows: int, features: int, *, weight_bits: WeightBits = 1) -> None:
        super().__init__()
        self.features, self.weight_bits = features, weight_bits
        self.register_buffer("weight", empty_rows(rows, features, weight_bits))
        self.register_buffer("scale", torch.zeros(rows))

    def take(self, trained: LowBitEmbedding) -> None:
        table = trained.weight.detach()
        rows = trained.quantise_rows(table, table)
        self.weight.copy_(pack_rows(rows.codes, self.weight_bits))
        self.scale.copy_(_per_row(rows))

    def forward(self, ids: Tensor) -> Tensor:
        look_up = ops.embedding_b1 if self.weight_bits == 1 else ops.embedding_t2
        rows: Tensor = look_up(ids, self.weight, self.scale, self.features)
        return rows


class PackedNorm(nn.Module):
    """LayerNorm of a sum: (..., D) and (..., D) -> (..., D)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, features: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(features))
        self.register_buffer("bias", torch.zeros(features))

    def take(self, trained: nn.LayerNorm) -> None:
        self.weight.copy_(trained.weight.detach())
        self.bias.copy_(trained.bias.detach())

    def forward(
        self,
        x: Tensor,
        residual: Tensor | None = None,
        *,
        tuning: TuningPass | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """mask (B, T): which tokens count in what a tuning pass is told."""
        return self._results(x, residual, Want.MAP, tuning, mask)[0]

    def with_signs(
        self,
        x: Tensor,
        residual: Tensor | None = None,
        *,
        tuning: TuningPass | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Operand]:
        """The result, and its signs for the layers that read nothing else."""
        y, planes = self._results(x, residual, Want.MAP | Want.T2, tuning, mask)
        return y, Operand("t2", planes)

    def _results(
        self, x: Tensor, residual: Tensor | None, want: Want, tuning: TuningPass | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        correction = None if tuning is None else tuning.site(self, torch.stack([self.weight, self.bias]))
        affine = self.weight, self.bias, self.eps
        return layer_norm(x, residual, *affine, want=want, correction=correction, mask=mask)


def empty_rows(rows: int, features: int, bits: WeightBits) -> Tensor:
    """(rows, row_bytes(features)) uint8, with two planes in front for ternary codes."""
    row = row_bytes(features)
    return torch.zeros((rows, row) if bits == 1 else (2, rows, row), dtype=torch.uint8)


def pack_rows(codes: Tensor, bits: WeightBits) -> Tensor:
    """Codes -1, 0, 1 (rows, k) as `empty_rows` lays them out."""
    return pack_bits(codes >= 0) if bits == 1 else torch.stack([pack_bits(codes > 0), pack_bits(codes != 0)])


def _per_row(weight: Quantised) -> Tensor:
    return weight.scale.expand(*weight.codes.shape[:-1], 1)[..., 0]
