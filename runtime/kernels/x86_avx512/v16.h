/* Sixteen floats in one register: the vocabulary of kernels/simd for AVX-512. */
#ifndef EQ_AVX512_V16_H
#define EQ_AVX512_V16_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define EQ_NAME(name) name##_avx512
enum { V16_PIXELS = 7, V16_ROWS = 7 }; /* pixels an epilogue, and a float product, hold in registers */

#define INLINE static inline __attribute__((always_inline))

typedef __m512 v16;

INLINE __mmask16 v16_first(uint32_t n) { return (__mmask16)((1u << n) - 1); }
INLINE v16 v16_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE v16 v16_load_n(const float *p, uint32_t n) { return _mm512_maskz_loadu_ps(v16_first(n), p); }
INLINE v16 v16_of_half(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p)); }
INLINE v16 v16_of_i32(const int32_t *p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
INLINE v16 v16_of_i32_n(const int32_t *p, uint32_t n) {
  return _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(v16_first(n), p));
}
INLINE v16 v16_of_i8(const int8_t *p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p)));
}
/* Sixteen codes of four bits, low nibble first, meaning code - 8. */
INLINE v16 v16_of_i4(const uint8_t *p) {
  const __m128i bytes = _mm_loadl_epi64((const void *)p), low = _mm_set1_epi8(15);
  const __m128i even = _mm_and_si128(bytes, low), odd = _mm_and_si128(_mm_srli_epi16(bytes, 4), low);
  const __m128i codes = _mm_sub_epi8(_mm_unpacklo_epi8(even, odd), _mm_set1_epi8(8));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes));
}
INLINE void v16_store(float *p, v16 a) { _mm512_storeu_ps(p, a); }
INLINE void v16_store_n(float *p, v16 a, uint32_t n) { _mm512_mask_storeu_ps(p, v16_first(n), a); }
/* Whole values after rounding half to even, each within an int8. */
INLINE __m128i v16_bytes(v16 a) { return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)); }
INLINE void v16_store_i8(int8_t *p, v16 a) { _mm_storeu_si128((void *)p, v16_bytes(a)); }
INLINE void v16_store_i8_n(int8_t *p, v16 a, uint32_t n) { _mm_mask_storeu_epi8(p, v16_first(n), v16_bytes(a)); }
INLINE v16 v16_set(float x) { return _mm512_set1_ps(x); }
INLINE v16 v16_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
INLINE v16 v16_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
INLINE v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
INLINE v16 v16_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
/* Half to even. */
INLINE v16 v16_round_even(v16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/* y * 2^n, shifted being EQ_ROUND + n: n is added to the exponent. The product is a normal number. */
INLINE v16 v16_times_power(v16 y, v16 shifted) {
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y), exponent));
}
INLINE v16 v16_sqrt(v16 a) { return _mm512_sqrt_ps(a); }
INLINE v16 v16_floor(v16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
/* a > b ? a : b and a < b ? a : b, so that NaN in a gives b */
INLINE v16 v16_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
INLINE v16 v16_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
INLINE uint32_t v16_ge(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
INLINE uint32_t v16_gt(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
INLINE uint32_t v16_ne(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
/* Two bytes: bit i = (a[i] >= 0). */
INLINE void v16_store_signs(uint8_t *to, v16 a) {
  const __mmask16 bits = _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_GE_OQ);
  __builtin_memcpy(to, &bits, sizeof bits);
}
/* test >= 0 ? a : b */
INLINE v16 v16_choose(v16 test, v16 a, v16 b) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(test, _mm512_setzero_ps(), _CMP_GE_OQ), b, a);
}
/* a >= b ? yes : no */
INLINE v16 v16_choose_ge(v16 a, v16 b, v16 yes, v16 no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ), no, yes);
}
INLINE v16 v16_abs(v16 a) { return _mm512_abs_ps(a); }
/* a, which is not negative, with the sign of s */
INLINE v16 v16_with_sign(v16 a, v16 s) { return _mm512_or_ps(a, _mm512_and_ps(s, _mm512_set1_ps(-0.0f))); }

/* p[lane[i]], lanes rising from 0 by at most 1 each. */
typedef __m512i v16_lanes;
INLINE v16_lanes v16_lanes_of(const uint32_t lane[16]) { return _mm512_loadu_si512(lane); }
INLINE v16 v16_pick(const float *p, v16_lanes lanes) { return _mm512_permutexvar_ps(lanes, _mm512_loadu_ps(p)); }

/* Lane i: ((p[4i] + p[4i+1]) + p[4i+2]) + p[4i+3]; p[2i] + p[2i+1]. */
INLINE v16 v16_sum_fours(const float *p) {
  const __m512 a = v16_load(p), b = v16_load(p + 16), c = v16_load(p + 32), d = v16_load(p + 48);
  const __m512d ab0 = _mm512_castps_pd(_mm512_unpacklo_ps(a, b)), ab1 = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
  const __m512d cd0 = _mm512_castps_pd(_mm512_unpacklo_ps(c, d)), cd1 = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
  const __m512 first = _mm512_castpd_ps(_mm512_unpacklo_pd(ab0, cd0));
  const __m512 second = _mm512_castpd_ps(_mm512_unpackhi_pd(ab0, cd0));
  const __m512 third = _mm512_castpd_ps(_mm512_unpacklo_pd(ab1, cd1));
  const __m512 fourth = _mm512_castpd_ps(_mm512_unpackhi_pd(ab1, cd1));
  /* 128-bit lane l holds the l-th four of each of a, b, c, d: put the sums in order */
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_ps(order, v16_add(v16_add(v16_add(first, second), third), fourth));
}
INLINE v16 v16_sum_twos(const float *p) {
  const __m512 a = v16_load(p), b = v16_load(p + 16);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return v16_add(_mm512_permutex2var_ps(a, even, b),
                 _mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b));
}

/* The lanes of a folded in halves: 8 + 8, 4 + 4. */
INLINE __m128 v16_quarter(v16 a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}
/* The folded sums of four vectors: after the quarters 2 + 2 and 1 + 1. */
INLINE void v16_fold_four(const v16 a[4], float *to) {
  __m128 q0 = v16_quarter(a[0]), q1 = v16_quarter(a[1]), q2 = v16_quarter(a[2]), q3 = v16_quarter(a[3]);
  _MM_TRANSPOSE4_PS(q0, q1, q2, q3);
  _mm_storeu_ps(to, _mm_add_ps(_mm_add_ps(q0, q2), _mm_add_ps(q1, q3)));
}

#endif
