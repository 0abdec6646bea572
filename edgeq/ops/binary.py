"""Binary weights against binary activations: packing, accumulators, and the convolution with its whole epilogue."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq import _native

from ._library import operator
from ._tuned import plain, tuned
from ._views import Fused, epilogue_of, fused_empty, fused_tensors, tensor, view, want_of
from .params import row_bytes, same_size

_ACCUMULATOR = _native.Epilogue(outputs=("acc",))


def _conv_shape(x: Tensor, w: Tensor, stride: int) -> tuple[int, int, int, int]:
    return x.shape[0], same_size(x.shape[1], stride), same_size(x.shape[2], stride), w.shape[0]


def _conv(x: Tensor, w: Tensor, channels: int, stride: int, groups: int) -> _native.Conv2d:
    o, kh, kw, _ = w.shape
    return _native.Conv2d.same((*x.shape[:3], channels), o, (kh, kw), (stride, stride), groups)


def _pack_sign_shape(x: Tensor, threshold: Tensor | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], row_bytes(x.shape[-1])), dtype=torch.uint8)


@operator("pack_sign(Tensor x, Tensor? threshold) -> (Tensor out)", _pack_sign_shape)
def pack_sign(x: Tensor, threshold: Tensor | None) -> Tensor:
    """x (..., k) float32 -> (..., row_bytes(k)) uint8, bit = (x >= threshold (k,) or 0)."""
    rows = _native.pack_b1(view(x.reshape(-1, x.shape[-1])), None if threshold is None else view(threshold))
    return tensor(rows).view(_pack_sign_shape(x, threshold).shape)


def _acc_shape(x: Tensor, w: Tensor, channels: int, stride: int, *_: object) -> Tensor:
    return x.new_empty(_conv_shape(x, w, stride), dtype=torch.int32)


@operator(
    "conv2d_b1b1(Tensor x, Tensor w, int channels, int stride, int groups) -> (Tensor out)",
    _acc_shape,
)
def conv2d_b1b1(x: Tensor, w: Tensor, channels: int, stride: int, groups: int) -> Tensor:
    """Accumulators of a SAME convolution with true-zero borders.

    x (n, h, w, row_bytes(channels)), w (o, kh, kw, row_bytes(channels / groups)) -> (n, h', w', o) int32
    """
    op = _conv(x, w, channels, stride, groups)
    return tensor(_native.conv2d_b1b1(view(x), view(w), op, _ACCUMULATOR).acc)


def _fused_shape(x: Tensor, w: Tensor, channels: int, stride: int, *rest: object) -> Fused:
    return fused_empty(x, _conv_shape(x, w, stride), want_of(rest))


def _fused(
    x: Tensor,
    w: Tensor,
    channels: int,
    stride: int,
    groups: int,
    act: int,
    params: Tensor,
    local: Tensor | None,
    block: Tensor | None,
    gain: Tensor | None,
    want: int,
    tuning: _native.Tuning | None = None,
) -> tuple[Fused, _native.Outputs]:
    op = _conv(x, w, channels, stride, groups)
    results = _native.conv2d_b1b1(view(x), view(w), op, epilogue_of(params, act, local, block, gain, want, tuning))
    return fused_tensors(results), results


_FUSED = (
    "conv2d_b1b1_fused(Tensor x, Tensor w, int channels, int stride, int groups, int act, Tensor params, "
    "Tensor? local, Tensor? block, Tensor? gain, int want) -> (Tensor out, Tensor bits, Tensor mean)"
)
# `epilogue(conv2d_b1b1(...))`, its sign bits, and its mean over the image (see `Want`), in one pass
conv2d_b1b1_fused = plain(_FUSED, _fused_shape, _fused)
conv2d_b1b1_tuned = tuned(_FUSED, _fused_shape, _fused, params_at=6)


def _linear_shape(x: Tensor, w: Tensor, *_: object) -> Tensor:
    return x.new_empty((x.shape[0], w.shape[0]), dtype=torch.int32)


@operator("linear_b1b1(Tensor x, Tensor w, int k) -> (Tensor out)", _linear_shape)
def linear_b1b1(x: Tensor, w: Tensor, k: int) -> Tensor:
    """x (m, row_bytes(k)), w (o, row_bytes(k)) -> (m, o) int32 accumulators."""
    return tensor(_native.linear_b1b1(view(x), view(w), k, _ACCUMULATOR).acc)
