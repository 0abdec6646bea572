"""Every instruction set of this machine gives the reference's bits, on one thread and on three."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cases import differing, epilogue, floats, geometry, packed, quant

from edgeq import _native as native
from edgeq._native import Conv2d, Epilogue, Outputs

FAST = [name for name in native.usable_isas() if name != "ref"]

pytestmark = pytest.mark.skipif(not FAST, reason="this machine runs the reference kernels only")


def assert_same(solve: Callable[[int], Outputs]) -> None:
    """solve(threads) on every instruction set."""
    native.select_isa("ref")
    wanted = solve(1)
    for isa in FAST:
        native.select_isa(isa)
        for threads in (1, 3):
            assert not differing(wanted, solve(threads)), f"{isa}, {threads} threads"


def groups_of_bytes(rng: np.random.Generator, c: int) -> tuple[int, int]:
    fitting = [g for g in range(1, c + 1) if c % g == 0 and (g in (1, c) or c // g % 8 == 0)]
    return int(rng.choice(fitting)), int(rng.integers(1, 30))


def any_groups(rng: np.random.Generator, c: int) -> tuple[int, int]:
    return int(rng.choice([g for g in range(1, c + 1) if c % g == 0])), int(rng.integers(1, 20))


@pytest.mark.parametrize("seed", range(60))
def test_conv2d_b1b1(seed):
    rng = np.random.default_rng(seed)
    op = geometry(rng, groups=groups_of_bytes if seed % 2 else None)
    x, w = packed(rng, op.n, op.h, op.w, op.c), packed(rng, op.o, op.kh, op.kw, op.c // op.groups)
    e = epilogue(rng, op.n, op.out_h, op.out_w, op.o)
    assert_same(lambda threads: native.conv2d_b1b1(x, w, op, e, threads=threads))


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_signs_where_scale_and_bias_cancel(seed, special):
    """Bits alone, which vector sets may tell from whole numbers: biases are a result's value and its neighbours."""
    rng = np.random.default_rng(seed)
    size, c, o = int(rng.integers(3, 9)), int(rng.choice([16, 33, 64, 130, 320])), int(rng.integers(1, 150))
    kernel = (1, 1) if seed % 2 else (3, 3)
    op = (Conv2d.valid if seed % 4 < 2 else Conv2d.same)((2, size, size, c), o, kernel, (1, 1), 1)
    k = c * kernel[0] * kernel[1]
    scale = (rng.choice([-1, 1], o) * 2.0 ** rng.uniform(-30, 30, o)).astype(np.float32)
    scale[rng.random(o) < 0.2] = rng.choice(np.array([1, -1, 1e-40, -3e-45, 3e38], np.float32))
    bias = (-scale.astype(np.float64) * rng.integers(-k // 4 - 2, k // 4 + 3, o)).clip(-3e38, 3e38).astype(np.float32)
    nudge = rng.integers(-1, 2, o)
    towards = np.where(nudge > 0, np.float32(np.inf), np.float32(-np.inf))
    bias = np.where(nudge, np.nextafter(bias, towards), bias)
    if special:
        odd = np.array([0, -0.0, np.inf, -np.inf, np.nan], np.float32)
        scale, bias = (np.where(rng.random(o) < 0.3, rng.choice(odd, o), each) for each in (scale, bias))
    x, w = packed(rng, 2, size, size, c), packed(rng, o, *kernel, c)
    e = Epilogue(scale=scale, bias=bias, outputs=("bits",))
    assert_same(lambda threads: native.conv2d_b1b1(x, w, op, e, threads=threads))


@pytest.mark.parametrize("outputs", [("out",), ("bits",), ("out", "bits"), ("acc", "out", "bits")])
@pytest.mark.parametrize("borders", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_outputs_of_scale_and_bias_alone(seed, borders, outputs):
    """Vector sets write them from counts: whole panels of outputs and others, short and long patches, pixels of any
    number, signs and ternary activations."""
    rng = np.random.default_rng(seed)
    o = int(rng.choice([32, 64, 96, 128, 160, rng.integers(1, 200)]))
    c = int(rng.choice([32, 64, 96, 192, 384, rng.integers(1, 300)]))
    kernel = (3, 3) if borders else (1, 1)
    op = Conv2d.same((1, int(rng.integers(1, 8)), int(rng.integers(1, 12)), c), o, kernel, (1, 1), 1)
    scale, bias = (floats(rng, o) * np.float32(rng.choice([1, 1e30])) if rng.random() < 0.7 else None for _ in "sb")
    x, w = packed(rng, op.n, op.h, op.w, c), packed(rng, o, *kernel, c)
    nonzero = packed(rng, op.n, op.h, op.w, c)
    e = Epilogue(scale=scale, bias=bias, outputs=outputs)
    assert_same(lambda threads: native.conv2d_b1b1(x, w, op, e, threads=threads))
    assert_same(lambda threads: native.conv2d_b1t2(np.stack([x & nonzero, nonzero]), w, op, e, threads=threads))


@pytest.mark.parametrize("fill", [0x00, 0xFF])
@pytest.mark.parametrize(("c", "kernel"), [(64, 1), (256, 3), (1024, 5), (2048, 7)])
def test_conv2d_b1b1_with_all_bits_different(c, kernel, fill):
    """Every counter reaches its largest value."""
    op = Conv2d.same((1, 8, 8, c), 64, (kernel, kernel))
    x = np.full((1, 8, 8, c // 8), fill, np.uint8)
    w = np.full((64, kernel, kernel, c // 8), 0xFF - fill, np.uint8)
    assert_same(lambda threads: native.conv2d_b1b1(x, w, op, Epilogue(outputs=("acc",)), threads=threads))
    middle = native.conv2d_b1b1(x, w, op, Epilogue(outputs=("acc",))).acc[0, 4, 4]
    assert (middle == -c * kernel * kernel).all()


@pytest.mark.parametrize("seed", range(40))
def test_linear_b1b1(seed):
    rng = np.random.default_rng(seed)
    m, k, o = (int(v) for v in rng.integers(1, [4 if seed % 2 else 90, 900, 200]))
    x, w, e = packed(rng, m, k), packed(rng, o, k), epilogue(rng, m, 1, 1, o)
    assert_same(lambda threads: native.linear_b1b1(x, w, k, e, threads=threads))


@pytest.mark.parametrize("seed", range(40))
def test_conv2d_i8f32(seed):
    rng = np.random.default_rng(seed)
    op = geometry(rng, groups=any_groups if seed % 2 else None)
    x, q = floats(rng, op.n, op.h, op.w, op.c), quant(rng, op.c)
    w = rng.integers(-128, 128, (op.o, op.kh, op.kw, op.c // op.groups), dtype=np.int8)
    e = epilogue(rng, op.n, op.out_h, op.out_w, op.o, integer=False)
    assert_same(lambda threads: native.conv2d_i8f32(x, q, w, op, e, threads=threads))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("bits", [4, 8])
def test_linear_f32(seed, bits):
    rng = np.random.default_rng(seed)
    m, k, o = (int(v) for v in rng.integers(1, [9, 300, 150]))
    x, q, e = floats(rng, m, k), quant(rng, k), epilogue(rng, m, 1, 1, o, integer=False)
    if bits == 8:
        w = rng.integers(-128, 128, (o, k), dtype=np.int8)
        assert_same(lambda threads: native.linear_i8f32(x, q, w, e, threads=threads))
    else:
        codes = rng.integers(0, 256, (o, native.row_bytes(4 * k)), dtype=np.uint8)
        assert_same(lambda threads: native.linear_i4f32(x, q, codes, e, threads=threads))


@pytest.mark.parametrize("seed", range(30))
def test_epilogue_mean_and_packing(seed):
    rng = np.random.default_rng(seed)
    n, h, w, o = (int(v) for v in rng.integers(1, [4, 9, 90, 200]))
    acc = rng.integers(-5000, 5000, (n, h, w, o), dtype=np.int32)
    e, x, threshold = epilogue(rng, n, h, w, o), floats(rng, n, h, w, o), floats(rng, o)
    rows = x.reshape(-1, o)
    assert_same(lambda _: native.epilogue_i32(acc, e))
    assert_same(lambda _: Outputs(mean=native.mean_hw(x)))
    for t in (None, threshold):
        assert_same(lambda _, t=t: Outputs(bits=native.pack_b1(rows, t)))
        assert_same(lambda _, t=t: Outputs(bits=native.pack_t2(rows, t)))
