/* Signed 8-bit activations: their quantiser, and their products with weights of 1 to 8 bits. */
#ifndef EDGEQ_INTEGER_H
#define EDGEQ_INTEGER_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* How float activations become codes q; value = q * step + shift.
 *   STATIC   q = clip(rint(x * inv_step), low, high), no step or shift is written
 *   SYM      x clipped to [-clip, clip] where clip > 0; t = max|x|; q = clip(rint(x * (127 * (1 / t))), -127, 127),
 *            step = t / 127; t below 2^-120 gives codes 0 and step 0. (127 * (1 / t), rounded twice, is how PyTorch
 * divides a number by a tensor, and so what networks were trained with.) ASYM     clipped the same; r = (max - min) +
 * 1e-8; q = clip(rint((x - min) / r * 255) - 128, -128, 127), step = r / 255, shift = min + 128 * step over each row
 * (ROW), over all rows at once (TENSOR: every row gets the same step and shift) or over each 32 values (BLOCK32: step
 * [rows][ceil(k / 32)]). Half rounds to even. NaN is left out of maxima and minima; its code is the lowest one. */
typedef enum {
  EQ_CODES_STATIC = 0,
  EQ_CODES_ROW_SYM,
  EQ_CODES_ROW_ASYM,
  EQ_CODES_TENSOR_SYM,
  EQ_CODES_TENSOR_ASYM,
  EQ_CODES_BLOCK32_SYM,
} eq_codes_kind;
enum { EQ_CODES_BLOCK = 32 };
typedef struct {
  eq_codes_kind kind;
  eq_grid grid; /* STATIC */
  float clip;   /* the others; 0: none */
} eq_codes;

/* Multiply-adds of a product that take about as long as one code: what is weighed against EQ_CHOICE_SHARED. */
enum { EQ_CODES_COST = 32 };

/* x [rows][k] -> codes [rows][k]; step, shift [rows] where the kind gives them. Threads share rows; the one range of a
 * TENSOR kind is the caller's. */
eq_status eq_quantise_i8(const eq_codes *q, const float *x, size_t rows, uint32_t k, int8_t *codes, float *step,
                         float *shift, const eq_threads *threads);

/* Products with int32 accumulators, exact: acc = sum of x * w; taps outside the image contribute nothing. At most 2^17
 * - 1 inputs an output for i8 and s4, 2^20 - 1 for the others. Weights in their canonical form, planes outermost:
 *   conv2d   x [n][h][w][c] int8, w [planes][o][kh][kw][row(c / groups)]; depthwise (groups == c > 1) the bit types run
 *            over the outputs: [planes][kh][kw][row(o)]; i8: [o][kh][kw][c / groups]
 *   linear   x [m][k] int8, w [planes][o][row(k)]; i8: [o][k]. The epilogue sees n = m images of one pixel.
 * b1: plane 0 sign (1 = +1). t2: sign and non-zero. s2 s3 s4: sign, then the bits of S, lowest first: +-2^S. */
#define EQ_INT8_PRODUCTS(type)                                                                                         \
  size_t eq_conv2d_##type##i8_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads);           \
  eq_status eq_conv2d_##type##i8(const eq_conv2d *op, const int8_t *x, const void *w, const eq_epilogue *e,            \
                                 const eq_threads *threads, void *scratch, size_t scratch_bytes);                      \
  size_t eq_linear_##type##i8_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);           \
  eq_status eq_linear_##type##i8(const eq_linear *op, const int8_t *x, const void *w, const eq_epilogue *e,            \
                                 const eq_threads *threads, void *scratch, size_t scratch_bytes);
EQ_INT8_PRODUCTS(b1)
EQ_INT8_PRODUCTS(t2)
EQ_INT8_PRODUCTS(s2)
EQ_INT8_PRODUCTS(s3)
EQ_INT8_PRODUCTS(s4)
EQ_INT8_PRODUCTS(i8)
#undef EQ_INT8_PRODUCTS

/* linear_t2i8 over weights that were tiled once, when they were loaded: `tiles` is eq_tiles_t2_bytes(o, k) bytes (0:
 * refused; k below 2^19), 64-byte aligned, made of w [2][o][row(k)] by eq_tiles_t2() for the instruction set in use.
 * Tiles of another set or shape are refused with EQ_BAD_ARGUMENT. */
size_t eq_tiles_t2_bytes(uint32_t o, uint32_t k);
eq_status eq_tiles_t2(uint32_t o, uint32_t k, const void *w, void *tiles);
size_t eq_linear_t2i8_tiled_scratch(const eq_linear *op, const void *tiles, const eq_epilogue *e,
                                    const eq_threads *threads);
eq_status eq_linear_t2i8_tiled(const eq_linear *op, const int8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* The same of linear_i8i8: eq_tiles_i8_bytes(o, k) bytes (0: refused; k below 2^17) of w [o][k]. */
size_t eq_tiles_i8_bytes(uint32_t o, uint32_t k);
eq_status eq_tiles_i8(uint32_t o, uint32_t k, const void *w, void *tiles);
size_t eq_linear_i8i8_tiled_scratch(const eq_linear *op, const void *tiles, const eq_epilogue *e,
                                    const eq_threads *threads);
eq_status eq_linear_i8i8_tiled(const eq_linear *op, const int8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* The same of linear_s2i8, s3 and s4: eq_tiles_s2_bytes(o, k) bytes of w [planes][o][row(k)], half a byte a weight (0:
 * refused, or the set has no such tiles; as many inputs as the operator without tiles takes). */
#define EQ_SHIFT_TILES(type)                                                                                           \
  size_t eq_tiles_##type##_bytes(uint32_t o, uint32_t k);                                                              \
  eq_status eq_tiles_##type(uint32_t o, uint32_t k, const void *w, void *tiles);                                       \
  size_t eq_linear_##type##i8_tiled_scratch(const eq_linear *op, const void *tiles, const eq_epilogue *e,              \
                                            const eq_threads *threads);                                                \
  eq_status eq_linear_##type##i8_tiled(const eq_linear *op, const int8_t *x, const void *tiles, const eq_epilogue *e,  \
                                       const eq_threads *threads, void *scratch, size_t scratch_bytes);
EQ_SHIFT_TILES(s2)
EQ_SHIFT_TILES(s3)
EQ_SHIFT_TILES(s4)
#undef EQ_SHIFT_TILES

/* 4-bit codes in groups along k: w = (code - zero) * scale. Row o of `codes` holds k codes, even k in the low nibble,
 * row = eq_row_bytes(4 * k) bytes; G = ceil(k / group) groups. */
typedef enum { EQ_ZERO_EIGHT = 0, EQ_ZERO_U4, EQ_ZERO_F16 } eq_zero_kind;
typedef struct {
  const uint8_t *codes;  /* [o][row] */
  const uint16_t *scale; /* [o][G] IEEE half precision */
  eq_zero_kind zero_kind;
  const void *zero; /* U4: [o][ceil(G / 2)] two a byte, even group in the low nibble; F16: [o][G]; EIGHT: NULL */
  uint32_t group;   /* a multiple of 32, or k */
} eq_weights_i4;

/* x [m][k] codes; block_step: NULL, or [m][ceil(k / 32)] the step of each 32 inputs (then group is a multiple of 32).
 * Over the groups in rising order, or with block_step over the blocks of 32:
 *   sum = sum of code * x, ones = sum of x, both exact
 *   part = (float)(sum - zero * ones) * s, with F16 zeros ((float)sum - zero * (float)ones) * s
 *   s = scale, or scale * block_step;   acc = acc + part, from 0
 * acc is a float: the epilogue has no out_acc. Its row_scale is the place of a row's step. */
size_t eq_linear_i4i8_scratch(const eq_linear *op, const eq_weights_i4 *w, const eq_epilogue *e,
                              const eq_threads *threads);
eq_status eq_linear_i4i8(const eq_linear *op, const int8_t *x, const float *block_step, const eq_weights_i4 *w,
                         const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* The same sums over the k = kh * kw * c inputs of a window, tap after tap, without block_step: x [n][h][w][c], rows of
 * w as above; a group that divides c runs along the channels of one tap. Taps outside the image are zeros like any
 * other, op->groups is 1. */
size_t eq_conv2d_i4i8_scratch(const eq_conv2d *op, const eq_weights_i4 *w, const eq_epilogue *e,
                              const eq_threads *threads);
eq_status eq_conv2d_i4i8(const eq_conv2d *op, const int8_t *x, const eq_weights_i4 *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* linear_i4i8 over weights that were tiled once, when they were loaded: `tiles` is eq_tiles_i4_bytes(o, k, w) bytes (0:
 * refused; of w the group and the kind of zeros count), 64-byte aligned, made by eq_tiles_i4() for the instruction set
 * in use. Tiles of another set or shape are refused with EQ_BAD_ARGUMENT. */
size_t eq_tiles_i4_bytes(uint32_t o, uint32_t k, const eq_weights_i4 *w);
eq_status eq_tiles_i4(uint32_t o, uint32_t k, const eq_weights_i4 *w, void *tiles);
size_t eq_linear_i4i8_tiled_scratch(const eq_linear *op, const void *tiles, const eq_epilogue *e,
                                    const eq_threads *threads);
eq_status eq_linear_i4i8_tiled(const eq_linear *op, const int8_t *x, const float *block_step, const void *tiles,
                               const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
