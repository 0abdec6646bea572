#ifndef EQ_AVX512_PACKED_T2_H
#define EQ_AVX512_PACKED_T2_H

#include "core/integer.h"

void eq_dot_packed_t2_avx512(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows,
                             const eq_packed_t2 *w, int32_t *acc, size_t pitch);

#endif
