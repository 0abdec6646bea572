"""Plain float activations against weights of one bit to 32, with the whole epilogue; sums in a fixed order.

conv2d  x (n, h, w, c) float32; w (planes, o, kh, kw, row) uint8, depthwise (planes, kh, kw, row of o); f32 (o, kh, kw,
        c / groups) float32
linear  x (..., k) float32; w (planes, o, row_bytes(k)) uint8; f32 (o, k) float32
"""

from __future__ import annotations

from ._products import make_conv2d, make_linear

conv2d_s2f32, conv2d_s3f32, conv2d_s4f32 = (make_conv2d(weights, "f32") for weights in ("s2", "s3", "s4"))
conv2d_f32f32 = make_conv2d("f32", "f32")
conv2d_s2f32_tuned, conv2d_s3f32_tuned, conv2d_s4f32_tuned, conv2d_f32f32_tuned = (
    make_conv2d(weights, "f32", tunable=True) for weights in ("s2", "s3", "s4", "f32")
)
linear_b1f32, linear_t2f32, linear_f32f32 = (make_linear(weights, "f32") for weights in ("b1", "t2", "f32"))
linear_s2f32, linear_s3f32, linear_s4f32 = (make_linear(weights, "f32") for weights in ("s2", "s3", "s4"))
