"""Attention, layer normalisation and products of planes: every instruction set gives the reference's bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cases import differing, epilogue, floats, geometry, packed

from edgeq import _native as native
from edgeq._native import Attention, Context, Epilogue, Keep

FAST = [name for name in native.usable_isas() if name != "ref"]

pytestmark = pytest.mark.skipif(not FAST, reason="this machine runs the reference kernels only")

Arrays = tuple[np.ndarray | None, ...]


def assert_same(solve: Callable[[int], Arrays]) -> None:
    """solve(threads) on every instruction set, bit for bit."""
    native.select_isa("ref")
    wanted = solve(1)
    for isa in FAST:
        native.select_isa(isa)
        for threads in (1, 3):
            for a, b in zip(wanted, solve(threads), strict=True):
                assert (a is None) == (b is None)
                assert a is None or np.array_equal(a.view(np.uint8), b.view(np.uint8)), f"{isa}, {threads} threads"


def ternary(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """(2, ..., row): random planes, the first 0 where the second is."""
    nonzero = packed(rng, *shape)
    return np.stack([packed(rng, *shape) & nonzero, nonzero])


def linear_case(seed: int) -> tuple[np.random.Generator, int, int, int]:
    rng = np.random.default_rng(seed)
    m, k, o = (int(v) for v in rng.integers(1, [4 if seed % 2 else 70, 900, 200]))
    return rng, m, k, o


@pytest.mark.parametrize("seed", range(30))
def test_linear_over_planes(seed):
    rng, m, k, o = linear_case(seed)
    x, w, e = ternary(rng, m, k), ternary(rng, o, k), epilogue(rng, m, 1, 1, o)
    for solve in (
        lambda threads: native.linear_b1t2(x, w[0], k, e, threads=threads),
        lambda threads: native.linear_b1u1(x[1], w[0], k, e, threads=threads),
        lambda threads: native.linear_t2b1(x[1], w, k, e, threads=threads),
    ):
        native.select_isa("ref")
        wanted = solve(1)
        for isa in FAST:
            native.select_isa(isa)
            for threads in (1, 3):
                assert not differing(wanted, solve(threads)), f"{isa}, {threads} threads"


@pytest.mark.parametrize("seed", range(30))
def test_conv2d_b1t2(seed):
    rng = np.random.default_rng(seed)
    op = geometry(rng)
    x, w = ternary(rng, op.n, op.h, op.w, op.c), packed(rng, op.o, op.kh, op.kw, op.c // op.groups)
    e = epilogue(rng, op.n, op.out_h, op.out_w, op.o)
    native.select_isa("ref")
    wanted = native.conv2d_b1t2(x, w, op, e)
    for isa in FAST:
        native.select_isa(isa)
        for threads in (1, 3):
            assert not differing(wanted, native.conv2d_b1t2(x, w, op, e, threads=threads)), f"{isa}, {threads} threads"


@pytest.mark.parametrize("fill", [0x00, 0xFF])
@pytest.mark.parametrize("k", [64, 768, 3072, 8192])
def test_planes_with_all_bits_different(k, fill):
    """Every counter reaches its largest value."""
    signs, ones = np.full((9, k // 8), fill, np.uint8), np.full((9, k // 8), 0xFF, np.uint8)
    x, w = np.stack([signs, ones]), np.full((70, k // 8), 0xFF - fill, np.uint8)
    for isa in FAST:
        native.select_isa(isa)
        assert (native.linear_b1t2(x, w, k, Epilogue(outputs=("acc",))).acc == -k).all()


@pytest.mark.parametrize("kind", native.KEEP_KINDS)
@pytest.mark.parametrize("seed", range(30))
def test_attention_over_signs(kind, seed):
    rng = np.random.default_rng(seed)
    batch, heads, d, queries, keys = (int(rng.integers(1, top)) for top in (3, 5, 140, 20, 200))
    used = int(rng.integers(1, keys + 1))
    causal = bool(rng.random() < 0.3)
    queries = min(queries, used) if causal else queries
    mask = (rng.random((batch, keys)) < rng.random()).astype(np.uint8) if rng.random() < 0.7 else None
    planes, c = int(rng.integers(1, 3)), heads * d
    q, k, v = (ternary(rng, batch, t, c)[:planes].copy() for t in (queries, keys, keys))
    margin = int(rng.choice([0, 3, 2**31 - 1]))
    keep = Keep(kind, margin, float(rng.random() * rng.choice([0, 0.1, 3])), float(rng.random() * 0.1))
    to = Context(float(rng.random()), floats(rng, c) if rng.random() < 0.5 else None, True, True)
    op = Attention(batch, heads, d, queries, keys, used, causal, mask)
    assert_same(lambda threads: native.attention_b1(op, planes, q, k, v, keep, to, threads=threads))


@pytest.mark.parametrize("seed", range(40))
def test_layer_norm(seed):
    rng = np.random.default_rng(seed)
    rows, k = int(rng.integers(1, 9)), int(rng.integers(1, 900))
    x, residual = floats(rng, rows, k), floats(rng, rows, k) if seed % 2 else None
    threshold = floats(rng, k) if seed % 3 else None
    gamma, beta, eps = floats(rng, k), floats(rng, k), float(rng.choice([0.0, 1e-12, 1e-5]))

    def solve(_threads: int) -> Arrays:
        r = native.layer_norm(x, gamma, beta, eps, residual=residual, threshold=threshold, bits=True, t2=True)
        return r.out, r.bits, r.t2

    assert_same(solve)


@pytest.mark.parametrize("seed", range(20))
def test_tuned_layer_norm(seed):
    rng = np.random.default_rng(seed)
    images, tokens, k, start = (int(rng.integers(1, most)) for most in (4, 6, 300, 5))
    x, gamma, beta = floats(rng, images * tokens, k), floats(rng, k), floats(rng, k)
    tuning = native.Tuning(floats(rng, images if seed % 2 else 1, start + 2 * k) / 4, start, 0.5)
    mask = (rng.random(images * tokens) < 0.6).astype(np.uint8) if seed % 3 else None

    def solve(_threads: int) -> Arrays:
        to = {"t2": True, "tuning": tuning, "images": images, "mask": mask, "moments": True}
        r = native.layer_norm(x, gamma, beta, 1e-6, **to)
        return r.out, r.t2, r.moments

    assert_same(solve)
