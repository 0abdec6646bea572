"""Layers of BiViT, deploy face: signs with a zero (t2) travel between layers, attention needs no softmax.

sign(0) = 0, as the network was trained: where a layer's input is a sign it has two planes. The sums are integers here,
scaled once; the train face adds scaled signs in float, so that the two agree within rounding.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq._errors import FormatError
from edgeq.nn.bivit import BivitAttention, BivitLinear, BivitMlp, Rule
from edgeq.nn.packed import pack_bits
from edgeq.nn.tuning import TuningPass, layer_norm
from edgeq.ops import Act, Want
from edgeq.schemes import centred, softmax_aware

LinearFormat = Literal["b1t2", "b1f32", "f32f32"]


class PackedBivitLinear(nn.Module):
    """(..., I) -> (..., O): alpha[o] (w . x)[o] + bias[o].

    b1t2    w signs, x two planes (2, ..., row) of signs
    b1f32   w signs, x float32
    f32f32  w and x float32: layers that were not quantised
    """

    weight: Tensor
    params: Tensor

    def __init__(self, in_features: int, out_features: int, format: LinearFormat) -> None:
        super().__init__()
        self.in_features, self.format = in_features, format
        row = ops.row_bytes(in_features)
        shapes: dict[LinearFormat, tuple[int, ...]] = {
            "b1t2": (out_features, row),
            "b1f32": (1, out_features, row),  # planes first
            "f32f32": (out_features, in_features),
        }
        dtype = torch.float32 if format == "f32f32" else torch.uint8
        self.register_buffer("weight", torch.zeros(shapes[format], dtype=dtype))
        self.register_buffer("params", torch.zeros(2, out_features))  # alpha, bias

    @classmethod
    def from_trained(cls, layer: BivitLinear, rows: slice = slice(None)) -> PackedBivitLinear:
        """Some rows of a trained layer.

        raises  FormatError where a weight equals its row's mean: one bit has no zero
        """
        o, k = layer.weight[rows].shape
        self = cls(k, o, format_of(layer))
        if not layer.quantised:
            self.weight.copy_(layer.weight.detach()[rows])
            self.params.copy_(ops.stack_params(torch.ones(o), layer.bias[rows]))
            return self
        signs = centred.weight_codes(layer.weight)[rows]
        if (where := (signs == 0).nonzero()).numel():
            raise FormatError(
                f"weight {where[0].tolist()}: equals its row's mean, so its sign is 0, which one bit has not"
            )
        self.weight.copy_(pack_bits(signs > 0).view_as(self.weight))
        self.params.copy_(ops.stack_params(layer.scale()[rows], layer.bias[rows]))
        return self

    def forward(
        self, x: Tensor, residual: Tensor | None = None, *, act: Act = Act.NONE, want: Want = Want.MAP
    ) -> Tensor:
        """act(... + residual) as a float map, or as planes of its sign (want T2)."""
        if self.format == "b1t2":
            out, bits, _ = ops.linear_b1t2(x, self.weight, self.in_features, act, self.params, residual, None, want)
        else:
            linear = ops.linear_b1f32 if self.format == "b1f32" else ops.linear_f32f32
            out, bits, _ = linear(x, self.weight, None, act, self.params, residual, None, None, want)
        found: Tensor = bits if want == Want.T2 else out
        return found


def format_of(layer: BivitLinear) -> LinearFormat:
    if not layer.quantised:
        return "f32f32"
    return "b1t2" if layer.binary_input else "b1f32"


class PackedLayerNorm(nn.Module):
    """(..., k) float32 -> normalised, as a float map or as planes of its sign."""

    gamma: Tensor
    beta: Tensor

    def __init__(self, k: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("gamma", torch.ones(k))
        self.register_buffer("beta", torch.zeros(k))

    def copy_from(self, norm: nn.LayerNorm) -> None:
        self.gamma.copy_(norm.weight.detach())
        self.beta.copy_(norm.bias.detach())

    def forward(self, x: Tensor, want: Want, tuning: TuningPass | None = None) -> Tensor:
        correction = None if tuning is None else tuning.site(self, torch.stack([self.gamma, self.beta]))
        out, planes = layer_norm(x, None, self.gamma, self.beta, self.eps, want=want, correction=correction)
        return planes if want == Want.T2 else out


class PackedBivitAttention(nn.Module):
    """(2, B, N, row of dim) signs, and what is added to the result -> (B, N, dim) float32."""

    steps: Tensor

    def __init__(self, dim: int, heads: int, *, rule: Rule) -> None:
        super().__init__()
        self.dim, self.heads, self.rule = dim, heads, rule
        self.register_buffer("steps", torch.tensor([0.0, 0.0, 1.0]))  # no softmax; the context is not scaled
        self.q, self.k, self.v, self.proj = (PackedBivitLinear(dim, dim, "b1t2") for _ in range(4))

    @classmethod
    def from_trained(cls, layer: BivitAttention) -> PackedBivitAttention:
        dim = layer.proj.weight.shape[0]
        self = cls(dim, layer.heads, rule=layer.rule)
        parts = (slice(i * dim, (i + 1) * dim) for i in range(3))
        self.q, self.k, self.v = (PackedBivitLinear.from_trained(layer.qkv, part) for part in parts)
        self.proj = PackedBivitLinear.from_trained(layer.proj)
        return self

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        q, k, v = (layer(x, want=Want.T2) for layer in (self.q, self.k, self.v))
        out: Tensor = self.proj(self.context(q, k, v), residual)
        return out

    def context(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Signs (2, B, N, row) each -> the sign of the sum of the kept values, (2, B, N, row)."""
        near = self.rule == "sab"
        margin = softmax_aware.dot_margin(self.dim // self.heads) if near else 0
        keep = ops.Keep.NEAR if near else ops.Keep.POSITIVE
        _, planes = ops.attention_b1(
            q, k, v, self.dim, self.heads, keep, margin, self.steps, None, None, None, 0, Want.T2
        )
        found: Tensor = planes
        return found


class PackedBivitMlp(nn.Module):
    """fc1, GELU, fc2, and what is added: x as its layers take it -> (..., dim) float32."""

    def __init__(self, dim: int, hidden: int, format: LinearFormat) -> None:
        super().__init__()
        self.format = format
        self.fc1, self.fc2 = PackedBivitLinear(dim, hidden, format), PackedBivitLinear(hidden, dim, format)

    @classmethod
    def from_trained(cls, layer: BivitMlp) -> PackedBivitMlp:
        hidden, dim = layer.fc1.weight.shape
        self = cls(dim, hidden, format_of(layer.fc1))
        self.fc1, self.fc2 = (PackedBivitLinear.from_trained(fc) for fc in (layer.fc1, layer.fc2))
        return self

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        want = Want.T2 if self.format == "b1t2" else Want.MAP
        y: Tensor = self.fc2(self.fc1(x, act=Act.GELU, want=want), residual)
        return y
