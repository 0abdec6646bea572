/* Powers of two tiled ahead: their values are looked up by VPSHUFB. For AVX2 and AVX-VNNI. */
#ifndef EQ_AVX2_PACKED_SHIFT_H
#define EQ_AVX2_PACKED_SHIFT_H

#include "core/tiles_shift.h"
#include "kernels/x86_avx2/v16.h"

enum { SHIFT_LANES = 8, SHIFT_PANEL_STEP = EQ_LANES * EQ_STEP };

/* The two codes of each byte as indices, of which VPSHUFB takes four bits where the uppermost is 0. type: EQ_S4, or one
 * of the others, whose codes mean the same and are found among six bits. */
INLINE void shift_codes(__m256i both, eq_weight_type type, __m256i code[2]) {
  code[0] = type == EQ_S4 ? _mm256_and_si256(both, _mm256_set1_epi8(15)) : both;
  code[1] = _mm256_and_si256(_mm256_srli_epi16(both, type == EQ_S4 ? 4 : 3), _mm256_set1_epi8(15));
}

INLINE __m256i shift_table(const int8_t values[16]) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)values));
}

INLINE __m256i shift_inputs(const uint8_t *x) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  return _mm256_set1_epi32(word);
}

void eq_expand_shift_avx2(const eq_packed_shift *from, unsigned half, int8_t *tile);
void eq_dot_packed_shift_avx2(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows,
                              const eq_packed_shift *w, int32_t *acc, size_t pitch);

#endif
