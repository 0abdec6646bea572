"""Attention between tokens (`edgeq/attention.h`)."""

from __future__ import annotations

import ctypes as ct
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgeq._errors import UsageError

from ._arrays import F32, I8, U8, address, check, code, floats, row_bytes, scratch_memory, u32s
from ._library import call, library
from ._operator import team
from ._structures import CAttention, CAttentionCodes, CAttentionFloats, CContext, CKeep, CProbability

KeepKind = Literal["positive", "near", "softmax"]
ProbabilityKind = Literal["step", "unit", "shift", "range"]
KEEP_KINDS: tuple[KeepKind, ...] = ("positive", "near", "softmax")
PROBABILITY_KINDS: tuple[ProbabilityKind, ...] = ("step", "unit", "shift", "range")


@dataclass(frozen=True)
class Attention:
    """batch x heads, d channels a head; keys from `used` on do not exist; mask (batch, keys) uint8, 0 hides a key."""

    batch: int
    heads: int
    d: int
    queries: int
    keys: int
    used: int | None = None
    causal: bool = False
    mask: U8 | None = None


@dataclass(frozen=True)
class Keep:
    """Which keys count: dot > 0; dot >= max - margin; or exp(-(max - dot) * step) > cut * its sum."""

    kind: KeepKind = "positive"
    margin: int = 0
    step: float = 0.0
    cut: float = 0.0


@dataclass(frozen=True)
class Probability:
    """Codes of probabilities, 0 to top; minimum and maximum of one row, or of the whole call."""

    kind: ProbabilityKind
    top: int
    step: float = 1.0
    per_row: bool = False


@dataclass(frozen=True)
class Context:
    """What attention over signs gives: y = sum * scale as floats, as planes y > threshold and y != threshold."""

    scale: float = 1.0
    threshold: F32 | None = None
    out: bool = True
    t2: bool = False


def attention_b1(
    op: Attention, planes: int, q: U8, k: U8, v: U8, keep: Keep, to: Context, *, threads: int = 1
) -> tuple[F32 | None, U8 | None]:
    """q (planes, batch, queries, row), k, v (planes, batch, keys, row), row = row_bytes(heads * d); planes 1 or 2.

    return  out (batch, queries, heads * d) float32, t2 (2, batch, queries, row) uint8; None where not asked for
    """
    channels = op.heads * op.d
    row = row_bytes(channels)
    for what, operand, tokens in (("q", q, op.queries), ("k", k, op.keys), ("v", v, op.keys)):
        check(what, operand, np.uint8, (planes, op.batch, tokens, row))
    out = np.empty((op.batch, op.queries, channels), np.float32) if to.out else None
    t2 = np.empty((2, op.batch, op.queries, row), np.uint8) if to.t2 else None
    c_op, _mask = _attention(op)
    c_keep = CKeep(code("keep", keep.kind, KEEP_KINDS), *u32s(keep.margin), keep.step, keep.cut)
    c_to = CContext(to.scale, floats("threshold", to.threshold, (channels,)), address(out), address(t2))
    workers = team(threads)
    shared = ct.byref(workers) if workers else None
    size = library().eq_attention_b1_scratch(ct.byref(c_op), planes, ct.byref(c_keep), shared)
    scratch = scratch_memory(size)
    inputs = (address(q), address(k), address(v), ct.byref(c_keep), ct.byref(c_to))
    call("attention_b1", ct.byref(c_op), planes, *inputs, shared, address(scratch), size)
    return out, t2


def attention_i8(
    op: Attention,
    q: I8,
    k: I8,
    v: I8,
    probability: Probability,
    *,
    step_scores: float,
    step_v: float,
    threads: int = 1,
) -> F32:
    """q (batch, queries, heads * d), k, v (batch, keys, heads * d) int8 -> (batch, queries, heads * d) float32.

    Scores are q . k * step_scores, values v * step_v.
    """
    channels = op.heads * op.d
    for what, operand, tokens in (("q", q, op.queries), ("k", k, op.keys), ("v", v, op.keys)):
        check(what, operand, np.int8, (op.batch, tokens, channels))
    out = np.empty((op.batch, op.queries, channels), np.float32)
    c_op, _mask = _attention(op)
    kind = code("probability", probability.kind, PROBABILITY_KINDS)
    c_p = CProbability(kind, probability.per_row, probability.step, *u32s(probability.top))
    codes = CAttentionCodes(address(q), address(k), address(v), step_scores, step_v)
    workers = team(threads)
    shared = ct.byref(workers) if workers else None
    size = library().eq_attention_i8_scratch(ct.byref(c_op), ct.byref(c_p), shared)
    scratch = scratch_memory(size)
    call(
        "attention_i8",
        *(ct.byref(c_op), ct.byref(codes), ct.byref(c_p), address(out), shared, address(scratch), size),
    )
    return out


def attention_f32(op: Attention, q: F32, k: F32, v: F32, *, step: float, threads: int = 1) -> F32:
    """q (batch, queries, heads * d), k, v (batch, keys, heads * d) -> (batch, queries, heads * d) float32.

    Softmax attention; scores are q . k * step.
    """
    channels = op.heads * op.d
    for what, operand, tokens in (("q", q, op.queries), ("k", k, op.keys), ("v", v, op.keys)):
        check(what, operand, np.float32, (op.batch, tokens, channels))
    return _attention_f32(op, CAttentionFloats(address(q), address(k), address(v), channels, channels, step), threads)


def attention_qkv(op: Attention, qkv: F32, *, step: float, threads: int = 1) -> F32:
    """As `attention_f32`; query, key and value of a token side by side: qkv (batch, queries, 3 * heads * d)."""
    channels = op.heads * op.d
    if op.keys != op.queries:
        raise UsageError(f"attention_qkv: as many keys as queries, got {op.keys} and {op.queries}")
    check("qkv", qkv, np.float32, (op.batch, op.queries, 3 * channels))
    q, k, v = (qkv.ctypes.data + part * channels * qkv.itemsize for part in range(3))
    return _attention_f32(op, CAttentionFloats(q, k, v, 3 * channels, 3 * channels, step), threads)


def _attention_f32(op: Attention, inputs: CAttentionFloats, threads: int) -> F32:
    out = np.empty((op.batch, op.queries, op.heads * op.d), np.float32)
    c_op, _mask = _attention(op)
    workers = team(threads)
    shared = ct.byref(workers) if workers else None
    size = library().eq_attention_f32_scratch(ct.byref(c_op), shared)
    scratch = scratch_memory(size)
    call("attention_f32", ct.byref(c_op), ct.byref(inputs), address(out), shared, address(scratch), size)
    return out


def _attention(op: Attention) -> tuple[CAttention, U8 | None]:
    """The C side, and the mask that must outlive it."""
    if op.mask is not None:
        check("mask", op.mask, np.uint8, (op.batch, op.keys))
    sizes = u32s(op.batch, op.heads, op.d, op.queries, op.keys, op.keys if op.used is None else op.used)
    if min(sizes) < 1:
        raise UsageError(f"attention: extents must be positive, got {op}")
    return CAttention(*sizes, op.causal, address(op.mask)), op.mask
