/* Packing of signs, and binary weights against binary activations. */
#ifndef EDGEQ_BINARY_H
#define EDGEQ_BINARY_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* x [rows][k] -> bits [rows][eq_row_bytes(k)], bit = (x >= threshold[k]), 1 = +1; threshold NULL = 0; pad bits 0. -0.0
 * counts as +1, NaN as -1. */
eq_status eq_pack_b1(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);
/* The rule sign(0) = 0: two planes [2][rows][row]: plane 0 = (x > threshold), plane 1 = (x != threshold). NaN: 0 and 1.
 */
eq_status eq_pack_t2(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);

/* acc = n - 2 * popcount(a ^ w) over the
 * n bits inside the image. x [n][h][w][row(c)] (groups: row of c channels, each group its c / groups consecutive bits;
 * c / groups must be a multiple of 8 when groups > 1, or groups == c), w [o][kh][kw][row(c / groups)]. */
size_t eq_conv2d_b1b1_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_conv2d_b1b1(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* x [m][row(k)], w [o][row(k)]. The epilogue sees n = m images of one pixel. */
size_t eq_linear_b1b1_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_linear_b1b1(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
