/* What follows an operator, on its own. */
#ifndef EDGEQ_GLUE_H
#define EDGEQ_GLUE_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* The epilogue alone, over an accumulator that an earlier call stored: the unfused twin of the fused operators. acc
 * [n][h][w][o] int32. */
size_t eq_epilogue_i32_scratch(uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e);
eq_status eq_epilogue_i32(const int32_t *acc, uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e,
                          void *scratch, size_t scratch_bytes);
/* out[n][c] = mean over the image in the order that eq_epilogue.out_mean states. */
size_t eq_mean_hw_scratch(uint32_t n, uint32_t h, uint32_t w, uint32_t c);
eq_status eq_mean_hw(const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c, float *out, void *scratch,
                     size_t scratch_bytes);
/* Means over the quarters of an image, out [n][2 or 1][2 or 1][c]: top left, top right, bottom left, bottom right.
 * Those of an odd extent share its middle, an extent of 1 is not halved. One of x [n][h][w][c] and codes, worth code /
 * inv_step, is given. Pixels are added row by row from 0, times (1 / pixels) rounded, then divided by inv_step.
 */
eq_status eq_mean_quarters(const float *x, const int8_t *codes, float inv_step, uint32_t n, uint32_t h, uint32_t w,
                           uint32_t c, float *out);

/* Codes of a layer whose latents are learned: r = min(max(latent, -top), top) rounded, half to even (NaN: -top).
 *   INTEGERS r    SIGNS latent >= 0 ? 1 : -1    POWERS the power of two next to |r| in proportion (0: 1), sign of r */
typedef enum { EQ_LATENT_INTEGERS = 0, EQ_LATENT_SIGNS, EQ_LATENT_POWERS } eq_latent_kind;
eq_status eq_latent_codes(eq_latent_kind kind, uint32_t top, const float *latents, size_t count, int8_t *out);
/* out [n][kh][kw][c]: mean over the output's pixels of what each tap reads of x, zeros outside of the image. The sum is
 * exact, times (1 / pixels) rounded. One group; op->o counts for nothing. */
eq_status eq_mean_patches(const eq_conv2d *op, const int8_t *x, float *out);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
