"""Integer products and the quantiser of activations against plain numpy, on every instruction set of this machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import epilogue as random_epilogue
from cases import floats, geometry
from test_reference import apply, assert_equal, conv_integers, windows

from edgeq import _native as native
from edgeq._errors import UsageError
from edgeq._native import Conv2d, Epilogue, Grid, WeightsI4, prepared
from edgeq._native._structures import CWeightsI4
from edgeq._native.integer import CODES_KINDS, WEIGHT_PLANES, weight_shape

F = np.float32
ISAS = native.usable_isas()


def decoded(weights: str, w: np.ndarray, k: int) -> np.ndarray:
    """Canonical rows -> (..., k) int64."""
    if weights == "i8":
        return w[..., :k].astype(np.int64)
    planes = np.unpackbits(w, axis=-1, bitorder="little")[..., :k].astype(np.int64)
    sign = 2 * planes[0] - 1
    if weights == "b1":
        return sign
    if weights == "t2":
        return sign * planes[1]
    return sign * 2 ** sum(plane << i for i, plane in enumerate(planes[1:]))


def random_weights(rng: np.random.Generator, weights: str, shape: tuple[int, ...], k: int) -> np.ndarray:
    if weights == "i8":
        return rng.integers(-128, 128, shape, dtype=np.int8)
    bits = np.zeros((*shape[:-1], shape[-1] * 8), np.uint8)
    bits[..., :k] = rng.integers(0, 2, (*shape[:-1], k))
    if weights == "t2":
        bits[0] &= bits[1]
    return np.packbits(bits, axis=-1, bitorder="little")


def any_groups(rng: np.random.Generator, c: int) -> tuple[int, int]:
    return int(rng.choice([g for g in range(1, c + 1) if c % g == 0])), int(rng.integers(1, 20))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("weights", WEIGHT_PLANES)
def test_conv2d(weights, seed, isa):
    native.select_isa(isa)
    rng = np.random.default_rng(seed)
    op = geometry(rng, groups=any_groups if seed % 3 == 1 else (lambda r, c: (c, 2)) if seed % 3 == 2 else None)
    cg, depthwise = op.c // op.groups, op.groups == op.c > 1 and weights != "i8"
    shape = weight_shape(weights, op)
    w = random_weights(rng, weights, shape, op.o if depthwise else cg)
    x = rng.integers(-128, 128, (op.n, op.h, op.w, op.c), dtype=np.int8)
    values = decoded(weights, w, op.o if depthwise else cg)
    values = np.moveaxis(values, -1, 0)[..., None] if depthwise else values
    e = random_epilogue(rng, op.n, op.out_h, op.out_w, op.o)
    acc = conv_integers(x.astype(np.int64), values, op)
    with np.errstate(over="ignore"):
        assert_equal(native.conv2d_i8(weights, x, w, op, e, threads=1 + 2 * (seed % 2)), apply(e, acc), e)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("weights", WEIGHT_PLANES)
def test_linear(weights, seed, isa):
    native.select_isa(isa)
    rng = np.random.default_rng(seed)
    m, k, o = (int(v) for v in rng.integers(1, [4 if seed % 2 else 70, 500, 150]))
    shape = (o, k) if weights == "i8" else (WEIGHT_PLANES[weights], o, native.row_bytes(k))
    w, x = random_weights(rng, weights, shape, k), rng.integers(-128, 128, (m, k), dtype=np.int8)
    e = random_epilogue(rng, m, 1, 1, o)
    acc = (x.astype(np.int64) @ decoded(weights, w, k).T).reshape(m, 1, 1, o)
    assert_equal(native.linear_i8(weights, x, w, e, threads=1 + 2 * (seed % 2)), apply(e, acc), e)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("m", [1, 8])
@pytest.mark.parametrize("weights", WEIGHT_PLANES)
@pytest.mark.parametrize(("x_fill", "w_fill"), [(-128, 0), (-128, 255), (127, 0), (127, 255)])
def test_extremes(weights, x_fill, w_fill, m, isa):
    """Every partial sum reaches its largest value."""
    native.select_isa(isa)
    k, o = 1000, 64
    fill = np.uint8(w_fill)
    if weights == "i8":
        w = np.full((o, k), 127 if w_fill else -128, np.int8)
    else:
        row = np.packbits(np.arange(native.row_bytes(k) * 8) < k, bitorder="little")
        w = np.tile(row, (WEIGHT_PLANES[weights], o, 1))
        w[0] &= fill
    x = np.full((m, k), x_fill, np.int8)
    got = native.linear_i8(weights, x, w, Epilogue(outputs=("acc",))).acc
    np.testing.assert_array_equal(got, x.astype(np.int64) @ decoded(weights, w, k).T)


def weights_i4(rng: np.random.Generator, o: int, k: int, group: int, zero: str) -> WeightsI4:
    groups = -(-k // group)
    codes = rng.integers(0, 256, (o, native.row_bytes(4 * k)), dtype=np.uint8)
    zeros = {
        "eight": None,
        "u4": rng.integers(0, 256, (o, (groups + 1) // 2), dtype=np.uint8),
        "f16": (rng.random((o, groups)) * 15).astype(np.float16),
    }[zero]
    scale = (rng.standard_normal((o, groups)) * 0.05).astype(np.float16)
    scale[0, 0] = 6e-8  # subnormal
    return WeightsI4(codes, scale, group, zeros)


def groups_in_order(x: np.ndarray, w: WeightsI4, step: np.ndarray | None) -> np.ndarray:
    """(m, o) float32, part after part as integer.h states."""
    m, k = x.shape
    nibbles = np.stack([w.codes & 15, w.codes >> 4], -1).reshape(len(w.codes), -1)[:, :k].astype(np.int64)
    x = x.astype(np.int64)
    acc, piece = np.zeros((m, len(nibbles)), F), 32 if step is not None else w.group
    for begin in range(0, k, piece):
        g, part = begin // w.group, slice(begin, begin + piece)
        total, ones = x[:, part] @ nibbles[:, part].T, x[:, part].sum(1, keepdims=True)
        scale = w.scale[:, g].astype(F)[None]
        scale = scale if step is None else scale * step[:, begin // 32, None]
        if w.zero is not None and w.zero.dtype == np.float16:
            acc = acc + (total.astype(F) - w.zero[:, g].astype(F)[None] * ones.astype(F)) * scale
            continue
        zero = np.int64(8) if w.zero is None else (w.zero[:, g // 2] >> 4 * (g % 2) & 15).astype(np.int64)[None]
        acc = acc + (total - zero * ones).astype(F) * scale
    return acc


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("zero", ["eight", "u4", "f16"])
@pytest.mark.parametrize("group", [32, 64, 128, 0])
def test_linear_i4i8(group, zero, seed, isa):
    native.select_isa(isa)
    rng = np.random.default_rng(seed)
    m, k, o = (int(v) for v in rng.integers(1, [4 if seed % 2 else 60, 500, 100]))
    k = max(32, k // 32 * 32) if seed % 4 > 1 else k
    group = group or k
    w = weights_i4(rng, o, k, group, zero)
    x = rng.integers(-128, 128, (m, k), dtype=np.int8)
    if seed == 3:
        x[:] = -128
        w.codes[:] = 255
    step = rng.random((m, -(-k // 32)), dtype=F) if seed % 3 == 0 and group % 32 == 0 else None
    e = random_epilogue(rng, m, 1, 1, o, integer=False)
    acc = groups_in_order(x, w, step).reshape(m, 1, 1, o)
    assert_equal(native.linear_i4i8(x, w, e, block_step=step, threads=1 + 2 * (seed % 2)), apply(e, acc), e)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("power", [-149, -128, -120, -100, 90, 110, 125])
@pytest.mark.parametrize("rows", [1, 7])
def test_steps_of_any_size(rows, power, isa):
    """Steps whose products with a scale are hardly numbers: no kernel may take a factor elsewhere then."""
    native.select_isa(isa)
    rng, k, o = np.random.default_rng(rows), 96, 70
    w = weights_i4(rng, o, k, 32, "eight")
    x = rng.integers(-128, 128, (rows, k), dtype=np.int8)
    x[:, :32] = 0  # 0 times what may be infinite
    w.scale[35:] *= 1000
    step = (rng.random((rows, 3)) + 1).astype(F) * F(2.0**power)
    out = np.empty((rows, o), F)
    weights = CWeightsI4(w.codes.ctypes.data, w.scale.ctypes.data, 0, None, 32)
    made = prepared.tiles("i4", o, k, weights)
    prepared.tiled_linear("i4i8", prepared.linear(rows, k, o), (x, step), made, prepared.epilogue({"out": out}))()
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(out, groups_in_order(x, w, step))


@pytest.mark.parametrize("isa", [isa for isa in ISAS if "neon" not in isa and isa != "ref"])  # NEON has no such tiles
@pytest.mark.parametrize("rows", [1, 2])
def test_powers_of_two_beyond_the_cache(rows, isa):
    """So many weights that one row takes s4 in two halves; +128 and -128 are among them."""
    native.select_isa(isa)
    rng, k, o = np.random.default_rng(rows), 2056, 1600
    weights = (rng.choice([-1, 1], (o, k)) << rng.integers(0, 8, (o, k))).astype(np.int16)
    size = np.abs(weights).astype(F).view(np.uint32) >> 23
    bits = (weights > 0, *((size - 127) >> bit & 1 for bit in range(3)))
    planes = np.zeros((4, o, native.row_bytes(k)), np.uint8)
    for plane, each in zip(planes, bits, strict=True):
        plane[:, : k // 8] = np.packbits(each, axis=1, bitorder="little")
    x, out = rng.integers(-128, 128, (rows, k), dtype=np.int8), np.empty((rows, o), F)
    made = prepared.tiles("s4", o, k, planes)
    prepared.tiled_linear("s4i8", prepared.linear(rows, k, o), (x,), made, prepared.epilogue({"out": out}))()
    np.testing.assert_array_equal(out, x.astype(np.int64) @ weights.T.astype(np.int64))


def rows_of_windows(x: np.ndarray, op: Conv2d) -> np.ndarray:
    """(n, h, w, c) -> (n * out_h * out_w, kh * kw * c), zeros outside the image."""
    rows = np.zeros((op.n, op.out_h, op.out_w, op.kh, op.kw, op.c), x.dtype)
    for y in range(op.out_h):
        for px in range(op.out_w):
            for ky, kx, pixels in windows(x, op, y, px):
                rows[:, y, px, ky, kx] = pixels
    return rows.reshape(op.n * op.out_h * op.out_w, -1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("zero", ["eight", "u4", "f16"])
def test_conv2d_i4i8(zero, seed, isa):
    native.select_isa(isa)
    rng = np.random.default_rng(seed)
    op = geometry(rng) if seed else Conv2d.same((2, 13, 12, 32), 70, (3, 3))  # more windows than go at once
    k = op.kh * op.kw * op.c
    group = int(rng.choice([32, 64, k]))
    w = weights_i4(rng, op.o, k, group, zero)
    x = rng.integers(-128, 128, (op.n, op.h, op.w, op.c), dtype=np.int8)
    e = random_epilogue(rng, op.n, op.out_h, op.out_w, op.o, integer=False)
    acc = groups_in_order(rows_of_windows(x, op), w, None).reshape(op.n, op.out_h, op.out_w, op.o)
    with np.errstate(over="ignore"):
        assert_equal(native.conv2d_i4i8(x, w, op, e, threads=1 + 2 * (seed % 2)), apply(e, acc), e)


def codes_by_definition(x: np.ndarray, kind: str, clip: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One range for all of x."""
    x = np.clip(x, -F(clip), F(clip)) if clip else x
    if kind.endswith("-asym"):
        width = (x.max() - x.min()) + F(1e-8)
        step = width / F(255)
        codes = np.clip(np.rint((x - x.min()) / width * F(255)), 0, 255) - 128
        return codes.astype(np.int8), step, x.min() + F(128) * step
    most = np.abs(x).max()
    if most < F(2) ** -120:
        return np.zeros(x.shape, np.int8), F(0), F(0)
    return np.clip(np.rint(x * (F(127) * (F(1) / most))), -127, 127).astype(np.int8), most / F(127), F(0)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", CODES_KINDS[1:])
def test_quantiser(kind, seed, isa):
    native.select_isa(isa)
    rng = np.random.default_rng(seed)
    rows, k = (int(v) for v in rng.integers(1, [9, 200]))
    k = k // 32 * 32 + 32 if seed % 4 > 1 else k
    x, clip = floats(rng, rows, k) * F(rng.choice([1, 1e-3, 1e4])), float(rng.choice([0, 0, 2.5]))
    x[0] = 0 if seed % 3 == 0 else x[0]
    x[-1] = F(1e-40) if seed % 3 == 1 else x[-1]
    codes, step, shift = native.quantise_i8(x, kind, clip=clip, threads=1 + 2 * (seed % 2))
    whole = [x] if kind.startswith("tensor") else list(x)
    if kind == "block32-sym":
        whole = [row[begin : begin + 32] for row in x for begin in range(0, k, 32)]
    wanted = [codes_by_definition(part, kind, clip) for part in whole]
    np.testing.assert_array_equal(codes.ravel(), np.concatenate([c.ravel() for c, _, _ in wanted]))
    np.testing.assert_array_equal(step.ravel(), np.broadcast_to([s for _, s, _ in wanted], step.size))
    if shift is not None:
        np.testing.assert_array_equal(shift, np.broadcast_to([s for _, _, s in wanted], rows))


@pytest.mark.parametrize("isa", ISAS)
def test_static_quantiser(isa):
    native.select_isa(isa)
    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, np.nan, np.inf, -np.inf, 1e30, -0.0, 126.5, 127.5]] * 3, F)
    codes, step, shift = native.quantise_i8(x, "static", grid=Grid(1.0, -127, 127))
    assert codes[0].tolist() == [0, 2, 2, 0, -2, -127, 127, -127, 127, 0, 126, 127]
    assert step is None
    assert shift is None
    codes, _, _ = native.quantise_i8(x, "static", grid=Grid(2.0, 0, 3), threads=2)
    assert codes.tolist() == [[1, 3, 3, 0, 0, 0, 3, 0, 3, 0, 3, 3]] * 3


def test_refused():
    x, w = np.zeros((2, 64), np.int8), np.zeros((2, 8, 8), np.uint8)
    with pytest.raises(UsageError, match="w: expected shape"):
        native.linear_i8("s3", x, w, Epilogue())
    with pytest.raises(UsageError, match="weights"):
        native.linear_i8("q9", x, w, Epilogue())
    with pytest.raises(UsageError, match="grid"):
        native.quantise_i8(np.zeros((1, 4), F), "row-sym", grid=Grid(1.0))
    with pytest.raises(UsageError):
        native.quantise_i8(np.zeros((1, 4), F), "row-sym", clip=-1.0)
    half = np.zeros((8, 2), np.float16)
    with pytest.raises(UsageError, match="scale"):
        native.linear_i4i8(x, WeightsI4(np.zeros((8, 32), np.uint8), half, 64), Epilogue())
    with pytest.raises(UsageError):  # neither a multiple of 32 nor all of k
        native.linear_i4i8(x, WeightsI4(np.zeros((8, 32), np.uint8), np.zeros((8, 3), np.float16), 30), Epilogue())
    op, image = Conv2d.valid((1, 3, 3, 64), 8, (1, 1), groups=2), np.zeros((1, 3, 3, 64), np.int8)
    w4 = WeightsI4(np.zeros((8, 32), np.uint8), half, 32)
    with pytest.raises(UsageError):  # groups of channels
        native.conv2d_i4i8(image, w4, op, Epilogue())
    with pytest.raises(UsageError):  # the sum is a float
        native.conv2d_i4i8(image, w4, replace(op, groups=1), Epilogue(outputs=("acc",)))
    wide = Conv2d.valid((1, 1, 1, 2**17), 1, (1, 1))
    with pytest.raises(UsageError):  # the sum might pass 31 bits
        native.conv2d_i8(
            "i8", np.zeros((1, 1, 1, 2**17), np.int8), np.zeros((1, 1, 1, 2**17), np.int8), wide, Epilogue()
        )
