/* The readable definitions. Arguments have been checked by the caller (core/). */
#ifndef EQ_KERNELS_REF_H
#define EQ_KERNELS_REF_H

#include "core/functions.h"
#include "core/weights.h"
#include "edgeq/ops.h"

/* An output of n images, h x w pixels, o channels, on its way through an epilogue.
 * row [o] holds the running sum of one row of pixels, used for out_mean only. */
typedef struct {
  const eq_epilogue *e;
  uint32_t n, h, w, o;
  float *row;
} eq_ref_sink;

/* Pixels come in order, and per pixel the channels in order. acc is the accumulator as float; out_acc is not written
 * here. */
void eq_ref_put(const eq_ref_sink *sink, uint32_t n, uint32_t y, uint32_t x, uint32_t o, float acc);
/* For integer accumulators: out_acc as well. */
void eq_ref_put_i32(const eq_ref_sink *sink, uint32_t n, uint32_t y, uint32_t x, uint32_t o, int32_t acc);

/* Value of r at one element of the output. */
float eq_ref_residual(const eq_residual *r, const eq_ref_sink *sink, uint32_t n, uint32_t y, uint32_t x, uint32_t o);
/* min(max(rint(t), low), high); NaN: low. */
int8_t eq_ref_code(float t, int32_t low, int32_t high);
/* 1 / (h * w), rounded to float. */
static inline float eq_mean_factor(uint32_t h, uint32_t w) { return (float)(1.0 / (double)((uint64_t)h * w)); }

float eq_quantise_ref(const eq_quant *q, uint32_t channel, float x);
/* bit i of a row */
static inline unsigned eq_bit(const uint8_t *row, size_t i) { return (unsigned)(row[i / 8] >> (i % 8)) & 1u; }
/* Ones in a ^ b over whole rows. */
uint32_t eq_differing_bits(const uint8_t *a, const uint8_t *b, size_t bytes);

void eq_pack_b1_ref(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);
void eq_pack_t2_ref(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);
/* row: o floats of scratch */
void eq_conv2d_b1b1_ref(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row);
void eq_linear_b1b1_ref(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row);
void eq_conv2d_i8f32_ref(const eq_conv2d *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                         float *row);
void eq_linear_i8f32_ref(const eq_linear *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                         float *row);
void eq_linear_i4f32_ref(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w, const eq_epilogue *e,
                         float *row);
/* Weights of any type. */
void eq_conv2d_f32_ref(const eq_conv2d *op, const float *x, const eq_weights *w, const eq_epilogue *e, float *row);
void eq_linear_f32_ref(const eq_linear *op, const float *x, const eq_weights *w, const eq_epilogue *e, float *row);
#define EQ_LEAST_MAXIMUM 0x1p-120f /* of a row that is worth a scale; 127 / it is finite */
void eq_quantise_i8_ref(const eq_codes *q, const float *x, size_t rows, uint32_t k, int8_t *codes, float *step,
                        float *shift);
void eq_conv2d_i8_ref(const eq_conv2d *op, const int8_t *x, const eq_weights *w, const eq_epilogue *e, float *row);
void eq_linear_i4i8_ref(const eq_linear *op, const int8_t *x, const float *block_step, const eq_weights_i4 *w,
                        const eq_epilogue *e, float *row);
/* A group's part of an output of row `row`: sum of code * x and sum of x, both exact, and the step of the inputs. */
float eq_part_i4_ref(int32_t sum, int32_t ones, const eq_weights_i4 *w, size_t row, uint32_t g, uint32_t groups,
                     float step);
void eq_conv2d_i4i8_ref(const eq_conv2d *op, const int8_t *x, const eq_weights_i4 *w, const eq_epilogue *e, float *row);
void eq_epilogue_i32_ref(const int32_t *acc, uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e,
                         float *row);
void eq_mean_hw_ref(const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c, float *out, float *row);

#endif
