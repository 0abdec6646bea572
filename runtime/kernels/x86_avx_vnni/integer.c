/* int8 activations with AVX-VNNI: VPDPBUSD on 256 bits, for processors without AVX-512. */
#include "kernels/x86_avx2/v16.h"

enum { PRODUCT_PIXELS = 6, OFFSET = 128 };

typedef struct {
  __m256i lo, hi;
} sum16;

INLINE void sum16_begin(sum16 *s) { s->lo = s->hi = _mm256_setzero_si256(); }

INLINE void sum16_add(sum16 *s, const uint8_t *x, const int8_t *w) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  const __m256i a = _mm256_set1_epi32(word);
  s->lo = _mm256_dpbusd_avx_epi32(s->lo, a, _mm256_load_si256((const void *)w));
  s->hi = _mm256_dpbusd_avx_epi32(s->hi, a, _mm256_load_si256((const void *)(w + 32)));
}

INLINE void sum16_store(const sum16 *s, int32_t *to) {
  _mm256_storeu_si256((void *)to, s->lo);
  _mm256_storeu_si256((void *)(to + 8), s->hi);
}

#include "kernels/simd/product_i8.h"
#include "kernels/x86_avx2/packed_shift.h"
#include "kernels/x86_avx2/ternary.h"
#include "packed_i4.h"
#include "packed_shift.h"
#include "packed_t2.h"

const eq_integer_kernels eq_integer_avx_vnni =
    EQ_INTEGER_TABLE(false, .expand_t2 = eq_expand_t2_avx2, .dot_packed_i4 = eq_dot_packed_i4_avx_vnni,
                     .dot_packed_t2 = eq_dot_packed_t2_avx_vnni, .expand_shift = eq_expand_shift_avx2,
                     .dot_packed_shift = eq_dot_packed_shift_avx_vnni);
