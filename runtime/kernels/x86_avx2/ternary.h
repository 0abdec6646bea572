#ifndef EQ_AVX2_TERNARY_H
#define EQ_AVX2_TERNARY_H

#include "core/integer.h"

void eq_accumulate_ones_avx2(const eq_byte_patches *p, uint32_t pixels, const int8_t *tile, const int32_t *start,
                             bool more, uint32_t outputs, int32_t *acc, size_t pitch);
void eq_expand_t2_avx2(const eq_packed_t2 *from, int8_t *tile);
void eq_dot_packed_t2_avx2(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows, const eq_packed_t2 *w,
                           int32_t *acc, size_t pitch);

#endif
