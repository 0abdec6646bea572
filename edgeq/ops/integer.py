"""Signed 8-bit activations: quantisers, and products with weights of 1 to 8 bits with their whole epilogue.

rows, params, skip, skip_step, grid, want: see `edgeq.ops._wanted`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from edgeq import _native

from ._library import operator
from ._products import make_conv2d, make_linear
from ._views import tensor, view
from ._wanted import (
    CONV_KINDS,
    LINEAR_KINDS,
    ConvResults,
    LinearResults,
    empty_results,
    flat,
    grid_of,
    spatial,
    wanted_results,
    whole_epilogue,
)


class Codes(IntEnum):
    """How `quantise_rows_i8` finds its scales (`eq_codes_kind`)."""

    ROW_SYM = 1
    ROW_ASYM = 2
    TENSOR_SYM = 3
    TENSOR_ASYM = 4
    BLOCK32_SYM = 5


@operator("quantise_i8(Tensor x, Tensor grid) -> (Tensor out)", lambda x, grid: x.new_empty(x.shape, dtype=torch.int8))
def quantise_i8(x: Tensor, grid: Tensor) -> Tensor:
    """x (..., k) float32 -> codes of the same shape on a fixed grid (3,): inv_step, low, high."""
    codes, _, _ = _native.quantise_i8(view(x.reshape(-1, x.shape[-1])), "static", grid=grid_of(grid))
    return tensor(codes).view(x.shape)


def _rows_shape(x: Tensor, kind: int, clip: float) -> tuple[Tensor, Tensor]:
    m, asymmetric = x.numel() // x.shape[-1], kind in (Codes.ROW_ASYM, Codes.TENSOR_ASYM)
    shape = (m, -(-x.shape[-1] // 32)) if kind == Codes.BLOCK32_SYM else (2 if asymmetric else 1, m)
    return x.new_empty(x.shape, dtype=torch.int8), x.new_empty(shape)


@operator("quantise_rows_i8(Tensor x, int kind, float clip) -> (Tensor out, Tensor rows)", _rows_shape)
def quantise_rows_i8(x: Tensor, kind: int, clip: float) -> tuple[Tensor, Tensor]:
    """x (..., k) float32 -> codes of the same shape and `rows` (see above) found from x; see `Codes`.

    clip > 0 clips x to [-clip, clip] first. BLOCK32_SYM: rows is (m, ceil(k / 32)), the block_step of `linear_i4i8`.
    """
    flat = view(x.reshape(-1, x.shape[-1]))
    codes, step, shift = _native.quantise_i8(flat, _native.CODES_KINDS[kind], clip=clip)
    rows = tensor(step)
    if kind != Codes.BLOCK32_SYM:
        rows = torch.stack([rows] if shift is None else [rows, tensor(shift)])
    return tensor(codes).view(x.shape), rows


conv2d_b1i8, conv2d_t2i8, conv2d_i8i8 = (make_conv2d(weights, "i8") for weights in ("b1", "t2", "i8"))
conv2d_s2i8, conv2d_s3i8, conv2d_s4i8 = (make_conv2d(weights, "i8") for weights in ("s2", "s3", "s4"))
conv2d_s2i8_tuned, conv2d_s3i8_tuned, conv2d_s4i8_tuned, conv2d_i8i8_tuned = (
    make_conv2d(weights, "i8", tunable=True) for weights in ("s2", "s3", "s4", "i8")
)
linear_b1i8, linear_t2i8, linear_i8i8 = (make_linear(weights, "i8") for weights in ("b1", "t2", "i8"))
linear_s2i8, linear_s3i8, linear_s4i8 = (make_linear(weights, "i8") for weights in ("s2", "s3", "s4"))


def _groups_shape(x: Tensor, *rest: Any) -> LinearResults:
    params, want = rest[7], rest[-1]
    out, bits, codes = empty_results(x, tuple(x.shape[:-1]), params.shape[1], want, LINEAR_KINDS)
    return out, bits, codes


@operator(
    "linear_i4i8(Tensor x, Tensor w, Tensor scale, Tensor? zero, int group, Tensor? block_step, Tensor? rows, int act, "
    "Tensor params, Tensor? skip, Tensor? skip_step, Tensor? grid, int want) "
    "-> (Tensor out, Tensor bits, Tensor codes)",
    _groups_shape,
)
def linear_i4i8(
    x: Tensor,
    w: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    group: int,
    block_step: Tensor | None,
    rows: Tensor | None,
    act: int,
    params: Tensor,
    skip: Tensor | None,
    skip_step: Tensor | None,
    grid: Tensor | None,
    want: int,
) -> LinearResults:
    """4-bit weights (code - zero) * scale in groups along k.

    x (..., k) int8, w (o, row_bytes(4 k)) uint8 codes, scale (o, G) float16; zero None (8 is meant), (o, (G + 1) / 2)
    uint8 nibbles or (o, G) float16; block_step (m, ceil(k / 32)) float32: one activation step for 32 inputs.
    """
    weights = _native.WeightsI4(view(w), view(scale), group, None if zero is None else view(zero))
    epilogue = whole_epilogue(rows, act, params, flat(skip), skip_step, grid, want)
    steps = None if block_step is None else view(block_step)
    results = _native.linear_i4i8(view(flat(x)), weights, epilogue, block_step=steps)
    out, bits, codes = wanted_results(results, LINEAR_KINDS, tuple(x.shape[:-1]))
    return out, bits, codes


def _image_groups_shape(x: Tensor, kernel_h: int, kernel_w: int, *rest: Any) -> ConvResults:
    stride, padding, params, want = rest[4], rest[5], rest[8], rest[-1]
    lead = spatial(x, (kernel_h, kernel_w), stride, padding)
    out, bits, mean, codes = empty_results(x, lead, params.shape[1], want, CONV_KINDS)
    return out, bits, mean, codes


@operator(
    "conv2d_i4i8(Tensor x, int kernel_h, int kernel_w, Tensor w, Tensor scale, Tensor? zero, int group, int stride, "
    "int padding, Tensor? rows, int act, Tensor params, Tensor? skip, Tensor? skip_step, Tensor? grid, int want) "
    "-> (Tensor out, Tensor bits, Tensor mean, Tensor codes)",
    _image_groups_shape,
)
def conv2d_i4i8(
    x: Tensor,
    kernel_h: int,
    kernel_w: int,
    w: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    group: int,
    stride: int,
    padding: int,
    rows: Tensor | None,
    act: int,
    params: Tensor,
    skip: Tensor | None,
    skip_step: Tensor | None,
    grid: Tensor | None,
    want: int,
) -> ConvResults:
    """4-bit weights in groups along the k = kernel_h * kernel_w * c inputs of a window, tap after tap.

    x (n, h, w, c) int8; w, scale, zero, group as `linear_i4i8` has them; a group that divides c stays in one tap
    """
    n, in_h, in_w, c = x.shape
    _, h, width = spatial(x, (kernel_h, kernel_w), stride, padding)
    size = (n, in_h, in_w, c, params.shape[1], kernel_h, kernel_w)
    op = _native.Conv2d(*size, stride, stride, padding, padding, h, width, 1)
    weights = _native.WeightsI4(view(w), view(scale), group, None if zero is None else view(zero))
    epilogue = whole_epilogue(rows, act, params, skip, skip_step, grid, want)
    results = _native.conv2d_i4i8(view(x), weights, op, epilogue)
    out, bits, mean, codes = wanted_results(results, CONV_KINDS, (n, h, width))
    return out, bits, mean, codes
