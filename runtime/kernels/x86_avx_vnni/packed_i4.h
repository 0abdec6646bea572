#ifndef EQ_AVX_VNNI_PACKED_I4_H
#define EQ_AVX_VNNI_PACKED_I4_H

#include "core/integer.h"

void eq_dot_packed_i4_avx_vnni(const eq_rows_i4 *x, uint32_t rows, const eq_packed_i4 *w, uint32_t pieces,
                               uint32_t piece_steps, float *acc, size_t pitch);

#endif
