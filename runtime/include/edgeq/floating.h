/* 8- and 4-bit weights against fake-quantised float activations. */
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

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
