"""INT4 weights in groups along the input: choosing a grid for given weights, and the bytes of a file.

    w = (code - zero) * scale        code 0..15, scale float16, zero a code (asymmetric) or 8

Files hold codes two to a byte (even input in the low nibble, rows padded like every packed row), scales as float16
(o, G), zeros two to a byte along G; a file may leave the zeros out where all are 8.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from edgeq._errors import UsageError
from edgeq._native import row_bytes
from edgeq.schemes.grouped import GroupedWeight

Grid = Literal["asymmetric", "symmetric", "q4_0"]
GRIDS: tuple[Grid, ...] = ("asymmetric", "symmetric", "q4_0")
MIDDLE = 8  # the zero of grids that have none of their own
LEVELS = 16
RANGE_FACTORS = torch.linspace(1.0, 0.7, 13)  # a narrower grid clips the extremes and resolves the rest


def fit(w: Tensor, importance: Tensor, grid: Grid = "asymmetric", levels: int = LEVELS) -> tuple[Tensor, Tensor]:
    """Scale and zero of one group per row, with the least weighted squared error among thirteen ranges.

    w           (o, g) float32
    importance  (g,) weight of each input in the error, such as its mean square
    levels      codes in use, 16 or fewer
    return      scale (o,) float32 with the values of float16; zero (o,) float32, whole numbers
    raises      UsageError for an unknown grid
    """
    best = torch.full((w.shape[0],), float("inf"))
    scale, zero = torch.ones_like(best), torch.zeros_like(best)
    for factor in RANGE_FACTORS.tolist():
        s, z = _grid(w, grid, factor, levels)
        error = ((decode(encode(w, s, z, levels), s, z) - w).square() * importance).sum(1)
        better = error < best
        best, scale, zero = (torch.where(better, new, old) for new, old in ((error, best), (s, scale), (z, zero)))
    return scale, zero


def encode(w: Tensor, scale: Tensor, zero: Tensor, levels: int = LEVELS) -> Tensor:
    """Codes (o, g) of weights (o, g), as float32 whole numbers; scale and zero (o,)."""
    return (w / scale[:, None] + zero[:, None]).round_().clamp_(0, levels - 1)


def decode(codes: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """(o, g) float32."""
    return (codes - zero[:, None]) * scale[:, None]


def pack(weight: GroupedWeight, *, zeros: bool = True) -> dict[str, Tensor]:
    """`codes` (o, row_bytes(4 i)) uint8, `scale` (o, G) float16 and, if wanted, `zero` (o, (G + 1) / 2) uint8.

    raises  UsageError for what such a file cannot hold, see `fits`
    """
    if not fits(weight):
        raise UsageError("INT4 files hold codes of 4 bits in the order of the inputs, with whole zeros from 0 to 15")
    packed = {"codes": pack_nibbles(weight.codes, row_bytes(4 * weight.codes.shape[1])), "scale": weight.scale.half()}
    if not zeros and not bool((weight.zero == MIDDLE).all()):
        raise UsageError("INT4 without zeros: every zero must be 8")
    if zeros:
        packed["zero"] = pack_nibbles(weight.zero.to(torch.uint8), (weight.zero.shape[1] + 1) // 2)
    return packed


def unpack(codes: Tensor, scale: Tensor, zero: Tensor | None, inputs: int) -> GroupedWeight:
    """The inverse of `pack`; `inputs` is i. Raises FormatError for parts that do not fit each other."""
    zeros = torch.full(scale.shape, float(MIDDLE)) if zero is None else unpack_nibbles(zero, scale.shape[1]).float()
    return GroupedWeight(4, unpack_nibbles(codes, inputs), scale.float(), zeros, stored_scale=torch.float16)


def nearest(w: Tensor, group: int) -> GroupedWeight:
    """Weights (o, i) on asymmetric grids of their own, each code the nearest: no calibration, so only a stopgap."""
    parts = []
    for start in range(0, w.shape[1], group):
        block = w[:, start : start + group]
        scale, zero = fit(block, torch.ones(block.shape[1]))
        parts.append((encode(block, scale, zero).to(torch.uint8), scale, zero))
    codes, scales, zeros = zip(*parts, strict=True)
    return GroupedWeight(4, torch.cat(codes, 1), torch.stack(scales, 1), torch.stack(zeros, 1))


def fits(weight: GroupedWeight) -> bool:
    """Can a file hold these codes as they are? (Their scales are rounded to float16.)"""
    whole = (weight.zero == weight.zero.round()) & (weight.zero >= 0) & (weight.zero < LEVELS)
    return weight.bits <= 4 and weight.perm is None and weight.minimum is None and bool(whole.all())


def regroup(weight: GroupedWeight, group: int) -> GroupedWeight:
    """The same weights in smaller groups; `group` divides theirs."""
    times = weight.group // group
    scale, zero = (tensor.repeat_interleave(times, 1) for tensor in (weight.scale, weight.zero))
    return replace(weight, scale=scale, zero=zero)


def pack_nibbles(codes: Tensor, width: int) -> Tensor:
    """(..., k) uint8 below 16 -> (..., width) bytes, even k in the low nibble, padding 0."""
    padded = codes.new_zeros((*codes.shape[:-1], 2 * width))
    padded[..., : codes.shape[-1]] = codes
    return padded[..., 0::2] | padded[..., 1::2] << 4


def unpack_nibbles(packed: Tensor, count: int) -> Tensor:
    """(..., bytes) uint8 -> (..., count) uint8."""
    return torch.stack([packed & 15, packed >> 4], -1).flatten(-2)[..., :count].contiguous()


def _grid(w: Tensor, grid: Grid, factor: float, levels: int) -> tuple[Tensor, Tensor]:
    if grid == "asymmetric":
        low, high = w.amin(1).clamp_max(0) * factor, w.amax(1).clamp_min(0) * factor
        scale = _stored((high - low) / (levels - 1))
        return scale, (-low / scale).round_().clamp_(0, levels - 1)
    middle = torch.full((w.shape[0],), float(levels // 2))
    if grid == "symmetric":
        return _stored(w.abs().amax(1) * factor / (levels // 2 - 1)), middle
    if grid == "q4_0":  # the largest magnitude becomes code 0, whatever its sign
        largest = w.gather(1, w.abs().argmax(1, keepdim=True))[:, 0]
        return _stored(largest * factor / -(levels // 2)), middle
    raise UsageError(f"grid {grid!r} is not known; use one of: {', '.join(GRIDS)}")


def _stored(scale: Tensor) -> Tensor:
    """As float16 keeps it; a group of zeros, or of weights too small for float16, gets scale 1."""
    kept = scale.half().float()
    return torch.where((kept == 0) | ~kept.isfinite(), 1.0, kept)
