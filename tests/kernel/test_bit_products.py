"""Products of planes, and of plain floats with weights of bits, against plain numpy, on every instruction set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cases import epilogue as random_epilogue
from cases import floats, geometry, packed
from test_integer import decoded, random_weights
from test_reference import apply, assert_equal, conv_integers, unpacked

from edgeq import _native as native
from edgeq._errors import UsageError
from edgeq._native import Conv2d, Epilogue, Outputs
from edgeq._native.floating import FLOAT_LINEAR
from edgeq._native.integer import WEIGHT_PLANES

F = np.float32
ISAS = native.usable_isas()
Product = Callable[..., Outputs]


def ternary(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """(2, ..., row): random planes, the first 0 where the second is."""
    nonzero = packed(rng, *shape)
    return np.stack([packed(rng, *shape) & nonzero, nonzero])


def groups_of_bytes(rng: np.random.Generator, c: int) -> tuple[int, int]:
    fitting = [g for g in range(1, c + 1) if c % g == 0 and (g in (1, c) or c // g % 8 == 0)]
    return int(rng.choice(fitting)), int(rng.integers(1, 20))


def values(kind: str, rows: np.ndarray, k: int) -> np.ndarray:
    """Packed rows -> (..., k) int64; u1: a set bit is 1, another 0."""
    if kind == "u1":
        return (unpacked(rows, k) + 1) // 2
    return decoded("t2", rows, k) if kind == "t2" else unpacked(rows, k)


CONVOLUTIONS: dict[str, tuple[Product, str, str]] = {
    "b1t2": (native.conv2d_b1t2, "t2", "b1"),
    "b1u1": (native.conv2d_b1u1, "u1", "b1"),
    "t2b1": (native.conv2d_t2b1, "b1", "t2"),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("types", CONVOLUTIONS)
def test_conv2d(types, seed, isa):
    native.select_isa(isa)
    rng = np.random.default_rng(seed)
    run, x_kind, w_kind = CONVOLUTIONS[types]
    op = geometry(rng, groups=groups_of_bytes if seed % 2 else None)
    cg = op.c // op.groups
    x = (ternary if x_kind == "t2" else packed)(rng, op.n, op.h, op.w, op.c)
    w = (ternary if w_kind == "t2" else packed)(rng, op.o, op.kh, op.kw, cg)
    e = random_epilogue(rng, op.n, op.out_h, op.out_w, op.o)
    acc = conv_integers(values(x_kind, x, op.c), values(w_kind, w, cg), op)
    with np.errstate(over="ignore"):
        assert_equal(run(x, w, op, e, threads=1 + 2 * (seed % 3 == 0)), apply(e, acc), e)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("x_fill", "w_fill"), [(0x00, 0xFF), (0xFF, 0x00), (0xFF, 0xFF)])
@pytest.mark.parametrize(("c", "kernel"), [(64, 1), (256, 3), (1024, 5)])
def test_extremes(c, kernel, x_fill, w_fill, isa):
    """Every counter reaches its largest value, with zeros outside the image."""
    native.select_isa(isa)
    op = Conv2d.same((1, 4, 5, c), 33, (kernel, kernel))
    x = np.full((1, 4, 5, c // 8), x_fill, np.uint8)
    signs = np.full((33, kernel, kernel, c // 8), w_fill, np.uint8)
    for run, x_kind, w in (
        (native.conv2d_b1u1, "u1", signs),
        (native.conv2d_t2b1, "b1", np.stack([signs, np.full_like(signs, 0xFF)])),
    ):
        wanted = conv_integers(values(x_kind, x, c), unpacked(signs, c), op)
        np.testing.assert_array_equal(run(x, w, op, Epilogue(outputs=("acc",))).acc, wanted)


def in_sixteenths(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(m, k), (o, k) -> (m, o) float32: sixteen interleaved sums, folded 8, 4, 2, 1 as floating.h states."""
    m, k = x.shape
    parts = np.zeros((m, len(w), 16), F)
    for i in range(k):
        parts[:, :, i % 16] += x[:, i, None] * w[None, :, i]
    for half in (8, 4, 2, 1):
        parts[:, :, :half] += parts[:, :, half : 2 * half]
    return parts[:, :, 0]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("weights", FLOAT_LINEAR)
def test_linear_f32(weights, seed, isa):
    native.select_isa(isa)
    rng = np.random.default_rng(seed)
    m, k, o = (int(v) for v in rng.integers(1, [4 if seed % 2 else 40, 300, 90]))
    x = floats(rng, m, k)
    if weights == "f32":
        w = value = floats(rng, o, k)
    else:
        w = random_weights(rng, weights, (WEIGHT_PLANES[weights], o, native.row_bytes(k)), k)
        value = decoded(weights, w, k).astype(F)
    e = random_epilogue(rng, m, 1, 1, o, integer=False)
    acc = in_sixteenths(x, value).reshape(m, 1, 1, o)
    with np.errstate(over="ignore"):
        assert_equal(native.linear_f32(weights, x, w, e, threads=1 + 2 * (seed % 2)), apply(e, acc), e)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("weights", "largest"), [("s2", 2), ("s3", 8), ("s4", 128)])
def test_largest_shifts_of_both_signs(weights, largest, isa):
    """+2^7 is no int8."""
    native.select_isa(isa)
    w = np.zeros((WEIGHT_PLANES[weights], 2, native.row_bytes(1)), np.uint8)
    w[:, 1, 0] = 1
    w[1:, 0, 0] = 1
    x = np.array([[1.5]], F)
    assert native.linear_f32(weights, x, w, Epilogue()).out.tolist() == [[-1.5 * largest, 1.5 * largest]]


def test_refused():
    op = Conv2d.same((1, 3, 3, 12), 6, (3, 3), (1, 1), 3)
    x, w = np.zeros((1, 3, 3, 2), np.uint8), np.zeros((6, 3, 3, 1), np.uint8)
    with pytest.raises(UsageError):  # 4 channels a group are neither whole bytes nor one
        native.conv2d_b1u1(x, w, op, Epilogue())
    with pytest.raises(UsageError):
        native.conv2d_t2b1(x, np.stack([w, w]), op, Epilogue())
    with pytest.raises(UsageError, match="w: expected shape"):  # one plane only
        native.conv2d_t2b1(x, w, op, Epilogue())
    with pytest.raises(UsageError, match="w: expected shape"):  # three planes, not four
        native.linear_f32("s4", np.zeros((1, 8), F), np.zeros((3, 2, 1), np.uint8), Epilogue())
