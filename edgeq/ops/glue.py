"""The unfused twins of what fused operators do after their accumulators."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from edgeq import _native

from ._library import operator
from ._views import epilogue_of, tensor, view
from ._wanted import spatial


def _epilogue_shape(
    acc: Tensor, act: int, params: Tensor, local: Tensor | None, block: Tensor | None, gain: Tensor | None
) -> Tensor:
    return acc.new_empty(acc.shape, dtype=torch.float32)


@operator(
    "epilogue(Tensor acc, int act, Tensor params, Tensor? local, Tensor? block, Tensor? gain) -> (Tensor out)",
    _epilogue_shape,
)
def epilogue(
    acc: Tensor, act: int, params: Tensor, local: Tensor | None, block: Tensor | None, gain: Tensor | None
) -> Tensor:
    """What becomes of an accumulator: affine, residuals, activation, gain, second affine (`eq_epilogue`).

    acc     (n, h, w, o) int32
    params  (R, o) float32, see `stack_params`
    local   (n, h*, w*, c*) float32, added zero-padded or averaged along the channels, pooled where h* is twice h
    block   the same, tiled along the channels
    gain    (n, o) float32
    return  (n, h, w, o) float32
    """
    return tensor(_native.epilogue_i32(view(acc), epilogue_of(params, act, local, block, gain)).out)


def _mean_shape(x: Tensor) -> Tensor:
    return x.new_empty((x.shape[0], x.shape[3]))


@operator("mean_hw(Tensor x) -> (Tensor out)", _mean_shape)
def mean_hw(x: Tensor) -> Tensor:
    """Mean over the image, summed in a fixed order: (n, h, w, c) float32 -> (n, c)."""
    return tensor(_native.mean_hw(view(x)))


def _quarters_shape(x: Tensor, grid: Tensor | None) -> Tensor:
    n, h, w, c = x.shape
    return x.new_empty((n, min(h, 2) * min(w, 2) * c), dtype=torch.float32)


@operator("mean_quarters(Tensor x, Tensor? grid) -> (Tensor out)", _quarters_shape)
def mean_quarters(x: Tensor, grid: Tensor | None) -> Tensor:
    """Means over the quarters of the image, row by row: (n, h, w, c) -> (n, 4 c); an extent of 1 is not halved.

    x  float32, or int8 codes of `grid` (3,)
    """
    inv_step = 1.0 if grid is None else float(grid[0])
    return tensor(_native.mean_quarters(view(x), inv_step))


class Latent(IntEnum):
    """What codes a layer has whose latents are learned (`eq_latent_kind`)."""

    INTEGERS = 0
    SIGNS = 1
    POWERS = 2


@operator(
    "latent_codes(Tensor x, int kind, int top) -> (Tensor out)",
    lambda x, kind, top: x.new_empty(x.shape, dtype=torch.int8),
)
def latent_codes(x: Tensor, kind: int, top: int) -> Tensor:
    """Latents (...) float32 -> the codes that they stand for, int8 of the same shape, -top..top; see `Latent`."""
    return tensor(_native.latent_codes(view(x), _native.LATENT_KINDS[kind], top))


def _patches_shape(x: Tensor, kh: int, kw: int, stride: int, padding: int) -> Tensor:
    return x.new_empty((x.shape[0], kh * kw * x.shape[3]), dtype=torch.float32)


@operator("mean_patches(Tensor x, int kh, int kw, int stride, int padding) -> (Tensor out)", _patches_shape)
def mean_patches(x: Tensor, kh: int, kw: int, stride: int, padding: int) -> Tensor:
    """Codes (n, h, w, c) int8 -> (n, kh * kw * c): what each tap of a convolution reads, mean over its output."""
    n, h, w, c = x.shape
    _, out_h, out_w = spatial(x, (kh, kw), stride, padding)
    op = _native.Conv2d(n, h, w, c, 1, kh, kw, stride, stride, padding, padding, out_h, out_w)
    return tensor(_native.mean_patches(view(x), op))
