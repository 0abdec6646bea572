/* Eight 64-bit words side by side: the vocabulary of kernels/simd for bits. */
#ifndef EQ_AVX2_WORDS_H
#define EQ_AVX2_WORDS_H

#include "v16.h"

enum { WORDS = 8 };
typedef struct {
  __m256i lo, hi;
} words;

INLINE words words_zero(void) { return (words){_mm256_setzero_si256(), _mm256_setzero_si256()}; }
INLINE words words_set(uint64_t word) {
  const __m256i all = _mm256_set1_epi64x((long long)word);
  return (words){all, all};
}
INLINE words words_load(const uint64_t *p) {
  return (words){_mm256_loadu_si256((const void *)p), _mm256_loadu_si256((const void *)(p + 4))};
}
INLINE words words_and(words a, words b) { return (words){_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)}; }
/* n & (a ^ b) */
INLINE words words_differing(words n, words a, words b) {
  return (words){_mm256_and_si256(n.lo, _mm256_xor_si256(a.lo, b.lo)),
                 _mm256_and_si256(n.hi, _mm256_xor_si256(a.hi, b.hi))};
}
INLINE __m256i half_ones(__m256i v) {
  const __m256i low = _mm256_set1_epi8(15);
  const __m256i table = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m256i bytes = _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(v, low)),
                                        _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), low)));
  return _mm256_sad_epu8(bytes, _mm256_setzero_si256());
}
/* total + ones of each word */
INLINE words words_count(words total, words bits) {
  return (words){_mm256_add_epi64(total.lo, half_ones(bits.lo)), _mm256_add_epi64(total.hi, half_ones(bits.hi))};
}
/* to[i] = (int32_t)(a[i] - 2 * b[i]) + plus[i], for sixteen */
INLINE void words_store_sixteen(int32_t *to, const words a[2], const words b[2], const int32_t *plus) {
  for (int i = 0; i < 2; i++) {
    const __m256i lo = _mm256_sub_epi64(a[i].lo, _mm256_slli_epi64(b[i].lo, 1));
    const __m256i hi = _mm256_sub_epi64(a[i].hi, _mm256_slli_epi64(b[i].hi, 1));
    const __m256i low = _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(lo), _mm256_castsi256_ps(hi), 0x88));
    const __m256i extra = _mm256_loadu_si256((const void *)(plus + 8 * i));
    _mm256_storeu_si256((void *)(to + 8 * i), _mm256_add_epi32(_mm256_permute4x64_epi64(low, 0xd8), extra));
  }
}

#endif
