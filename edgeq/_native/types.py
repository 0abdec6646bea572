"""What operators take and give: arrays, geometry, epilogues, quantisers (`runtime/include/edgeq/types.h`)."""

from __future__ import annotations

import ctypes as ct
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from ._arrays import F32, I8, I32, U8, u32s
from ._library import library
from ._structures import CConv2d

ACTS: tuple[Act, ...] = ("none", "relu", "dprelu", "hsigmoid", "gelu")
RESIDUAL_MODES = ("pad", "tile")
QUANT_KINDS = ("none", "sym", "pos")
OUTPUTS = ("acc", "out", "bits", "t2", "codes", "mean", "moments")

Act = Literal["none", "relu", "dprelu", "hsigmoid", "gelu"]
ResidualMode = Literal["pad", "tile"]
QuantKind = Literal["none", "sym", "pos"]
Output = Literal["acc", "out", "bits", "t2", "codes", "mean", "moments"]


@dataclass(frozen=True)
class Conv2d:
    """Geometry of a convolution over NHWC; `same` and `valid` fill the padding and the output's size."""

    n: int
    h: int
    w: int
    c: int
    o: int
    kh: int
    kw: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    out_h: int
    out_w: int
    groups: int = 1

    @classmethod
    def same(
        cls,
        shape: Sequence[int],
        o: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> Conv2d:
        """shape (n, h, w, c); TensorFlow's SAME: out = ceil(size / stride), the odd zero at the end."""
        return cls._filled("eq_conv2d_same", shape, o, kernel, stride, groups)

    @classmethod
    def valid(
        cls,
        shape: Sequence[int],
        o: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> Conv2d:
        """shape (n, h, w, c); no padding, incomplete windows dropped."""
        return cls._filled("eq_conv2d_valid", shape, o, kernel, stride, groups)

    @classmethod
    def _filled(
        cls,
        rule: str,
        shape: Sequence[int],
        o: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        groups: int,
    ) -> Conv2d:
        n, h, w, c = shape
        op = CConv2d(*u32s(n, h, w, c, o, *kernel, *stride, 0, 0, 0, 0, groups))
        getattr(library(), rule)(ct.byref(op))
        return cls(*(int(getattr(op, field.name)) for field in fields(cls)))


@dataclass(frozen=True)
class Residual:
    """A tensor (n, h, w, c) added to the output: float32, brought to its shape as types.h says, or int8 codes of the
    output's own shape, worth code * step."""

    data: F32 | I8
    mode: ResidualMode = "pad"
    step: float = 1.0


@dataclass(frozen=True)
class Grid:
    """Where signed codes lie: code = min(max(rint(y * inv_step), low), high)."""

    inv_step: float
    low: int = -127
    high: int = 127


@dataclass(frozen=True)
class Tuning:
    """Corrections of scale and bias (types.h, eq_tuning): the columns from `start` on of ac (1 or n, width), for each
    channel an a, then for each a c; the output "moments" needs one."""

    ac: F32
    start: int = 0
    sigma: float = 1.0


@dataclass(frozen=True)
class Epilogue:
    """What happens to an accumulator (types.h, eq_epilogue); per-channel vectors are (o,), row_* (n,), gain (n, o)."""

    scale: F32 | None = None
    bias: F32 | None = None
    row_scale: F32 | None = None
    row_shift: F32 | None = None
    shift_weight: F32 | None = None
    residuals: tuple[Residual, ...] = ()
    act: Act = "none"
    pos: F32 | None = None
    neg: F32 | None = None
    shift: F32 | None = None
    gain: F32 | None = None
    scale2: F32 | None = None
    bias2: F32 | None = None
    grid: Grid | None = None
    tuning: Tuning | None = None
    outputs: tuple[Output, ...] = ("out",)


@dataclass(frozen=True)
class Quant:
    """Fake quantisation of the input, per channel: scale s and step 1 / s are (c,)."""

    kind: QuantKind = "none"
    top: float = 0.0
    scale: F32 | None = None
    step: F32 | None = None


@dataclass(frozen=True)
class Outputs:
    """The outputs that the epilogue asked for; the others are None."""

    acc: I32 | None = None
    out: F32 | None = None
    bits: U8 | None = None
    t2: U8 | None = None
    codes: I8 | None = None
    mean: F32 | None = None
    moments: F32 | None = None
