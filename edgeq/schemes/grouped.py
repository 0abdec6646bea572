"""Weights as integers in groups along the input: the one form that every imported layout is turned into.

    w[o, perm[p]] = (codes[o, p] - zero[o, g]) * scale[o, g]     g = p // (inputs / groups)

Codes are unsigned (INT4 0..15, ternary 0..2); a layout of signed codes is shifted, and its zero with it. Layouts with
an additive minimum keep it (w = codes * scale + minimum), because zero = -minimum / scale would be rounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from edgeq._errors import FormatError

Activation = Literal["float", "int8 per token", "int8 per token, asymmetric"]
TOKEN_FLOOR = 1e-5  # largest |x| that a token's scale is formed from, at least


@dataclass(frozen=True)
class GroupedWeight:
    """One linear layer; float32 whatever the file stored (`stored_scale` says what)."""

    bits: int
    codes: Tensor  # (o, i) uint8, below 2^bits
    scale: Tensor  # (o, G) float32
    zero: Tensor  # (o, G) float32, may be fractional
    minimum: Tensor | None = None  # (o, G) float32; zero is then 0
    perm: Tensor | None = None  # (i,) int64: stored position -> input
    bias: Tensor | None = None  # (o,) float32
    activation: Activation = "float"
    stored_scale: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        outputs, inputs = self.codes.shape
        groups = self.scale.shape[-1]
        for name in ("scale", "zero", "minimum"):
            tensor: Tensor | None = getattr(self, name)
            if tensor is None:
                continue
            if tensor.shape != (outputs, groups):
                raise FormatError(f"{name}: expected shape {(outputs, groups)}, got {tuple(tensor.shape)}")
            if not bool(tensor.isfinite().all()):
                raise FormatError(f"{name}: values that are NaN or infinite")
        if not groups or inputs % groups:
            raise FormatError(f"{inputs} inputs are not a multiple of {groups} groups")
        if self.codes.numel() and int(self.codes.max()) >= 2**self.bits:
            raise FormatError(f"code {int(self.codes.max())} does not fit in {self.bits} bits")
        if self.bias is not None and self.bias.shape != (outputs,):
            raise FormatError(f"bias: expected shape {(outputs,)}, got {tuple(self.bias.shape)}")
        if self.perm is not None and not torch.equal(self.perm.sort().values, torch.arange(inputs)):
            raise FormatError(f"perm: not a permutation of {inputs} inputs")

    @property
    def group(self) -> int:
        """Inputs per group."""
        return self.codes.shape[1] // self.scale.shape[1]

    def dequantise(self) -> Tensor:
        """(o, i) float32, inputs in their original order."""
        grouped = self.codes.view(*self.scale.shape, self.group).float()
        if self.minimum is None:
            stored = (grouped - self.zero[..., None]) * self.scale[..., None]
        else:
            stored = grouped * self.scale[..., None] + self.minimum[..., None]
        stored = stored.view(self.codes.shape)
        if self.perm is None:
            return stored
        return torch.empty_like(stored).index_copy_(1, self.perm, stored)

    def with_zero(self) -> GroupedWeight:
        """Without `minimum`: zero = -minimum / scale; a group of scale 0 gets codes 0, scale 1 and zero -minimum."""
        if self.minimum is None:
            return self
        flat = self.scale == 0
        scale = torch.where(flat, 1.0, self.scale)
        codes = self.codes.masked_fill(flat.repeat_interleave(self.group, 1), 0)
        return replace(self, codes=codes, scale=scale, zero=-self.minimum / scale, minimum=None)


def quantise_tokens(x: Tensor) -> tuple[Tensor, Tensor]:
    """Activations of BitNet: (..., i) float32 -> int8 codes, scale (..., 1), so that x is about codes / scale."""
    scale = 127 / x.abs().amax(-1, keepdim=True).clamp_min(TOKEN_FLOOR)
    return (x * scale).round().clamp(-128, 127).to(torch.int8), scale


def linear_of_tokens(x: Tensor, weight: GroupedWeight) -> Tensor:
    """(..., i) float32 -> (..., o): per-token int8 activations times a weight with one group; integers, scaled once."""
    if weight.scale.shape[1] != 1 or weight.minimum is not None or weight.perm is not None:
        raise FormatError("a product of int8 tokens needs one scale per output")
    codes, scale = quantise_tokens(x)
    centred = weight.codes.double() - weight.zero.double()
    acc = (codes.double() @ centred.T).float()
    y = acc / scale * weight.scale[:, 0]
    return y if weight.bias is None else y + weight.bias
