/* The functions that the templates of this folder define, under the names of one instruction set (EQ_NAME). */
#ifndef EQ_SIMD_DECLARE_H
#define EQ_SIMD_DECLARE_H

#include "core/kernels.h"

void EQ_NAME(eq_pack_b1)(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);
void EQ_NAME(eq_pack_t2)(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);
void EQ_NAME(eq_tile_b1)(const uint8_t *w, size_t bytes, uint32_t outputs, uint32_t steps, void *tile);
void EQ_NAME(eq_accumulate_b1)(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                               int32_t *acc, size_t pitch);
void EQ_NAME(eq_accumulate_t2)(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                               int32_t *acc, size_t pitch);
void EQ_NAME(eq_output_b1)(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                           const eq_bit_output *to);
void EQ_NAME(eq_output_t2)(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                           const eq_bit_output *to);
void EQ_NAME(eq_fold_tile)(void *tile, uint32_t steps);
void EQ_NAME(eq_fold_patches)(const eq_bit_patches *p, uint32_t first, uint32_t pixels, uint32_t *to);
void EQ_NAME(eq_count_ones)(const eq_bit_patches *p, uint32_t pixels, int32_t *ones);
void EQ_NAME(eq_dot_t2)(const uint8_t *x, const uint8_t *nonzero, const uint8_t *w, size_t bytes, uint32_t outputs,
                        int32_t *acc);
void EQ_NAME(eq_dot_b1)(const uint8_t *x, const uint8_t *w, size_t bytes, uint32_t outputs, int32_t k, int32_t *acc);
void EQ_NAME(eq_accumulate_f32)(const eq_float_patches *p, uint32_t pixels, const float *tile, uint32_t outputs,
                                float *acc, size_t pitch);
void EQ_NAME(eq_accumulate_depthwise)(const eq_float_patches *p, uint32_t pixels, const float *tile, uint32_t first,
                                      uint32_t multiplier, uint32_t outputs, float *acc, size_t pitch);
void EQ_NAME(eq_quantise)(const eq_quant *q, const float *x, const float *scale, const float *step, size_t count,
                          float *out);
void EQ_NAME(eq_dot_i8)(const float *x, const uint8_t *w, uint32_t k, uint32_t outputs, float *acc);
void EQ_NAME(eq_dot_i4)(const float *x, const uint8_t *w, uint32_t k, uint32_t outputs, float *acc);
void EQ_NAME(eq_dot_f32)(const float *x, const uint8_t *w, uint32_t k, uint32_t outputs, float *acc);
void EQ_NAME(eq_shrink)(const float *r, size_t r_pitch, uint32_t g, uint32_t pixels, uint32_t channels, float *out,
                        size_t out_pitch);
void EQ_NAME(eq_pool)(const eq_pool *p, float *out, size_t out_pitch);
void EQ_NAME(eq_epilogue)(const eq_stage *s);
void EQ_NAME(eq_attend_b1)(const eq_bit_head *h, const eq_keep *keep, const uint64_t *q, const uint64_t *q_nonzero,
                           const int32_t *hidden, const float *seen, const eq_bit_room *room, int32_t *sums);
void EQ_NAME(eq_attend_f32)(const eq_float_head *h, const float *q, size_t q_pitch, uint32_t queries, float *scores,
                            float *out, size_t out_pitch);
void EQ_NAME(eq_expand)(const uint8_t *sign, const uint8_t *nonzero, uint32_t k, float scale, float *out);
void EQ_NAME(eq_layer_norm)(const eq_norm *op, size_t begin, size_t end);

#endif
