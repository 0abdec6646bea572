"""Shift weights: every weight is a signed power of two, so a product is a change of sign and a shift. No scale.

DenseShift, n bits, N = 2^(n-1) - 1; latents are N + 1 references: one for the sign, t_1 ... t_N for the exponent

  b(t) = 1 if t > 0 else 0        sgn(w) = +1 if w >= 0 else -1        (0 gives 0 and +1)
  S_0 = 0,  S_k = (S_{k-1} + 1) b(t_k)                                 the run of positive references at the end
  w = sgn(w_sign) 2^S_N                                                never zero

The gradient is that of sgn sqrt(S + 1) instead, and b and sgn are straight through without any clip.

S3, its predecessor, 3 bits: w = sgn(w_sign) b(val) 2^(b(shift) (b(shift2) + 1)), in {0, +-1, +-2, +-4}, with its true
gradient. It has a zero, hence no packed form here: it is kept to compare with.

source  DenseShift, arXiv 2208.09708; S3, huawei-noah/noah-research, S3-Training
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeq._errors import FormatError, UsageError
from edgeq._native import row_bytes
from edgeq.schemes._function import apply
from edgeq.schemes.quantised import straight_through

WIDTHS = (2, 3, 4)  # bits of a weight
S3_REFERENCES = 4  # sign, val, shift, shift2


def references(bits: int) -> int:
    """How many float references one weight of `bits` bits has: 2, 4 or 8."""
    if bits not in WIDTHS:
        raise UsageError(f"bits: shift weights have 2, 3 or 4 bits, got {bits}")
    return 1 << (bits - 1)


def weights(latents: Tensor) -> Tensor:
    """DenseShift weights; latents (N + 1, ...), the sign reference first -> (...)."""
    return apply(_DenseShift, latents)


class _DenseShift(torch.autograd.Function):
    """The formulas above as few operations: training computes every weight in every step."""

    @staticmethod
    def forward(ctx: Any, latents: Tensor) -> Tensor:
        positive = (latents[1:] > 0).to(latents.dtype)
        runs = torch.zeros_like(latents)  # S_0 ... S_N
        for k, b in enumerate(positive):
            torch.add(runs[k], 1.0, out=runs[k + 1]).mul_(b)
        sign = torch.where(latents[0] >= 0, 1.0, -1.0)
        ctx.save_for_backward(positive, runs, sign)
        return torch.ldexp(sign, runs[-1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        positive, runs, sign = ctx.saved_tensors
        out = torch.empty_like(runs)
        root = (runs[-1] + 1).sqrt_()
        torch.mul(grad, root, out=out[0])
        flow = (grad * sign).div_(root.mul_(2))
        for k in reversed(range(len(positive))):
            torch.add(runs[k], 1.0, out=out[k + 1]).mul_(flow)
            flow.mul_(positive[k])
        return out


def s3_weights(latents: Tensor) -> Tensor:
    """S3 weights; latents (4, ...): sign, val, shift, shift2 -> (...)."""
    sign, value, shift, shift2 = latents
    return _sgn(sign) * _step(value) * 2 ** (_step(shift) * (_step(shift2) + 1))


def weight_codes(latents: Tensor) -> tuple[Tensor, Tensor]:
    """The integers behind `weights(latents)`: sign (...) bool, True = +1; exponent S (...) uint8 in 0..N."""
    latents = latents.detach()
    run = torch.zeros_like(latents[0], dtype=torch.uint8)
    for reference in latents[1:]:
        run = (run + 1) * (reference > 0)
    return latents[0] >= 0, run


def values(sign: Tensor, exponent: Tensor) -> Tensor:
    """float32 weights of given codes."""
    magnitude = torch.ones_like(exponent, dtype=torch.int32) << exponent.int()
    return torch.where(sign, magnitude, -magnitude).to(torch.float32)


def pack(sign: Tensor, exponent: Tensor, bits: int) -> Tensor:
    """Codes (..., k) -> planes (bits, ..., row_bytes(k)) uint8, lowest bit first, padding 0.

    Plane 0 is the sign (1 = +1), plane 1 + i bit i of the exponent. For a convolution k runs over the input channels
    of one tap, (O, kh, kw, k); the depthwise one is to be given as (kh, kw, C).

    raises  UsageError for an exponent that does not fit
    """
    largest = references(bits) - 1
    if exponent.numel() and int(exponent.max()) > largest:
        raise UsageError(f"exponent {int(exponent.max())} does not fit {bits}-bit shift weights (0..{largest})")
    planes = torch.stack([sign.to(torch.uint8), *((exponent >> i) & 1 for i in range(bits - 1))])
    rows = np.packbits(planes.numpy(), axis=-1, bitorder="little")
    padding = row_bytes(sign.shape[-1]) - rows.shape[-1]
    return torch.from_numpy(np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, padding)]))


def unpack(planes: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Planes (bits, ..., row_bytes(k)) uint8 -> sign (..., k) bool and exponent (..., k) uint8; undoes `pack`.

    raises  FormatError if the shape or type does not fit, or a padding bit is set
    """
    if planes.dtype != torch.uint8 or planes.dim() < 2 or planes.shape[0] not in WIDTHS:
        raise FormatError(
            f"shift weights: expected 2, 3 or 4 planes of uint8, got {planes.dtype} {tuple(planes.shape)}"
        )
    if planes.shape[-1] != row_bytes(k):
        raise FormatError(f"shift weights: a row of {k} takes {row_bytes(k)} bytes, got {planes.shape[-1]}")
    bits = torch.from_numpy(np.unpackbits(planes.numpy(), axis=-1, bitorder="little"))
    if bits[..., k:].any():
        raise FormatError("shift weights: padding bits must be 0")
    bits = bits[..., :k]
    exponent = torch.zeros_like(bits[0])
    for i, plane in enumerate(bits[1:]):
        exponent |= plane << i
    return bits[0].bool(), exponent


def _sgn(x: Tensor) -> Tensor:
    return straight_through(x, (x.detach() >= 0).to(x.dtype) * 2 - 1)


def _step(x: Tensor) -> Tensor:
    return straight_through(x, (x.detach() > 0).to(x.dtype))
