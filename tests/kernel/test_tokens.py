"""Attention, embedding tables and layer normalisation against numpy, on every instruction set of this machine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeq import _native as native
from edgeq._errors import UsageError
from edgeq._native import Attention, Context, Keep, Probability, WeightsI4

F = np.float32
ISAS = native.usable_isas()


def planes(codes: np.ndarray, count: int = 2) -> np.ndarray:
    """(..., k) of -1, 0, +1 -> (count, ..., row) uint8."""
    k = codes.shape[-1]
    rows = np.ascontiguousarray(codes.reshape(-1, k), F)
    return native.pack_t2(rows).reshape(2, *codes.shape[:-1], native.row_bytes(k))[:count].copy()


def unpacked(bits: np.ndarray, k: int) -> np.ndarray:
    return np.unpackbits(bits, axis=-1, bitorder="little")[..., :k].astype(bool)


def split(x: np.ndarray, heads: int) -> np.ndarray:
    """(B, T, h * d) -> (B, h, T, d)"""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3).astype(np.int64)


def seen_keys(op: Attention) -> tuple[np.ndarray, np.ndarray]:
    """(B, T, S) twice: what a query sees, and the same where a query that sees nothing takes all that causal allows."""
    used = op.keys if op.used is None else op.used
    seen = np.arange(op.keys) < used
    seen = np.broadcast_to(seen, (op.batch, op.queries, op.keys)).copy()
    if op.causal:
        seen &= np.arange(op.keys) <= used - op.queries + np.arange(op.queries)[:, None]
    masked = seen & (op.mask[:, None] != 0) if op.mask is not None else seen
    return masked, np.where(masked.any(-1, keepdims=True), masked, seen)


def problem(rng: np.random.Generator, *, causal: bool = False) -> Attention:
    batch, heads, d, queries, keys = (int(rng.integers(1, top)) for top in (4, 5, 70, 30, 40))
    used = int(rng.integers(1, keys + 1))
    mask = (rng.random((batch, keys)) < 0.7).astype(np.uint8) if rng.random() < 0.7 else None
    if causal:
        queries = int(rng.integers(1, used + 1))
    return Attention(batch, heads, d, queries, keys, used, causal, mask)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(24))
def test_attention_over_signs(isa, seed):
    native.select_isa(isa)
    rng = np.random.default_rng(seed)
    op = problem(rng, causal=seed % 4 == 0)
    c = op.heads * op.d
    count = 1 + seed % 2
    choices = [-1, 1] if count == 1 else [-1, 0, 1]
    q, k, v = (rng.choice(choices, (op.batch, t, c)) for t in (op.queries, op.keys, op.keys))
    step, cut, margin = F(rng.random() * 0.5), F(rng.random() * 0.1), int(rng.integers(0, 9))
    threshold = rng.integers(-3, 4, c).astype(F) if rng.random() < 0.5 else None
    dots = split(q, op.heads) @ split(k, op.heads).transpose(0, 1, 3, 2)
    seen, softmax_seen = (s[:, None] for s in seen_keys(op))
    low = -(10**6)
    p = np.where(
        softmax_seen, np.exp((dots - np.where(softmax_seen, dots, low).max(-1, keepdims=True)) * float(step)), 0
    )
    p /= p.sum(-1, keepdims=True)
    close = np.abs(p - float(cut)) < 1e-6  # then rounding decides
    for kind, kept in (
        ("positive", seen & (dots > 0)),
        ("near", seen & (dots >= np.where(seen, dots, low).max(-1, keepdims=True) - margin)),
        ("softmax", p > float(cut)),
    ):
        wanted = (kept.astype(np.int64) @ split(v, op.heads)).transpose(0, 2, 1, 3).reshape(op.batch, op.queries, c)
        keep = Keep(kind, margin, float(step), float(cut))
        to = Context(1.0, threshold, True, True)
        out, t2 = native.attention_b1(
            op, count, planes(q, count), planes(k, count), planes(v, count), keep, to, threads=2
        )
        if kind == "softmax" and close.any():
            continue
        np.testing.assert_array_equal(out, wanted)
        t = 0 if threshold is None else threshold
        np.testing.assert_array_equal(unpacked(t2[0], c), wanted > t)
        np.testing.assert_array_equal(unpacked(t2[1], c), wanted != t)
        assert not np.unpackbits(t2, axis=-1, bitorder="little")[..., c:].any()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", native.PROBABILITY_KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_attention_over_codes(isa, kind, seed):
    native.select_isa(isa)
    rng = np.random.default_rng(seed)
    op = problem(rng, causal=seed % 3 == 0)
    c, per_row = op.heads * op.d, bool(seed % 2)
    q, k, v = (rng.integers(-127, 128, (op.batch, t, c), dtype=np.int8) for t in (op.queries, op.keys, op.keys))
    top = (1, 2, 3, 15, 255)[seed % 5]
    probability = Probability(kind, top, 0.02 if top > 3 else 0.1, per_row)
    out = native.attention_i8(op, q, k, v, probability, step_scores=1e-4, step_v=0.5, threads=2)
    used = op.used
    scores = split(q, op.heads) @ split(k, op.heads).transpose(0, 1, 3, 2) * float(F(1e-4))
    seen = seen_keys(op)[1][:, None]
    p = np.where(seen, np.exp(scores - np.where(seen, scores, -1e30).max(-1, keepdims=True)), 0)
    p = (p / p.sum(-1, keepdims=True))[..., :used]
    axes = -1 if per_row else None
    m, most = p.min(axes, keepdims=True), p.max(axes, keepdims=True)
    step = float(F(probability.step))
    shift, divisor, factor = {
        "step": (0 * m, step + 0 * m, 1),
        "unit": (0 * m, 1 + 0 * m, top),
        "shift": (m, step + 0 * m, 1),
        "range": (m, most - m + 1e-8, top),
    }[kind]
    exact = (p - shift) / divisor * factor
    codes = np.clip(np.rint(exact), 0, top)
    unit = divisor / factor
    values = split(v, op.heads)[:, :, :used] * 0.5
    wanted = (codes * unit + shift) @ values
    unsure = (np.abs(exact - np.floor(exact) - 0.5) < 1e-3).astype(float) * unit  # a code may fall to either side
    room = unsure @ np.abs(values) + 1e-5 * (1 + np.abs(codes * unit + shift) @ np.abs(values))
    wanted, room = (a.transpose(0, 2, 1, 3).reshape(op.batch, op.queries, c) for a in (wanted, room))
    assert (np.abs(out - wanted) <= room).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(6))
def test_attention_over_floats(isa, seed):
    native.select_isa(isa)
    rng = np.random.default_rng(seed)
    op = problem(rng, causal=seed % 3 == 0)
    c = op.heads * op.d
    q, k, v = (rng.standard_normal((op.batch, t, c)).astype(F) for t in (op.queries, op.keys, op.keys))
    out = native.attention_f32(op, q, k, v, step=0.3, threads=2)
    heads_q, heads_k, heads_v = (x.reshape(op.batch, -1, op.heads, op.d).transpose(0, 2, 1, 3) for x in (q, k, v))
    scores = heads_q @ heads_k.transpose(0, 1, 3, 2) * 0.3
    seen = seen_keys(op)[1][:, None]
    p = np.where(seen, np.exp(scores - np.where(seen, scores, -1e30).max(-1, keepdims=True)), 0)
    wanted = (p / p.sum(-1, keepdims=True)) @ heads_v
    wanted = wanted.transpose(0, 2, 1, 3).reshape(op.batch, op.queries, c)
    np.testing.assert_allclose(out, wanted, rtol=0, atol=2e-5)
    itself = Attention(op.batch, op.heads, op.d, op.keys, op.keys)
    beside = np.concatenate([v, k, k], axis=-1)
    np.testing.assert_array_equal(
        native.attention_qkv(itself, beside, step=0.3), native.attention_f32(itself, v, k, k, step=0.3)
    )


def test_attention_refuses():
    q = np.zeros((2, 1, 3, 1), np.uint8)
    bad = (Attention(1, 1, 8, 3, 3, used=4), Attention(1, 1, 8, 3, 3, used=2, causal=True))
    for op in bad:
        with pytest.raises(UsageError, match="attention_b1"):
            native.attention_b1(op, 2, q, q, q, Keep(), Context())
    with pytest.raises(UsageError, match="attention_b1"):
        native.attention_b1(Attention(1, 1, 8, 3, 3), 2, q, q, q, Keep("softmax", step=float("nan")), Context())
    with pytest.raises(UsageError, match="expected shape"):
        native.attention_b1(Attention(1, 1, 9, 3, 3), 2, q, q, q, Keep(), Context())
    codes = np.zeros((1, 3, 8), np.int8)
    for p in (Probability("step", 0), Probability("step", 256), Probability("step", 1, 0.0)):
        with pytest.raises(UsageError, match="attention_i8"):
            native.attention_i8(Attention(1, 1, 8, 3, 3), codes, codes, codes, p, step_scores=1.0, step_v=1.0)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("k", [1, 8, 15, 16, 17, 33, 60, 64, 100, 768])
def test_layer_norm(isa, k):
    native.select_isa(isa)
    rng = np.random.default_rng(k)
    x, residual = (rng.standard_normal((9, k)).astype(F) for _ in range(2))
    gamma, beta, threshold = (rng.standard_normal(k).astype(F) for _ in range(3))
    for r, t in ((None, None), (residual, threshold)):
        got = native.layer_norm(x, gamma, beta, 1e-6, residual=r, threshold=t, out=True, bits=True, t2=True)
        z = torch.from_numpy(x if r is None else x + r).double()
        wanted = torch.nn.functional.layer_norm(
            z, (k,), torch.from_numpy(gamma).double(), torch.from_numpy(beta).double(), 1e-6
        )
        np.testing.assert_allclose(got.out, wanted.numpy(), rtol=0, atol=4e-6 * (1 if k > 1 else 100))
        against = 0 if t is None else t
        for bits, relation in (
            (got.bits, got.out >= against),
            (got.t2[0], got.out > against),
            (got.t2[1], got.out != against),
        ):
            np.testing.assert_array_equal(unpacked(bits, k), relation)
            assert not np.unpackbits(bits, axis=-1, bitorder="little")[..., k:].any()


@pytest.mark.parametrize("k", [1, 8, 33, 64, 100])
def test_embedding_tables(k):
    rng = np.random.default_rng(k)
    codes, scale = rng.integers(-1, 2, (7, k)), rng.random(7).astype(F)
    ids = rng.integers(0, 7, (2, 5))
    t2 = planes(codes)
    np.testing.assert_array_equal(native.embedding_t2(ids, t2, k, scale), (codes * scale[:, None]).astype(F)[ids])
    signs, b1 = np.where(codes > 0, 1, -1), t2[0].copy()
    np.testing.assert_array_equal(native.embedding_b1(ids, b1, k, scale), (signs * scale[:, None]).astype(F)[ids])
    i8 = rng.integers(-128, 128, (7, k), dtype=np.int8)
    np.testing.assert_array_equal(native.embedding_i8(ids, i8, scale), (i8.astype(F) * scale[:, None])[ids])
    with pytest.raises(UsageError, match="id 7 is not in the table of 7 rows"):
        native.embedding_b1(np.array([0, 7]), b1, k, scale)
    with pytest.raises(UsageError, match="id -1 is not"):
        native.embedding_i8(np.array([-1]), i8, scale)


@pytest.mark.parametrize("zeros", ["none", "u4", "f16"])
def test_embedding_i4(zeros):
    rng = np.random.default_rng(3)
    k, group, groups = 80, 32, 3
    codes = rng.integers(0, 16, (7, k), dtype=np.uint8)
    packed = np.zeros((7, native.row_bytes(4 * k)), np.uint8)
    packed[:, : k // 2] = codes[:, ::2] | codes[:, 1::2] << 4
    scale = (rng.random((7, groups)) * 0.1).astype(np.float16)
    zero = rng.integers(0, 16, (7, groups)).astype(np.uint8)
    stored = {"none": None, "u4": np.zeros((7, 2), np.uint8), "f16": (zero + F(0.5)).astype(np.float16)}[zeros]
    if zeros == "u4":
        stored[:, 0], stored[:, 1] = zero[:, 0] | zero[:, 1] << 4, zero[:, 2]
    middle = {"none": np.full((7, groups), 8, F), "u4": zero.astype(F), "f16": zero + F(0.5)}[zeros]
    at = np.arange(k) // group
    wanted = (codes.astype(F) - middle[:, at]) * scale.astype(F)[:, at]
    ids = np.array([6, 0, 3])
    np.testing.assert_array_equal(native.embedding_i4(ids, WeightsI4(packed, scale, group, stored), k), wanted[ids])
