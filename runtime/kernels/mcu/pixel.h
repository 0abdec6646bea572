/* The way of one pixel's accumulators through an epilogue, some channels at a time. Between the files of this folder.
 */
#ifndef EQ_KERNELS_MCU_PIXEL_H
#define EQ_KERNELS_MCU_PIXEL_H

#include "edgeq/types.h"

enum { EQ_CHANNELS = 64 }; /* most that are on their way at once; a multiple of 8, so that they fill bytes of bits */

/* An accumulator, and the float that it becomes in its place. */
typedef union {
  int32_t i;
  float f;
} eq_cell;

/* Channels of a pixel and all that belongs to them; NULL: not there. Results may lie in the place of acc or of a
 * residual. */
typedef struct {
  const eq_cell *acc;
  const float *residual[2], *scale, *bias, *pos, *neg, *shift, *gain, *bias2;
  float *out, *row;
  uint8_t *bits;
#ifdef EQ_MOMENTS
  float *first, *second; /* sums of what stands before the bias, and of its squares */
#endif
} eq_lane;

/* Images of h x w pixels, o channels. */
typedef struct {
  const eq_epilogue *e;
  uint32_t h, w, o;
  size_t bit_row;        /* bytes of a pixel in out_bits */
  uint32_t image, first; /* what `lane` was made for */
  eq_lane lane;
  eq_cell *cells;     /* [EQ_CHANNELS] accumulators of the pixel */
  float *residual[2]; /* [EQ_CHANNELS] each, for those that have to be brought into shape */
  float *gain;        /* [EQ_CHANNELS] gain * scale2 */
  float *row;         /* [o] sums of a row of pixels, for out_mean */
#ifdef EQ_MOMENTS
  float *moments; /* [2][o] such sums for moments, NULL: not wanted */
#endif
} eq_pixels;

#ifdef EQ_MOMENTS
static inline bool eq_wants_moments(const eq_epilogue *e) { return e->tuning && e->tuning->moments; }
#else
#define eq_wants_moments(e) false
#endif

/* Scratch: the cells, a buffer for each residual and for a product of gains, a row for the mean. */
static inline uint64_t eq_pixels_bytes(const eq_epilogue *e, uint32_t o) {
  const unsigned buffers = 1u + (e->residual[0].data != NULL) + (e->residual[1].data != NULL) + (e->gain && e->scale2);
  const uint64_t moments = eq_wants_moments(e) ? 2 * (uint64_t)o : 0;
  return (buffers * (uint64_t)EQ_CHANNELS + (e->out_mean ? o : 0) + moments) * sizeof(float);
}
eq_pixels eq_pixels_begin(const eq_epilogue *e, uint32_t h, uint32_t w, uint32_t o, void *scratch);

/* Stores channels [first, first + count) of pixel (n, y, x); first a multiple of 8, count up to EQ_CHANNELS, or all
 * channels where there is no residual, gain or activation. The pixels of these channels come in order, best without
 * others in between. acc: p->cells, or floats in the place of the result. put_i32: integers; put_f32: floats. */
void eq_put_i32(eq_pixels *p, uint32_t n, uint32_t y, uint32_t x, uint32_t first, uint32_t count);
void eq_put_f32(eq_pixels *p, const float *acc, uint32_t n, uint32_t y, uint32_t x, uint32_t first, uint32_t count);

#endif
