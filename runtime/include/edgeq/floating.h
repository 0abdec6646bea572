/* Float activations: fake-quantised ones against 8- and 4-bit weights, plain ones against weights of other types. */
#ifndef EDGEQ_FLOATING_H
#define EDGEQ_FLOATING_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* conv2d_i8f32: acc[o] = sum over (ky, kx, ci) in this
 * order, from 0, of value(x) * (float)w; taps outside the image left out. x [n][h][w][c] float, w [o][kh][kw][c /
 * groups] int8. linear_i8f32, linear_i4f32: sixteen partial sums p[j], p[j] = sum over k = j mod 16 in rising order
 * from 0; then p[j] += p[j + 8] (j < 8), p[j] += p[j + 4] (j < 4), p[j] += p[j + 2], p[0] += p[1]. x [m][k] float; i8:
 * w [o][k] int8; i4: w [o][row], codes 0..15 meaning code - 8, two a byte, even k in the low nibble, row =
 * eq_row_bytes(4 * k). The weight's scale belongs into e->scale. */
size_t eq_conv2d_i8f32_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_conv2d_i8f32(const eq_conv2d *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                          const eq_threads *threads, void *scratch, size_t scratch_bytes);
size_t eq_linear_i8f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_linear_i8f32(const eq_linear *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                          const eq_threads *threads, void *scratch, size_t scratch_bytes);
size_t eq_linear_i4f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_linear_i4f32(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w,
                          const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* The same sums with plain activations. Weights in their canonical form, planes outermost, as in integer.h: conv2d w
 * [planes][o][kh][kw][row(c / groups)], depthwise (groups == c > 1) the bit types [planes][kh][kw][row(o)]; linear w
 * [planes][o][row(k)]; f32: [o][kh][kw][c / groups] and [o][k] floats. A weight of +-2^S or 0 makes products exact. */
#define EQ_FLOAT_CONV2D(type)                                                                                          \
  size_t eq_conv2d_##type##f32_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads);          \
  eq_status eq_conv2d_##type##f32(const eq_conv2d *op, const float *x, const void *w, const eq_epilogue *e,            \
                                  const eq_threads *threads, void *scratch, size_t scratch_bytes);
#define EQ_FLOAT_LINEAR(type)                                                                                          \
  size_t eq_linear_##type##f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);          \
  eq_status eq_linear_##type##f32(const eq_linear *op, const float *x, const void *w, const eq_epilogue *e,            \
                                  const eq_threads *threads, void *scratch, size_t scratch_bytes);
EQ_FLOAT_CONV2D(s2)
EQ_FLOAT_CONV2D(s3)
EQ_FLOAT_CONV2D(s4)
EQ_FLOAT_CONV2D(f32)
EQ_FLOAT_LINEAR(b1)
EQ_FLOAT_LINEAR(t2)
EQ_FLOAT_LINEAR(s2)
EQ_FLOAT_LINEAR(s3)
EQ_FLOAT_LINEAR(s4)
EQ_FLOAT_LINEAR(f32)
#undef EQ_FLOAT_CONV2D
#undef EQ_FLOAT_LINEAR

/* The values that an operator with this quantiser sees of x [rows][k] (types.h, eq_quant; scale and step [k]). */
eq_status eq_fake_quantise(const eq_quant *q, const float *x, size_t rows, uint32_t k, float *out);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
