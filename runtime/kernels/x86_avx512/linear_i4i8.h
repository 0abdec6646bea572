#ifndef EQ_AVX512_LINEAR_I4I8_H
#define EQ_AVX512_LINEAR_I4I8_H

#include "core/integer.h"

void eq_tile_i4_avx512(const eq_weights_i4 *w, uint32_t k, uint32_t first, uint32_t outputs, const eq_tile_i4 *to);
void eq_accumulate_i4_avx512(const eq_rows_i4 *x, uint32_t rows, const eq_tile_i4 *w, uint32_t outputs, float *acc,
                             size_t pitch);

/* The same for one piece, whose sums acc holds as integers. */
void eq_scale_sums_avx512(const eq_rows_i4 *x, uint32_t rows, const eq_tile_i4 *t, uint32_t outputs, float *acc,
                          size_t pitch);

void eq_dot_i4i8_avx512(const int8_t *x, const float *step, const int32_t *sums, const eq_weights_i4 *w, uint32_t k,
                        uint32_t first, uint32_t outputs, const eq_tile_i4 *scratch, float *acc);

void eq_expand_i4_avx512(const eq_packed_i4 *from, const eq_tile_i4 *to);
void eq_dot_packed_i4_avx512(const eq_rows_i4 *x, uint32_t rows, const eq_packed_i4 *w, uint32_t pieces,
                             uint32_t piece_steps, float *acc, size_t pitch);

#endif
