#ifndef EQ_AVX_VNNI_PACKED_SHIFT_H
#define EQ_AVX_VNNI_PACKED_SHIFT_H

#include "core/integer.h"

void eq_dot_packed_shift_avx_vnni(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows,
                                  const eq_packed_shift *w, int32_t *acc, size_t pitch);

#endif
