/* Packing of signs, and products of one- and two-plane operands. */
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

/* Signs against signs: acc = n - 2 * popcount(a ^ w) over the n bits inside the image. x [n][h][w][row(c)] (groups: row
 * of c channels, each group its c / groups consecutive bits; c / groups must be a multiple of 8 when groups > 1, or
 * groups == c), w [o][kh][kw][row(c / groups)]. */
size_t eq_conv2d_b1b1_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_conv2d_b1b1(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* The same over weights that were tiled once, when they were loaded, instead of in every call: `tiles` is
 * eq_tiles_conv2d_b1b1_bytes(op) bytes (0: refused), 64-byte aligned, made for the instruction set in use and this
 * shape, but any number of images. Scratch as without tiles. Tiles of another set or shape are refused with
 * EQ_BAD_ARGUMENT. */
size_t eq_tiles_conv2d_b1b1_bytes(const eq_conv2d *op);
eq_status eq_tiles_conv2d_b1b1(const eq_conv2d *op, const uint8_t *w, void *tiles);
eq_status eq_conv2d_b1b1_tiled(const eq_conv2d *op, const uint8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* x [m][row(k)], w [o][row(k)]. The epilogue sees n = m images of one pixel. */
size_t eq_linear_b1b1_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_linear_b1b1(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* Activations with zeros, t2: x [2][n][h][w][row(c)], planes (x > 0) and (x != 0), the first 0 where the second is:
 * acc = popcount(nonzero) - 2 * popcount(nonzero & (a ^ w)). Taps outside the image are zeros like any other. Scratch,
 * groups, weights and epilogue as above. */
size_t eq_conv2d_b1t2_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_conv2d_b1t2(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);
/* Activations 0 and 1, u1, one plane: acc = 2 * popcount(x & w) - popcount(x). The rest as for t2. */
size_t eq_conv2d_b1u1_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_conv2d_b1u1(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);
/* x [2][m][row(k)], w [o][row(k)] */
size_t eq_linear_b1t2_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_linear_b1t2(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);
/* Activations 0 and 1, u1: x [m][row(k)], w [o][row(k)]; acc = 2 * popcount(x & w) - popcount(x). */
size_t eq_linear_b1u1_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_linear_b1u1(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);
/* The same three products over weights that were tiled once, when they were loaded, instead of in every call: `tiles`
 * is eq_tiles_b1_bytes(o, k) bytes (0: refused), 64-byte aligned, made of w [o][row(k)] for the instruction set in use:
 * by eq_tiles_b1b1() for activations that are signs, too, by eq_tiles_b1() for the others. Scratch as without tiles.
 * Tiles of another set, shape or kind are refused with EQ_BAD_ARGUMENT. */
size_t eq_tiles_b1_bytes(uint32_t o, uint32_t k);
eq_status eq_tiles_b1(uint32_t o, uint32_t k, const uint8_t *w, void *tiles);
size_t eq_tiles_b1b1_bytes(uint32_t o, uint32_t k); /* the same */
eq_status eq_tiles_b1b1(uint32_t o, uint32_t k, const uint8_t *w, void *tiles);
eq_status eq_linear_b1b1_tiled(const eq_linear *op, const uint8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes);
eq_status eq_linear_b1t2_tiled(const eq_linear *op, const uint8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes);
eq_status eq_linear_b1u1_tiled(const eq_linear *op, const uint8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes);
/* Weights with zeros, t2: x of signs and groups as for b1b1, w [2][o][kh][kw][row(c / groups)], planes (w > 0) and
 * (w != 0), the first 0 where the second is. acc = sum of x * w over the taps inside the image. */
size_t eq_conv2d_t2b1_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_conv2d_t2b1(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);
/* x [m][row(k)] b1, w [2][o][row(k)] t2. */
size_t eq_linear_t2b1_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_linear_t2b1(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
