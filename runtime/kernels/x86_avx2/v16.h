/* Sixteen floats in two registers: the vocabulary of kernels/simd for AVX2. */
#ifndef EQ_AVX2_V16_H
#define EQ_AVX2_V16_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define EQ_NAME(name) name##_avx2
enum { V16_PIXELS = 2, V16_ROWS = 4 }; /* pixels an epilogue, and a float product, hold in registers */

#define INLINE static inline __attribute__((always_inline))

typedef struct {
  __m256 lo, hi;
} v16;

/* Mask of the first n - from lanes of eight. */
INLINE __m256i v16_first(uint32_t n, int from) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n - from), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE v16 v16_load(const float *p) { return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
INLINE v16 v16_load_n(const float *p, uint32_t n) {
  return (v16){_mm256_maskload_ps(p, v16_first(n, 0)),
               n > 8 ? _mm256_maskload_ps(p + 8, v16_first(n, 8)) : _mm256_setzero_ps()};
}
INLINE v16 v16_of_half(const uint16_t *p) {
  return (v16){_mm256_cvtph_ps(_mm_loadu_si128((const void *)p)),
               _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 8)))};
}
INLINE v16 v16_of_i32(const int32_t *p) {
  return (v16){_mm256_cvtepi32_ps(_mm256_loadu_si256((const void *)p)),
               _mm256_cvtepi32_ps(_mm256_loadu_si256((const void *)(p + 8)))};
}
INLINE v16 v16_of_i32_n(const int32_t *p, uint32_t n) {
  return (v16){_mm256_cvtepi32_ps(_mm256_maskload_epi32(p, v16_first(n, 0))),
               n > 8 ? _mm256_cvtepi32_ps(_mm256_maskload_epi32(p + 8, v16_first(n, 8))) : _mm256_setzero_ps()};
}
INLINE v16 v16_of_bytes(__m128i b) {
  return (v16){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)),
               _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(b, b)))};
}
INLINE v16 v16_of_i8(const int8_t *p) { return v16_of_bytes(_mm_loadu_si128((const void *)p)); }
/* Sixteen codes of four bits, low nibble first, meaning code - 8. */
INLINE v16 v16_of_i4(const uint8_t *p) {
  const __m128i bytes = _mm_loadl_epi64((const void *)p), low = _mm_set1_epi8(15);
  const __m128i even = _mm_and_si128(bytes, low), odd = _mm_and_si128(_mm_srli_epi16(bytes, 4), low);
  return v16_of_bytes(_mm_sub_epi8(_mm_unpacklo_epi8(even, odd), _mm_set1_epi8(8)));
}
INLINE void v16_store(float *p, v16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
INLINE void v16_store_n(float *p, v16 a, uint32_t n) {
  _mm256_maskstore_ps(p, v16_first(n, 0), a.lo);
  if (n > 8) _mm256_maskstore_ps(p + 8, v16_first(n, 8), a.hi);
}
/* Whole values after rounding half to even, each within an int8. */
INLINE void v16_store_i8(int8_t *p, v16 a) {
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi));
  const __m256i order = _mm256_permute4x64_epi64(words, 0xd8);
  _mm_storeu_si128((void *)p, _mm_packs_epi16(_mm256_castsi256_si128(order), _mm256_extracti128_si256(order, 1)));
}
INLINE void v16_store_i8_n(int8_t *p, v16 a, uint32_t n) {
  int8_t part[16];
  v16_store_i8(part, a);
  for (uint32_t i = 0; i < n; i++) p[i] = part[i];
}
INLINE v16 v16_set(float x) { return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
INLINE v16 v16_add(v16 a, v16 b) { return (v16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
INLINE v16 v16_sub(v16 a, v16 b) { return (v16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
INLINE v16 v16_mul(v16 a, v16 b) { return (v16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
INLINE v16 v16_div(v16 a, v16 b) { return (v16){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
/* Half to even. */
INLINE v16 v16_round_even(v16 a) {
  return (v16){_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
               _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
/* y * 2^n, shifted being EQ_ROUND + n: n is added to the exponent. The product is a normal number. */
INLINE __m256 v16_half_times_power(__m256 y, __m256 shifted) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), exponent));
}
INLINE v16 v16_times_power(v16 y, v16 shifted) {
  return (v16){v16_half_times_power(y.lo, shifted.lo), v16_half_times_power(y.hi, shifted.hi)};
}
INLINE v16 v16_sqrt(v16 a) { return (v16){_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
INLINE v16 v16_floor(v16 a) { return (v16){_mm256_floor_ps(a.lo), _mm256_floor_ps(a.hi)}; }
/* a > b ? a : b and a < b ? a : b, so that NaN in a gives b */
INLINE v16 v16_max(v16 a, v16 b) { return (v16){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
INLINE v16 v16_min(v16 a, v16 b) { return (v16){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
INLINE uint32_t v16_bits(__m256 lo, __m256 hi) {
  return (uint32_t)_mm256_movemask_ps(lo) | (uint32_t)_mm256_movemask_ps(hi) << 8;
}
INLINE uint32_t v16_ge(v16 a, v16 b) {
  return v16_bits(_mm256_cmp_ps(a.lo, b.lo, _CMP_GE_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GE_OQ));
}
INLINE uint32_t v16_gt(v16 a, v16 b) {
  return v16_bits(_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ));
}
INLINE uint32_t v16_ne(v16 a, v16 b) {
  return v16_bits(_mm256_cmp_ps(a.lo, b.lo, _CMP_NEQ_UQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_NEQ_UQ));
}
/* Two bytes: bit i = (a[i] >= 0). */
INLINE void v16_store_signs(uint8_t *to, v16 a) {
  const uint16_t bits = (uint16_t)v16_ge(a, v16_set(0.0f));
  __builtin_memcpy(to, &bits, sizeof bits);
}
/* test >= 0 ? a : b */
INLINE v16 v16_choose(v16 test, v16 a, v16 b) {
  const __m256 zero = _mm256_setzero_ps();
  return (v16){_mm256_blendv_ps(b.lo, a.lo, _mm256_cmp_ps(test.lo, zero, _CMP_GE_OQ)),
               _mm256_blendv_ps(b.hi, a.hi, _mm256_cmp_ps(test.hi, zero, _CMP_GE_OQ))};
}

/* a >= b ? yes : no */
INLINE v16 v16_choose_ge(v16 a, v16 b, v16 yes, v16 no) {
  return (v16){_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_GE_OQ)),
               _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_GE_OQ))};
}
INLINE v16 v16_abs(v16 a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return (v16){_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
/* a, which is not negative, with the sign of s */
INLINE v16 v16_with_sign(v16 a, v16 s) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return (v16){_mm256_or_ps(a.lo, _mm256_and_ps(s.lo, sign)), _mm256_or_ps(a.hi, _mm256_and_ps(s.hi, sign))};
}

/* p[lane[i]], lanes rising from 0 by at most 1 each: every half then reads within eight floats. */
typedef struct {
  __m256i lo, hi;
  uint32_t base;
} v16_lanes;
INLINE v16_lanes v16_lanes_of(const uint32_t lane[16]) {
  const __m256i hi = _mm256_loadu_si256((const void *)(lane + 8));
  return (v16_lanes){_mm256_loadu_si256((const void *)lane), _mm256_sub_epi32(hi, _mm256_set1_epi32((int)lane[8])),
                     lane[8]};
}
INLINE v16 v16_pick(const float *p, v16_lanes lanes) {
  return (v16){_mm256_permutevar8x32_ps(_mm256_loadu_ps(p), lanes.lo),
               _mm256_permutevar8x32_ps(_mm256_loadu_ps(p + lanes.base), lanes.hi)};
}

/* Lane i: ((p[4i] + p[4i+1]) + p[4i+2]) + p[4i+3]; p[2i] + p[2i+1]. */
INLINE __m256 v16_sum_half_fours(const float *p) {
  const __m256 a = _mm256_loadu_ps(p), b = _mm256_loadu_ps(p + 8);
  const __m256 c = _mm256_loadu_ps(p + 16), d = _mm256_loadu_ps(p + 24);
  const __m256 r0 = _mm256_permute2f128_ps(a, c, 0x20), r1 = _mm256_permute2f128_ps(a, c, 0x31);
  const __m256 r2 = _mm256_permute2f128_ps(b, d, 0x20), r3 = _mm256_permute2f128_ps(b, d, 0x31);
  const __m256 lo01 = _mm256_unpacklo_ps(r0, r1), hi01 = _mm256_unpackhi_ps(r0, r1);
  const __m256 lo23 = _mm256_unpacklo_ps(r2, r3), hi23 = _mm256_unpackhi_ps(r2, r3);
  const __m256 two = _mm256_add_ps(_mm256_shuffle_ps(lo01, lo23, 0x44), _mm256_shuffle_ps(lo01, lo23, 0xee));
  return _mm256_add_ps(_mm256_add_ps(two, _mm256_shuffle_ps(hi01, hi23, 0x44)), _mm256_shuffle_ps(hi01, hi23, 0xee));
}
INLINE v16 v16_sum_fours(const float *p) { return (v16){v16_sum_half_fours(p), v16_sum_half_fours(p + 32)}; }
INLINE __m256 v16_sum_half_twos(const float *p) {
  const __m256 a = _mm256_loadu_ps(p), b = _mm256_loadu_ps(p + 8);
  const __m256 sums = _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(sums), 0xd8));
}
INLINE v16 v16_sum_twos(const float *p) { return (v16){v16_sum_half_twos(p), v16_sum_half_twos(p + 16)}; }

/* The lanes of a folded in halves: 8 + 8, 4 + 4. */
INLINE __m128 v16_quarter(v16 a) {
  const __m256 eight = _mm256_add_ps(a.lo, a.hi);
  return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}
/* The folded sums of four vectors: after the quarters 2 + 2 and 1 + 1. */
INLINE void v16_fold_four(const v16 a[4], float *to) {
  __m128 q0 = v16_quarter(a[0]), q1 = v16_quarter(a[1]), q2 = v16_quarter(a[2]), q3 = v16_quarter(a[3]);
  _MM_TRANSPOSE4_PS(q0, q1, q2, q3);
  _mm_storeu_ps(to, _mm_add_ps(_mm_add_ps(q0, q2), _mm_add_ps(q1, q3)));
}

#endif
