"""The reference kernels against an independent, slow implementation in numpy: exact integers, stated float order."""

from __future__ import annotations

import numpy as np
import pytest
from cases import epilogue as random_epilogue
from cases import floats, geometry, packed, quant

from edgeq import _native as native
from edgeq._native import Conv2d, Epilogue, Outputs, Quant, Residual

F = np.float32


@pytest.fixture(autouse=True)
def reference(best_isa):
    native.select_isa("ref")


def unpacked(rows: np.ndarray, k: int) -> np.ndarray:
    """(..., row_bytes) uint8 -> (..., k) of +1 and -1."""
    return np.unpackbits(rows, axis=-1, bitorder="little")[..., :k].astype(np.int64) * 2 - 1


def windows(x: np.ndarray, op: Conv2d, y: int, px: int):
    """(ky, kx, pixels (n, c)) of every tap inside the image."""
    for ky in range(op.kh):
        for kx in range(op.kw):
            iy, ix = y * op.stride_h + ky - op.pad_top, px * op.stride_w + kx - op.pad_left
            if 0 <= iy < op.h and 0 <= ix < op.w:
                yield ky, kx, x[:, iy, ix]


def conv_integers(x: np.ndarray, w: np.ndarray, op: Conv2d) -> np.ndarray:
    acc = np.zeros((op.n, op.out_h, op.out_w, op.o), np.int64)
    cg, og = op.c // op.groups, op.o // op.groups
    for y in range(op.out_h):
        for px in range(op.out_w):
            for ky, kx, pixels in windows(x, op, y, px):
                for g in range(op.groups):
                    outputs = slice(g * og, (g + 1) * og)
                    acc[:, y, px, outputs] += pixels[:, g * cg : (g + 1) * cg] @ w[outputs, ky, kx].T
    return acc


def average(r: np.ndarray) -> np.ndarray:
    """3x3, stride 2, TensorFlow SAME, divisor 9; taps in row-major order from 0."""
    n, h, w, c = r.shape
    out = np.zeros((n, -(-h // 2), -(-w // 2), c), F)
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            for ky in range(3):
                for kx in range(3):
                    iy, ix = 2 * y + ky - h % 2, 2 * x + kx - w % 2
                    if 0 <= iy < h and 0 <= ix < w:
                        out[:, y, x] += r[:, iy, ix]
    return out * F(1 / 9)


def shaped(r: Residual, like: np.ndarray) -> np.ndarray:
    data, (n, h, w, o) = r.data, like.shape
    if data.dtype == np.int8:
        return data.reshape(like.shape).astype(F) * F(r.step)
    data = data.reshape(n, *(data.shape[1:3] if data.ndim == 4 else (1, 1)), -1)
    c = data.shape[-1]
    if c > o:
        runs = data[..., : c // o * o].reshape(*data.shape[:3], o, c // o)
        total = runs[..., 0].copy()
        for i in range(1, c // o):
            total += runs[..., i]
        data = total / F(c // o)
    elif c < o and r.mode == "tile":
        data = np.concatenate([data] * (o // c), axis=-1)
    elif c < o:
        data = np.concatenate([data, np.zeros((*data.shape[:3], o - c), F)], axis=-1)
    return data if data.shape[1:3] == (h, w) else average(data)


def poly(c: list[float], x: np.ndarray) -> np.ndarray:
    value = np.full_like(x, F(c[5]))
    for a in c[4::-1]:
        value = value * x + F(a)
    return value


def exp(x: np.ndarray) -> np.ndarray:
    """By the polynomial of core/functions.h, in its order."""
    x = np.minimum(np.maximum(x, F(-87)), F(88))
    n = np.rint(x * F(1.44269504))
    r = (x - n * F(0.693359375)) - n * F(-2.12194440e-4)
    c = [5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4]
    return ((poly(c, r) * (r * r) + r) + F(1)) * np.exp2(n)


def gelu(y: np.ndarray) -> np.ndarray:
    """x / 2 * (1 + erf(x / sqrt 2)) by the polynomials of core/functions.h, in its order."""
    x = y * F(0.70710678)
    size = np.abs(x)
    near = x * poly([1.1283791, -0.37612355, 0.112804115, -0.026717706, 0.0049247877, -0.0005660147], x * x)
    far = F(1) - exp(poly([-0.0026715093, -1.1174392, -0.65448815, -0.0886347, 0.014778282, -0.0011504416], size))
    far = np.where(size >= F(3.9), F(1), np.minimum(far, F(0.99999994)))
    erf = np.where(size >= 1, np.where(x >= 0, far, -far), near)
    return (F(0.5) * y) * (F(1) + erf)


def image_mean(y: np.ndarray) -> np.ndarray:
    """(n, h, w, o) -> (n, o): a row of pixels is added from the left, the rows from the top."""
    n, h, w, o = y.shape
    mean = np.zeros((n, o), F)
    for row in range(h):
        total = np.zeros((n, o), F)
        for x in range(w):
            total = total + y[:, row, x]
        mean = mean + total
    return mean * F(1 / (h * w))


def apply(e: Epilogue, acc: np.ndarray) -> Outputs:
    """acc (n, h, w, o) -> every output that e asks for."""
    n, h, w, o = acc.shape
    y = acc.astype(F)
    row = [None if v is None else v[:, None, None, None] for v in (e.row_scale, e.row_shift)]
    scale, bias = e.scale if row[0] is None else row[0] if e.scale is None else row[0] * e.scale, e.bias
    if e.tuning is not None:
        a, c = (e.tuning.ac[:, None, None, e.tuning.start + i * o :][..., :o] for i in range(2))
        scale, bias = e.scale * exp(a), e.bias + F(e.tuning.sigma) * c
    y = y if scale is None else y * scale
    y = y if row[1] is None else y + row[1] * e.shift_weight
    moments = None
    if "moments" in e.outputs:
        centre = image_mean(y)
        spread = np.maximum(image_mean(y * y) - centre * centre, F(0))
        moments = np.stack([centre + bias.reshape(-1, o), spread], axis=1)
    y = y if bias is None else y + bias
    for r in e.residuals:
        y = y + shaped(r, y)
    if e.act == "relu":
        y = np.where(y > 0, y, F(0))
    elif e.act == "dprelu":
        y = np.where(y >= 0, e.pos, e.neg) * y - e.shift
    elif e.act == "hsigmoid":
        y = np.minimum(np.maximum(y + F(3), F(0)), F(6)) / F(6)
    elif e.act == "gelu":
        with np.errstate(over="ignore"):
            y = gelu(y)
    factors = [f for f in (None if e.gain is None else e.gain[:, None, None], e.scale2) if f is not None]
    y = y * (factors[0] * factors[1]) if len(factors) == 2 else y * factors[0] if factors else y
    y = y if e.bias2 is None else y + e.bias2
    bits = np.zeros((n, h, w, native.row_bytes(o) * 8), np.uint8)
    bits[..., :o] = y >= 0
    planes = np.zeros((2, *bits.shape), np.uint8)
    planes[0, ..., :o], planes[1, ..., :o] = y > 0, y != 0
    codes = np.clip(np.rint(y * F(e.grid.inv_step)), e.grid.low, e.grid.high) if e.grid else np.zeros_like(y)
    return Outputs(
        acc,
        y,
        np.packbits(bits, axis=-1, bitorder="little"),
        np.packbits(planes, axis=-1, bitorder="little"),
        codes.astype(np.int8),
        image_mean(y),
        moments,
    )


def assert_equal(got: Outputs, wanted: Outputs, e: Epilogue) -> None:
    for name in e.outputs:
        a, b = getattr(got, name), getattr(wanted, name)
        np.testing.assert_array_equal(a, b.reshape(a.shape), err_msg=name)


@pytest.mark.parametrize("seed", range(40))
def test_conv2d_b1b1(seed):
    rng = np.random.default_rng(seed)
    op = geometry(rng, groups=lambda r, c: (int(r.choice([1, c])), 2) if seed % 2 else (1, int(r.integers(1, 40))))
    x, w = packed(rng, op.n, op.h, op.w, op.c), packed(rng, op.o, op.kh, op.kw, op.c // op.groups)
    e = random_epilogue(rng, op.n, op.out_h, op.out_w, op.o)
    acc = conv_integers(unpacked(x, op.c), unpacked(w, op.c // op.groups), op)
    assert_equal(native.conv2d_b1b1(x, w, op, e), apply(e, acc), e)


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_conv2d_b1b1_groups_of_whole_bytes(groups):
    rng = np.random.default_rng(groups)
    op = Conv2d.same((2, 5, 4, 64), 3 * groups, (3, 3), (2, 1), groups)
    x, w = packed(rng, 2, 5, 4, 64), packed(rng, op.o, 3, 3, 64 // groups)
    e = Epilogue(outputs=("acc",))
    got = native.conv2d_b1b1(x, w, op, e).acc
    np.testing.assert_array_equal(got, conv_integers(unpacked(x, 64), unpacked(w, 64 // groups), op))


@pytest.mark.parametrize("seed", range(20))
def test_linear_b1b1(seed):
    rng = np.random.default_rng(seed)
    m, k, o = (int(v) for v in rng.integers(1, [20, 400, 90]))
    x, w = packed(rng, m, k), packed(rng, o, k)
    e = random_epilogue(rng, m, 1, 1, o)
    acc = (unpacked(x, k) @ unpacked(w, k).T).reshape(m, 1, 1, o)
    assert_equal(native.linear_b1b1(x, w, k, e), apply(e, acc), e)


def fake(x: np.ndarray, q: Quant) -> np.ndarray:
    if q.kind == "none":
        return x
    scaled, top = x * q.scale, F(q.top)
    if q.kind == "sym":
        return np.floor(np.minimum(np.maximum(scaled, -top), top) + F(0.5)) * q.step
    return np.minimum(np.maximum(np.floor(scaled), F(0)), top) * q.step


@pytest.mark.parametrize("seed", range(20))
def test_conv2d_i8f32(seed):
    rng = np.random.default_rng(seed)
    op = geometry(rng, groups=lambda r, c: (int(r.choice([g for g in range(1, c + 1) if c % g == 0])), 2))
    cg, og = op.c // op.groups, op.o // op.groups
    x, q = floats(rng, op.n, op.h, op.w, op.c), quant(rng, op.c)
    w = rng.integers(-128, 128, (op.o, op.kh, op.kw, cg), dtype=np.int8)
    e = random_epilogue(rng, op.n, op.out_h, op.out_w, op.o, integer=False)
    value, acc = fake(x, q), np.zeros((op.n, op.out_h, op.out_w, op.o), F)
    for y in range(op.out_h):
        for px in range(op.out_w):
            for ky, kx, pixels in windows(value, op, y, px):
                for i in range(cg):
                    channels = np.arange(op.o) // og * cg + i
                    acc[:, y, px] += pixels[:, channels] * w[:, ky, kx, i].astype(F)
    assert_equal(native.conv2d_i8f32(x, q, w, op, e), apply(e, acc), e)


def sixteen_sums(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x (m, k) float32, w (o, k): the order that linear_i8f32 states."""
    p = np.zeros((x.shape[0], w.shape[0], 16), F)
    for k in range(x.shape[1]):
        p[:, :, k % 16] += x[:, None, k] * w[None, :, k].astype(F)
    for half in (8, 4, 2, 1):
        p[:, :, :half] += p[:, :, half : 2 * half]
    return p[:, :, 0]


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("bits", [4, 8])
def test_linear_f32(seed, bits):
    rng = np.random.default_rng(seed)
    m, k, o = (int(v) for v in rng.integers(1, [6, 120, 70]))
    x, q = floats(rng, m, k), quant(rng, k)
    e = random_epilogue(rng, m, 1, 1, o, integer=False)
    if bits == 8:
        w = rng.integers(-128, 128, (o, k), dtype=np.int8)
        got = native.linear_i8f32(x, q, w, e)
    else:
        w = rng.integers(-8, 8, (o, k), dtype=np.int8)
        codes = np.zeros((o, 2 * native.row_bytes(4 * k)), np.uint8)
        codes[:, :k] = w + 8
        got = native.linear_i4f32(x, q, codes[:, ::2] | codes[:, 1::2] << 4, e)
    assert_equal(got, apply(e, sixteen_sums(fake(x, q), w).reshape(m, 1, 1, o)), e)


@pytest.mark.parametrize("seed", range(20))
def test_epilogue_and_mean(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(v) for v in rng.integers(1, [4, 8, 9, 70]))
    acc = rng.integers(-5000, 5000, shape, dtype=np.int32)
    e = random_epilogue(rng, *shape)
    assert_equal(native.epilogue_i32(acc, e), apply(e, acc), e)
    x = floats(rng, *shape)
    np.testing.assert_array_equal(native.mean_hw(x), apply(Epilogue(), x).mean)


@pytest.mark.parametrize("k", [1, 7, 8, 9, 16, 17, 32, 33, 64, 65, 130])
def test_packing(k):
    rng = np.random.default_rng(k)
    x, threshold = floats(rng, 5, k), floats(rng, k)
    x[0, 0], x[1, 0], x[2, 0] = -0.0, np.nan, threshold[0]
    for t in (None, threshold):
        against = np.zeros(k, F) if t is None else t
        b1, t2 = native.pack_b1(x, t), native.pack_t2(x, t)
        for got, bits in ((b1, x >= against), (t2[0], x > against), (t2[1], x != against)):
            plane = np.unpackbits(got, axis=-1, bitorder="little")
            np.testing.assert_array_equal(plane[:, :k], bits)
            assert not plane[:, k:].any()
            assert got.shape == (5, native.row_bytes(k))


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_shapes(size, kernel, stride):
    op = Conv2d.same((1, size, size, 8), 8, (kernel, kernel), (stride, stride))
    assert op.out_h == op.out_w == -(-size // stride)
    assert op.pad_top == op.pad_left == max((op.out_h - 1) * stride + kernel - size, 0) // 2
    op = Conv2d.valid((1, size, size, 8), 8, (kernel, kernel), (stride, stride))
    assert op.out_h == op.out_w == max(0, (size - kernel) // stride + 1)
    assert op.pad_top == op.pad_left == 0
