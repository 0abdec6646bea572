"""Packed embedding tables and layer normalisation.

ids are int64 of any shape; an id that the table does not have is refused. scale is (rows,) float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq import _native

from ._library import operator
from ._views import tensor, view
from ._wanted import flat
from .params import Want, row_bytes


def _packed_shape(ids: Tensor, w: Tensor, scale: Tensor, k: int) -> Tensor:
    return scale.new_empty((*ids.shape, k))


@operator("embedding_b1(Tensor ids, Tensor w, Tensor scale, int k) -> (Tensor out)", _packed_shape)
def embedding_b1(ids: Tensor, w: Tensor, scale: Tensor, k: int) -> Tensor:
    """w (rows, row_bytes(k)) uint8 -> (..., k) float32: scale of the row * +-1."""
    return tensor(_native.embedding_b1(view(ids), view(w), k, view(scale)))


@operator("embedding_t2(Tensor ids, Tensor w, Tensor scale, int k) -> (Tensor out)", _packed_shape)
def embedding_t2(ids: Tensor, w: Tensor, scale: Tensor, k: int) -> Tensor:
    """w (2, rows, row_bytes(k)) uint8, planes w > 0 and w != 0 -> (..., k) float32: scale * -1, 0 or +1."""
    return tensor(_native.embedding_t2(view(ids), view(w), k, view(scale)))


@operator(
    "embedding_i8(Tensor ids, Tensor w, Tensor scale) -> (Tensor out)",
    lambda ids, w, scale: scale.new_empty((*ids.shape, w.shape[1])),
)
def embedding_i8(ids: Tensor, w: Tensor, scale: Tensor) -> Tensor:
    """w (rows, k) int8 -> (..., k) float32: code * scale of the row."""
    return tensor(_native.embedding_i8(view(ids), view(w), view(scale)))


@operator(
    "embedding_i4(Tensor ids, Tensor w, Tensor scale, Tensor? zero, int group, int k) -> (Tensor out)",
    lambda ids, w, scale, zero, group, k: scale.new_empty((*ids.shape, k), dtype=torch.float32),
)
def embedding_i4(ids: Tensor, w: Tensor, scale: Tensor, zero: Tensor | None, group: int, k: int) -> Tensor:
    """(code - zero) * scale of the group -> (..., k) float32; w, scale, zero, group as of `linear_i4i8`."""
    weights = _native.WeightsI4(view(w), view(scale), group, None if zero is None else view(zero))
    return tensor(_native.embedding_i4(view(ids), weights, k))


def _norm_shape(
    x: Tensor,
    residual: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    threshold: Tensor | None,
    want: int,
) -> tuple[Tensor, Tensor]:
    row = (*x.shape[:-1], row_bytes(x.shape[-1]))
    bits = (2, *row) if want & Want.T2 else row if want & Want.BITS else (0,)
    return x.new_empty(x.shape if want & Want.MAP else (0,)), x.new_empty(bits, dtype=torch.uint8)


_NORM = "Tensor? residual, Tensor gamma, Tensor beta, float eps, Tensor? threshold, int want"


@operator(f"layer_norm(Tensor x, {_NORM}) -> (Tensor out, Tensor bits)", _norm_shape)
def layer_norm(
    x: Tensor,
    residual: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    threshold: Tensor | None,
    want: int,
) -> tuple[Tensor, Tensor]:
    """Layer normalisation of x + residual over the last axis, and the signs of the result.

    x, residual  (..., k) float32; gamma, beta (k,)
    threshold    (k,), instead of 0, for the bits
    return       MAP: (..., k) float32; BITS: (..., row) y >= threshold, or T2: (2, ..., row) y > and y != threshold
    """
    out, bits, _ = _norm(x, residual, gamma, beta, eps, threshold, want)
    return out, bits


def _tuned_shape(
    ac: Tensor, start: int, sigma: float, x: Tensor, mask: Tensor | None, *rest: object
) -> tuple[Tensor, Tensor, Tensor]:
    want = rest[-1]
    assert isinstance(want, int)
    extents = (x.shape[0], 2, x.shape[2]) if want & Want.MOMENTS else (0,)
    shape: tuple[Tensor, Tensor] = _norm_shape(x, *rest)  # type: ignore[arg-type]  # the operator's own arguments
    return (*shape, x.new_empty(extents))


@operator(
    f"layer_norm_tuned(Tensor ac, int start, float sigma, Tensor x, Tensor? mask, {_NORM}) "
    "-> (Tensor out, Tensor bits, Tensor moments)",
    _tuned_shape,
)
def layer_norm_tuned(
    ac: Tensor,
    start: int,
    sigma: float,
    x: Tensor,
    mask: Tensor | None,
    residual: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    threshold: Tensor | None,
    want: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The twin of `layer_norm` in tunable programs, x (n, tokens, k); ac, start, sigma: see `edgeq.ops._tuned`.

    mask    (n, tokens) uint8: tokens with 0 do not count in the moments
    return  MOMENTS, which go with MAP: (n, 2, k) float32, mean and mean squared deviation of y over an image's tokens
    """
    given = None if mask is None else view(mask).reshape(-1)
    tuning = _native.Tuning(view(ac), start, sigma)
    return _norm(x, residual, gamma, beta, eps, threshold, want, tuning=tuning, mask=given)


def _norm(
    x: Tensor,
    residual: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    threshold: Tensor | None,
    want: int,
    *,
    tuning: _native.Tuning | None = None,
    mask: _native.U8 | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    t2 = bool(want & Want.T2)
    bits = bool(want & Want.BITS) and not t2
    r = _native.layer_norm(
        view(flat(x)),
        view(gamma),
        view(beta),
        eps,
        residual=None if residual is None else view(flat(residual)),
        threshold=None if threshold is None else view(threshold),
        out=bool(want & Want.MAP),
        bits=bits,
        t2=t2,
        tuning=tuning,
        images=1 if tuning is None else x.shape[0],
        mask=mask,
        moments=bool(want & Want.MOMENTS),
    )
    planes = r.t2 if t2 else r.bits
    _, empty_bits = _norm_shape(x, residual, gamma, beta, eps, threshold, want)
    return (
        torch.empty(0) if r.out is None else tensor(r.out).view(x.shape),
        empty_bits if planes is None else tensor(planes).view(empty_bits.shape),
        torch.empty(0) if r.moments is None else tensor(r.moments),
    )
