#ifndef EQ_AVX512_PACKED_SHIFT_H
#define EQ_AVX512_PACKED_SHIFT_H

#include "core/integer.h"

void eq_expand_shift_avx512(const eq_packed_shift *from, unsigned half, int8_t *tile);
void eq_dot_packed_shift_avx512(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows,
                                const eq_packed_shift *w, int32_t *acc, size_t pitch);
void eq_add_ones_avx512(const uint8_t *x, size_t x_pitch, bool plain, uint32_t rows, const eq_packed_shift *w,
                        int32_t *acc, size_t pitch);

#endif
