"""8- and 4-bit weights against fake-quantised float activations: stem, squeeze-excite and head of low-bit networks."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq import _native

from ._library import operator
from ._tuned import plain, tuned
from ._views import Fused, epilogue_of, fused_empty, fused_tensors, quant_of, tensor, view, want_of
from .params import Act, row_bytes, same_size


def _conv(x: Tensor, w: Tensor, stride: int, same: int, groups: int) -> _native.Conv2d:
    make = _native.Conv2d.same if same else _native.Conv2d.valid
    o, kh, kw, _ = w.shape
    return make(x.shape, o, (kh, kw), (stride, stride), groups)


def _conv_shape(x: Tensor, w: Tensor, stride: int, same: int) -> tuple[int, int, int, int]:
    n, h, width, _ = x.shape
    o, kh, kw, _ = w.shape
    if same:
        return n, same_size(h, stride), same_size(width, stride), o
    return n, (h - kh) // stride + 1, (width - kw) // stride + 1, o


_CONV = "Tensor x, Tensor w, Tensor? steps, int quant, int stride, int same, int groups, int act, Tensor params"


def _float_shape(x: Tensor, w: Tensor, steps: Tensor | None, quant: int, stride: int, same: int, *_: object) -> Tensor:
    return x.new_empty(_conv_shape(x, w, stride, same))


@operator(f"conv2d_i8f32({_CONV}) -> (Tensor out)", _float_shape)
def conv2d_i8f32(
    x: Tensor,
    w: Tensor,
    steps: Tensor | None,
    quant: int,
    stride: int,
    same: int,
    groups: int,
    act: int,
    params: Tensor,
) -> Tensor:
    """x (n, h, w, c) float32, w (o, kh, kw, c / groups) int8 -> (n, h', w', o) float32.

    same 1: SAME padding, 0: VALID. The weight's scale is part of `params`.
    """
    op = _conv(x, w, stride, same, groups)
    epilogue = epilogue_of(params, act)
    return tensor(_native.conv2d_i8f32(view(x), quant_of(quant, steps), view(w), op, epilogue).out)


def _fused_shape(
    x: Tensor, w: Tensor, steps: Tensor | None, quant: int, stride: int, same: int, *rest: object
) -> Fused:
    return fused_empty(x, _conv_shape(x, w, stride, same), want_of(rest))


def _fused(
    x: Tensor,
    w: Tensor,
    steps: Tensor | None,
    quant: int,
    stride: int,
    same: int,
    groups: int,
    act: int,
    params: Tensor,
    want: int,
    tuning: _native.Tuning | None = None,
) -> tuple[Fused, _native.Outputs]:
    op = _conv(x, w, stride, same, groups)
    epilogue = epilogue_of(params, act, want=want, tuning=tuning)
    results = _native.conv2d_i8f32(view(x), quant_of(quant, steps), view(w), op, epilogue)
    return fused_tensors(results), results


_FUSED = f"conv2d_i8f32_fused({_CONV}, int want) -> (Tensor out, Tensor bits, Tensor mean)"
# `conv2d_i8f32`, its sign bits, and its mean over the image (see `Want`), in one pass
conv2d_i8f32_fused = plain(_FUSED, _fused_shape, _fused)
conv2d_i8f32_tuned = tuned(_FUSED, _fused_shape, _fused, params_at=8)


@operator(
    "fake_quantise(Tensor x, Tensor? steps, int quant) -> (Tensor out)", lambda x, steps, quant: x.new_empty(x.shape)
)
def fake_quantise(x: Tensor, steps: Tensor | None, quant: int) -> Tensor:
    """The values that an operator with this quantiser sees of x (..., k)."""
    flat = view(x.reshape(-1, x.shape[-1]))
    return torch.from_numpy(_native.fake_quantise(flat, quant_of(quant, steps))).view(x.shape)


_LINEAR = "(Tensor x, Tensor w, Tensor? steps, int quant, int act, Tensor params)"


def _linear_shape(x: Tensor, w: Tensor, *_: object) -> Tensor:
    return x.new_empty((x.shape[0], w.shape[0]))


@operator(f"linear_i8f32{_LINEAR} -> (Tensor out)", _linear_shape)
def linear_i8f32(x: Tensor, w: Tensor, steps: Tensor | None, quant: int, act: int, params: Tensor) -> Tensor:
    """x (m, k) float32, w (o, k) int8 -> (m, o) float32."""
    return tensor(_native.linear_i8f32(view(x), quant_of(quant, steps), view(w), epilogue_of(params, act)).out)


@operator(f"linear_i4f32{_LINEAR} -> (Tensor out)", _linear_shape)
def linear_i4f32(x: Tensor, w: Tensor, steps: Tensor | None, quant: int, act: int, params: Tensor) -> Tensor:
    """x (m, k) float32, w (o, row_bytes(4 k)) uint8 codes (`schemes.uniform.pack_nibbles`) -> (m, o) float32."""
    return tensor(_native.linear_i4f32(view(x), quant_of(quant, steps), view(w), epilogue_of(params, act)).out)


def _gain_shape(mean: Tensor, codes: Tensor, params: Tensor, hidden: int, *_: object) -> Tensor:
    return mean.new_empty((mean.shape[0], _features(mean.shape[1], params.numel(), hidden)))


@operator(
    "squeeze_excite_i4f32(Tensor mean, Tensor codes, Tensor params, int hidden, int quant1, int quant2)"
    " -> (Tensor out)",
    _gain_shape,
)
def squeeze_excite_i4f32(mean: Tensor, codes: Tensor, params: Tensor, hidden: int, quant1: int, quant2: int) -> Tensor:
    """hsigmoid(fc2(relu(fc1(mean)))) with 4-bit weights: one gain per picture and channel.

    mean    (n, c) float32
    codes   uint8, flat: fc1 [hidden][row of c codes], then fc2 [o][row of hidden codes]
    params  float32, flat: scale and 1 / scale of fc1's input (2 c); scale, bias of fc1 (2 hidden); the same for fc2
            (2 hidden, 2 o). A quantiser that is NONE still has its place.
    return  (n, o) float32
    """
    c = mean.shape[1]
    o = _features(c, params.numel(), hidden)
    codes1, codes2 = torch.split(codes, [hidden * row_bytes(4 * c), o * row_bytes(4 * hidden)])
    steps1, params1, steps2, params2 = torch.split(params, [2 * c, 2 * hidden, 2 * hidden, 2 * o])
    h = linear_i4f32(
        mean,
        codes1.view(hidden, -1),
        steps1.view(2, c) if quant1 else None,
        quant1,
        Act.RELU,
        params1.view(2, hidden),
    )
    gain: Tensor = linear_i4f32(
        h,
        codes2.view(o, -1),
        steps2.view(2, hidden) if quant2 else None,
        quant2,
        Act.HSIGMOID,
        params2.view(2, o),
    )
    return gain


def _features(channels: int, params: int, hidden: int) -> int:
    return (params - 2 * channels - 4 * hidden) // 2
