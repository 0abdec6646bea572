"""Random problems for the core's operators, and how to tell two results apart bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgeq import _native as native
from edgeq._native import Conv2d, Epilogue, Outputs, Quant, Residual

Rng = np.random.Generator


def floats(rng: Rng, *shape: int) -> native.F32:
    """Normal values, some of them exactly 0 and -0."""
    x = rng.standard_normal(shape, dtype=np.float32)
    x[rng.random(shape) < 0.05] = 0.0
    x[rng.random(shape) < 0.05] *= np.float32(-0.0)
    return x


def packed(rng: Rng, *shape: int) -> native.U8:
    """Random signs (..., k) as packed rows (..., row_bytes(k))."""
    signs = rng.standard_normal(shape, dtype=np.float32)
    return native.pack_b1(signs.reshape(-1, shape[-1])).reshape(*shape[:-1], -1)


def residual(rng: Rng, n: int, h: int, w: int, o: int) -> Residual:
    """Of the output's size or twice that; of fewer, the same, or more channels."""
    if rng.random() < 0.15:
        return Residual(rng.integers(-128, 128, (n, h, w, o), dtype=np.int8), step=float(rng.random()))
    if rng.random() < 0.4:
        h, w = 2 * h - int(rng.integers(2)), 2 * w - int(rng.integers(2))
    kind = rng.choice(["same", "shrink", "pad", "tile"])
    if kind == "shrink":
        c, mode = o * int(rng.integers(1, 6)) + int(rng.integers(o)), "pad"
    elif kind == "pad":
        c, mode = int(rng.choice([max(1, o // 4), int(rng.integers(1, o + 1)), min(o, 16)])), "pad"
    elif kind == "tile":
        c, mode = int(rng.choice([d for d in range(1, o + 1) if o % d == 0])), "tile"
    else:
        c, mode = o, str(rng.choice(["pad", "tile"]))
    return Residual(floats(rng, n, h, w, c), mode)  # type: ignore[arg-type]


def epilogue(rng: Rng, n: int, h: int, w: int, o: int, *, integer: bool = True) -> Epilogue:
    """Every step present or absent at random; at least one output."""

    def maybe(*shape: int) -> native.F32 | None:
        return floats(rng, *shape) if rng.random() < 0.6 else None

    act = str(rng.choice(native.ACTS))
    slopes = {name: floats(rng, o) for name in ("pos", "neg", "shift")} if act == "dprelu" else {}
    names = [name for name in native.OUTPUTS if integer or name != "acc"]
    tuning = random_tuning(rng, n, o) if rng.random() < 0.2 else None
    shifted = tuning is None and rng.random() < 0.3
    names = [name for name in names if tuning is not None or name != "moments"]
    outputs = [name for name in names if rng.random() < 0.6] or [str(rng.choice(names))]
    return Epilogue(
        scale=floats(rng, o) if tuning else maybe(o),
        bias=floats(rng, o) if tuning else maybe(o),
        row_scale=None if tuning else maybe(n),
        row_shift=floats(rng, n) if shifted else None,
        shift_weight=floats(rng, o) if shifted else None,
        residuals=tuple(residual(rng, n, h, w, o) for _ in range(int(rng.integers(3)))),
        act=act,
        gain=maybe(n, o),
        scale2=maybe(o),
        bias2=maybe(o),
        grid=native.Grid(
            float(rng.choice([0.01, 1.0, 30.0])), *(int(v) for v in rng.choice([(-127, 127), (-128, 3), (0, 15)]))
        ),
        tuning=tuning,
        outputs=tuple(outputs),
        **slopes,
    )


def random_tuning(rng: Rng, n: int, o: int) -> native.Tuning:
    """One row of corrections or one for every image, with columns of other layers around them."""
    before, after = (int(i) for i in rng.integers(0, 9, 2))
    ac = floats(rng, int(rng.choice([1, n])), before + 2 * o + after) * np.float32(0.3)
    return native.Tuning(ac, before, float(rng.random()))


def quant(rng: Rng, c: int) -> Quant:
    kind = str(rng.choice(native.QUANT_KINDS))
    if kind == "none":
        return Quant()
    bits = int(rng.choice([4, 8]))
    top = 2.0 ** (bits - 1) - 1 if kind == "sym" else 2.0**bits - 1
    scale = np.float32(top) / (np.abs(floats(rng, c)) + np.float32(0.5))
    return Quant(kind, top, scale, np.float32(1) / scale)


def geometry(rng: Rng, *, groups: Callable[[Rng, int], tuple[int, int]] | None = None) -> Conv2d:
    """Small images, kernels 1 to 7, strides 1 to 3, SAME or VALID; channels around every packing boundary."""
    while True:
        n, h, w = int(rng.integers(1, 4)), int(rng.integers(1, 12)), int(rng.integers(1, 12))
        if rng.random() < 0.1:
            w = int(rng.integers(60, 140))
        kh, kw = (int(k) for k in rng.choice([1, 1, 2, 3, 3, 5, 7], 2))
        stride = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        c = int(rng.choice([1, 3, 8, 9, 16, 17, 24, 32, 33, 64, 65, 128, 130, 192]))
        o = int(rng.choice([1, 5, 8, 16, 20, 31, 32, 48, 64, 65, 96, 128, 144]))
        count = 1
        if groups is not None:
            count, multiplier = groups(rng, c)
            o = count * multiplier
        rule = Conv2d.same if rng.random() < 0.6 else Conv2d.valid
        op = rule((n, h, w, c), o, (kh, kw), stride, count)
        if op.out_h and op.out_w:
            return op


def differing(a: Outputs, b: Outputs) -> list[str]:
    """Names of the outputs that are not the same bits (any NaN equals any NaN)."""
    return [name for name in native.OUTPUTS if not _same(getattr(a, name), getattr(b, name))]


def _same(a: npt.NDArray[np.generic] | None, b: npt.NDArray[np.generic] | None) -> bool:
    if a is None or b is None:
        return a is b
    if a.dtype != np.float32:
        return bool(np.array_equal(a, b))
    return bool(np.all((a.view(np.int32) == b.view(np.int32)) | (np.isnan(a) & np.isnan(b))))
