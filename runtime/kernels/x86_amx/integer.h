#ifndef EQ_AMX_INTEGER_H
#define EQ_AMX_INTEGER_H

#include "core/integer.h"

/* accumulate() and accumulate_i4() of an eq_integer_kernels, over the tiles and activations of AVX-512. */
void eq_accumulate_amx(const eq_byte_patches *p, uint32_t pixels, const int8_t *w, const int32_t *start, bool more,
                       uint32_t outputs, int32_t *acc, size_t pitch);
void eq_accumulate_i4_amx(const eq_rows_i4 *x, uint32_t rows, const eq_tile_i4 *t, uint32_t outputs, float *acc,
                          size_t pitch);

#endif
