/* int8 activations with AVX2: unsigned activations times signed weights of at most +-64, so that the 16-bit sums of
 * pairs, 2 * 255 * 64 at most, never saturate. */
#include "v16.h"

enum { PRODUCT_PIXELS = 4, OFFSET = 128 };

typedef struct {
  __m256i lo, hi;
} sum16;

INLINE void sum16_begin(sum16 *s) { s->lo = s->hi = _mm256_setzero_si256(); }

INLINE __m256i sum_of_fours(__m256i x, const int8_t *w) {
  const __m256i pairs = _mm256_maddubs_epi16(x, _mm256_load_si256((const void *)w));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

INLINE void sum16_add(sum16 *s, const uint8_t *x, const int8_t *w) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  const __m256i a = _mm256_set1_epi32(word);
  s->lo = _mm256_add_epi32(s->lo, sum_of_fours(a, w));
  s->hi = _mm256_add_epi32(s->hi, sum_of_fours(a, w + 32));
}

INLINE void sum16_store(const sum16 *s, int32_t *to) {
  _mm256_storeu_si256((void *)to, s->lo);
  _mm256_storeu_si256((void *)(to + 8), s->hi);
}

#include "kernels/simd/product_i8.h"
#include "packed_i4.h"
#include "packed_shift.h"
#include "ternary.h"

const eq_integer_kernels eq_integer_avx2 =
    EQ_INTEGER_TABLE(true, .accumulate_ones = eq_accumulate_ones_avx2, .dot_packed_i4 = eq_dot_packed_i4_avx2,
                     .expand_t2 = eq_expand_t2_avx2, .dot_packed_t2 = eq_dot_packed_t2_avx2,
                     .expand_shift = eq_expand_shift_avx2, .dot_packed_shift = eq_dot_packed_shift_avx2);
