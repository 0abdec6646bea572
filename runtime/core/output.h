/* The way from accumulators to outputs: parameters made whole, residuals brought into shape, means closed. */
#ifndef EQ_CORE_OUTPUT_H
#define EQ_CORE_OUTPUT_H

#include "arena.h"
#include "kernels.h"

/* One operator's output: n images of h x w pixels with o channels. Images of a single pixel form one long row. */
typedef struct {
  const eq_epilogue *e;
  const eq_kernels *kernels;
  uint32_t n, h, w, o;
  float *scale, *bias;              /* [n or 1][o padded]: n with a tuning of so many rows */
  float *pos, *neg, *shift, *bias2; /* [o padded] */
  float *shift_weight;              /* [o padded], with row_shift only */
  float *gain;                      /* [n or 1][o padded] */
  float *row_sums;                  /* [n][h][o padded] */
  float *row_moments;               /* [n][h][2][o padded] */
  float *zeros;                     /* [o padded] */
  float *residuals;                 /* [workers][2][pixels][residual_pitch] */
  size_t padded, residual_pitch;
  uint32_t pixels; /* most that one eq_output_put() takes */
} eq_output;

/* Plans the scratch; channels, pixels: most that one eq_output_put() takes. */
void eq_output_plan(eq_output *out, eq_arena *arena, const eq_kernels *kernels, const eq_epilogue *e, uint32_t n,
                    uint32_t h, uint32_t w, uint32_t o, uint32_t channels, uint32_t pixels, unsigned workers);
/* Fills the parameters; before the first put. */
void eq_output_begin(const eq_output *out);

/* A run of pixels from (n, y, x) on, channels [first, first + channels), first a multiple of EQ_LANES.
 * The run may go on over rows, and over images if they have one pixel. Runs of one row and channel come left to right.
 */
typedef struct {
  uint32_t n, y, x, pixels, first, channels;
  const int32_t *acc_i32;
  const float *acc_f32;
  size_t acc_pitch;
} eq_run;
void eq_output_put(const eq_output *out, const eq_run *run, unsigned worker);
/* The residuals that eq_output_put(run) will read in place or shrink, for kernels to fetch ahead. */
void eq_output_hints(const eq_output *out, const eq_run *run, eq_hint hints[EQ_HINTS]);
/* Closes out_mean; after the last put. */
void eq_output_end(const eq_output *out);
/* From the first to the last put over all accumulators [n][h][w][o], of which there is one kind; planned for all o
 * channels and EQ_PIXELS. */
void eq_output_all(const eq_output *out, const int32_t *acc_i32, const float *acc_f32);

#endif
