#ifndef EQ_AVX512_INTEGER_H
#define EQ_AVX512_INTEGER_H

#include "core/integer.h"

/* accumulate() of an eq_integer_kernels. */
void eq_accumulate_avx512(const eq_byte_patches *p, uint32_t pixels, const int8_t *w, const int32_t *start, bool more,
                          uint32_t outputs, int32_t *acc, size_t pitch);

#endif
