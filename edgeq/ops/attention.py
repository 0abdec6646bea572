"""Attention between tokens in one operator: over signs, over int8 codes, and over floats.

Shapes: queries T, keys S, c = heads * d channels. mask (B, S) uint8, 0 hides a key; used (1,) int64: only the keys
below it exist (a cache that is not full); causal 1: query i sees the keys up to used - T + i. What hidden means for the
softmax stands in `runtime/include/edgeq/attention.h`.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from edgeq import _native

from ._library import operator
from ._views import tensor, view
from .params import Want


class Keep(IntEnum):
    """Which keys count (`eq_keep_kind`)."""

    POSITIVE = 0
    NEAR = 1
    SOFTMAX = 2


class Probability(IntEnum):
    """How probabilities become codes (`eq_probability_kind`)."""

    STEP = 0
    UNIT = 1
    SHIFT = 2
    RANGE = 3


def _attention(
    shape: tuple[int, int, int], channels: int, heads: int, causal: int, used: Tensor | None, mask: Tensor | None
) -> _native.Attention:
    batch, queries, keys = shape
    existing = keys if used is None else int(used)
    view_mask = None if mask is None else view(mask)
    return _native.Attention(batch, heads, channels // heads, queries, keys, existing, bool(causal), view_mask)


def _signs_shape(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    channels: int,
    heads: int,
    keep: int,
    margin: int,
    steps: Tensor,
    threshold: Tensor | None,
    mask: Tensor | None,
    used: Tensor | None,
    causal: int,
    want: int,
) -> tuple[Tensor, Tensor]:
    _, batch, queries, row = q.shape
    return (
        q.new_empty((batch, queries, channels) if want & Want.MAP else (0,), dtype=torch.float32),
        q.new_empty((2, batch, queries, row) if want & Want.T2 else (0,)),
    )


@operator(
    "attention_b1(Tensor q, Tensor k, Tensor v, int channels, int heads, int keep, int margin, Tensor steps, "
    "Tensor? threshold, Tensor? mask, Tensor? used, int causal, int want) -> (Tensor out, Tensor t2)",
    _signs_shape,
)
def attention_b1(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    channels: int,
    heads: int,
    keep: int,
    margin: int,
    steps: Tensor,
    threshold: Tensor | None,
    mask: Tensor | None,
    used: Tensor | None,
    causal: int,
    want: int,
) -> tuple[Tensor, Tensor]:
    """A key counts or not (`Keep`); the context is a sum of signs, times a scale.

    q          (P, B, T, row_bytes(channels)), k and v (P, B, S, row_bytes(channels)) uint8; P 1: signs, 2: ternary
    margin     NEAR: dot >= max - margin
    steps      (3,) float32: step of the scores and cut (SOFTMAX: exp(-(max - dot) * step) > cut * sum), scale
    threshold  (channels,) float32, instead of 0, for the planes
    return     MAP: (B, T, channels) float32; T2: (2, B, T, row) context * scale > and != threshold; else (0,)
    """
    planes, batch, queries, _ = q.shape
    step, cut, scale = steps.tolist()
    out, t2 = _native.attention_b1(
        _attention((batch, queries, k.shape[2]), channels, heads, causal, used, mask),
        planes,
        view(q),
        view(k),
        view(v),
        _native.Keep(_native.KEEP_KINDS[keep], margin, step, cut),
        _native.Context(
            scale, None if threshold is None else view(threshold), bool(want & Want.MAP), bool(want & Want.T2)
        ),
    )
    return (
        torch.empty(0) if out is None else tensor(out),
        torch.empty(0, dtype=torch.uint8) if t2 is None else tensor(t2),
    )


def _codes_shape(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    probability: int,
    top: int,
    per_row: int,
    steps: Tensor,
    mask: Tensor | None,
    used: Tensor | None,
    causal: int,
) -> Tensor:
    return q.new_empty(q.shape, dtype=torch.float32)


@operator(
    "attention_i8(Tensor q, Tensor k, Tensor v, int heads, int probability, int top, int per_row, Tensor steps, "
    "Tensor? mask, Tensor? used, int causal) -> (Tensor out)",
    _codes_shape,
)
def attention_i8(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    probability: int,
    top: int,
    per_row: int,
    steps: Tensor,
    mask: Tensor | None,
    used: Tensor | None,
    causal: int,
) -> Tensor:
    """Softmax attention whose probabilities become codes 0 to top (`Probability`).

    q      (B, T, c), k and v (B, S, c) int8
    steps  (3,) float32: of the scores (q's step * k's step * 1 / sqrt(d)), of v, of the probabilities (STEP, SHIFT)
    return (B, T, c) float32
    """
    batch, queries, channels = q.shape
    step_scores, step_v, step_p = steps.tolist()
    return tensor(
        _native.attention_i8(
            _attention((batch, queries, k.shape[1]), channels, heads, causal, used, mask),
            view(q),
            view(k),
            view(v),
            _native.Probability(_native.PROBABILITY_KINDS[probability], top, step_p, bool(per_row)),
            step_scores=step_scores,
            step_v=step_v,
        )
    )


def _floats_shape(qkv: Tensor, heads: int, step: float, mask: Tensor | None) -> Tensor:
    return qkv.new_empty((*qkv.shape[:2], qkv.shape[2] // 3))


@operator("attention_f32(Tensor qkv, int heads, float step, Tensor? mask) -> (Tensor out)", _floats_shape)
def attention_f32(qkv: Tensor, heads: int, step: float, mask: Tensor | None) -> Tensor:
    """Softmax attention of tokens among themselves.

    qkv    (B, T, 3 c) float32: query, key and value of a token side by side; scores are q . k * step
    return (B, T, c) float32
    """
    batch, tokens, channels = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    op = _attention((batch, tokens, tokens), channels, heads, 0, None, mask)
    return tensor(_native.attention_qkv(op, view(qkv), step=step))
