"""Products of bit-planes other than signs against signs: activations or weights with zeros, activations 0 and 1.

A ternary operand is two planes, x > 0 and x != 0, outermost: (2, ..., row). act, params, skip, grid, want and the
results are those of the integer operators (see `edgeq.ops._wanted`); k is the true number of bits of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgeq import _native

from ._library import operator
from ._views import tensor, view
from ._wanted import (
    CONV_KINDS,
    LINEAR_KINDS,
    ConvResults,
    LinearResults,
    empty_results,
    flat,
    spatial,
    wanted_results,
    whole_epilogue,
)
from .params import row_bytes

Product = Callable[..., _native.Outputs]


def _pack_t2_shape(x: Tensor, threshold: Tensor | None) -> Tensor:
    return x.new_empty((2, *x.shape[:-1], row_bytes(x.shape[-1])), dtype=torch.uint8)


@operator("pack_t2(Tensor x, Tensor? threshold) -> (Tensor out)", _pack_t2_shape)
def pack_t2(x: Tensor, threshold: Tensor | None) -> Tensor:
    """x (..., k) float32 -> (2, ..., row_bytes(k)) uint8: x > threshold and x != threshold, (k,) or 0."""
    planes = _native.pack_t2(view(flat(x)), None if threshold is None else view(threshold))
    return tensor(planes).view(_pack_t2_shape(x, threshold).shape)


def _make_linear(name: str, product: Product, *, x_planes: int) -> Any:
    def lead_of(x: Tensor) -> tuple[int, ...]:
        return tuple(x.shape[:-1] if x_planes == 1 else x.shape[1:-1])

    def shape(
        x: Tensor, w: Tensor, k: int, act: int, params: Tensor, skip: Tensor | None, grid: Tensor | None, want: int
    ) -> LinearResults:
        out, bits, codes = empty_results(x, lead_of(x), params.shape[1], want, LINEAR_KINDS)
        return out, bits, codes

    def linear(
        x: Tensor, w: Tensor, k: int, act: int, params: Tensor, skip: Tensor | None, grid: Tensor | None, want: int
    ) -> LinearResults:
        rows = flat(x) if x_planes == 1 else x.reshape(2, -1, x.shape[-1])
        epilogue = whole_epilogue(None, act, params, flat(skip), None, grid, want)
        results = product(view(rows), view(w), k, epilogue)
        out, bits, codes = wanted_results(results, LINEAR_KINDS, lead_of(x))
        return out, bits, codes

    schema = (
        f"{name}(Tensor x, Tensor w, int k, int act, Tensor params, Tensor? skip, Tensor? grid, int want) "
        "-> (Tensor out, Tensor bits, Tensor codes)"
    )
    return operator(schema, shape)(linear)


# x (2, ..., row) ternary, (..., row) of 0 and 1, (..., row) of signs; w (o, row) signs, ternary (2, o, row)
linear_b1t2 = _make_linear("linear_b1t2", _native.linear_b1t2, x_planes=2)
linear_b1u1 = _make_linear("linear_b1u1", _native.linear_b1u1, x_planes=1)
linear_t2b1 = _make_linear("linear_t2b1", _native.linear_t2b1, x_planes=1)


def _make_conv2d(name: str, product: Product, *, x_planes: int) -> Any:
    def geometry(x: Tensor, w: Tensor, channels: int, stride: int, padding: int, groups: int) -> _native.Conv2d:
        image, (o, kh, kw, _) = x if x_planes == 1 else x[0], w.shape[-4:]
        n, h, width = spatial(image, (kh, kw), stride, padding)
        size = image.shape[1], image.shape[2]
        return _native.Conv2d(n, *size, channels, o, kh, kw, stride, stride, padding, padding, h, width, groups)

    def shape(
        x: Tensor,
        w: Tensor,
        channels: int,
        stride: int,
        padding: int,
        groups: int,
        act: int,
        params: Tensor,
        skip: Tensor | None,
        grid: Tensor | None,
        want: int,
    ) -> ConvResults:
        lead = spatial(x if x_planes == 1 else x[0], (w.shape[-3], w.shape[-2]), stride, padding)
        out, bits, mean, codes = empty_results(x, lead, w.shape[-4], want, CONV_KINDS)
        return out, bits, mean, codes

    def conv2d(
        x: Tensor,
        w: Tensor,
        channels: int,
        stride: int,
        padding: int,
        groups: int,
        act: int,
        params: Tensor,
        skip: Tensor | None,
        grid: Tensor | None,
        want: int,
    ) -> ConvResults:
        op = geometry(x, w, channels, stride, padding, groups)
        epilogue = whole_epilogue(None, act, params, skip, None, grid, want)
        results = product(view(x), view(w), op, epilogue)
        out, bits, mean, codes = wanted_results(results, CONV_KINDS, (op.n, op.out_h, op.out_w))
        return out, bits, mean, codes

    schema = (
        f"{name}(Tensor x, Tensor w, int channels, int stride, int padding, int groups, int act, Tensor params, "
        "Tensor? skip, Tensor? grid, int want) -> (Tensor out, Tensor bits, Tensor mean, Tensor codes)"
    )
    return operator(schema, shape)(conv2d)


# x (n, h, w, row_bytes(channels)), ternary with two planes in front; w (o, kh, kw, row_bytes(channels / groups)), the
# same; `padding` pixels on every side contribute nothing
conv2d_b1t2 = _make_conv2d("conv2d_b1t2", _native.conv2d_b1t2, x_planes=2)
conv2d_b1u1 = _make_conv2d("conv2d_b1u1", _native.conv2d_b1u1, x_planes=1)
conv2d_t2b1 = _make_conv2d("conv2d_t2b1", _native.conv2d_t2b1, x_planes=1)
