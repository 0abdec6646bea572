/* Eight 64-bit words side by side: the vocabulary of kernels/simd for bits. */
#ifndef EQ_AVX512_WORDS_H
#define EQ_AVX512_WORDS_H

#include "v16.h"

enum { WORDS = 8 };
typedef __m512i words;

INLINE words words_zero(void) { return _mm512_setzero_si512(); }
INLINE words words_set(uint64_t word) { return _mm512_set1_epi64((long long)word); }
INLINE words words_load(const uint64_t *p) { return _mm512_loadu_si512(p); }
INLINE words words_and(words a, words b) { return _mm512_and_si512(a, b); }
/* n & (a ^ b) */
INLINE words words_differing(words n, words a, words b) { return _mm512_ternarylogic_epi64(n, a, b, 0x60); }
/* total + ones of each word */
INLINE words words_count(words total, words bits) { return _mm512_add_epi64(total, _mm512_popcnt_epi64(bits)); }
/* to[i] = (int32_t)(a[i] - 2 * b[i]) + plus[i], for sixteen */
INLINE void words_store_sixteen(int32_t *to, const words a[2], const words b[2], const int32_t *plus) {
  __m256i half[2];
  for (int i = 0; i < 2; i++) half[i] = _mm512_cvtepi64_epi32(_mm512_sub_epi64(a[i], _mm512_slli_epi64(b[i], 1)));
  const __m512i all = _mm512_inserti64x4(_mm512_castsi256_si512(half[0]), half[1], 1);
  _mm512_storeu_si512(to, _mm512_add_epi32(all, _mm512_loadu_si512(plus)));
}

#endif
