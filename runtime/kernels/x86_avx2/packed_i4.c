/* One row against packed 4-bit weights with AVX2: unsigned codes times signed activations. A pair of products is
 * 2 * 15 * 128 at most, so that eight of them add up in 16 bits. */
#include "packed_i4.h"
#include "v16.h"

enum { VECTORS = 4, LANES = 8, SAFE_PAIRS = 4, PANEL_STEP = EQ_LANES * EQ_STEP };

INLINE __m256i four_inputs(const uint8_t *x) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  return _mm256_set1_epi32(word);
}

/* Steps are taken two at a time: a byte holds one weight of each. */
INLINE void add_pairs(const uint8_t *x, const uint8_t *codes, size_t panel_bytes, uint32_t pairs,
                      __m256i total[VECTORS]) {
  const __m256i low = _mm256_set1_epi8(15);
  __m256i sum[VECTORS];
  for (int v = 0; v < VECTORS; v++) sum[v] = _mm256_setzero_si256();
  for (uint32_t i = 0; i < pairs; i++, codes += PANEL_STEP, x += 2 * EQ_STEP) {
    const __m256i a = four_inputs(x), b = four_inputs(x + EQ_STEP);
    for (int v = 0; v < VECTORS; v++) {
      const __m256i both = _mm256_load_si256((const void *)(codes + (size_t)(v / 2) * panel_bytes + v % 2 * 32));
      const __m256i odd = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
      sum[v] = _mm256_add_epi16(sum[v], _mm256_maddubs_epi16(_mm256_and_si256(both, low), a));
      sum[v] = _mm256_add_epi16(sum[v], _mm256_maddubs_epi16(odd, b));
    }
  }
  for (int v = 0; v < VECTORS; v++)
    total[v] = _mm256_add_epi32(total[v], _mm256_madd_epi16(sum[v], _mm256_set1_epi16(1)));
}

/* LANES outputs from `at` on: y + the piece's total in float, as the definition has it. */
INLINE __m256 add_piece(__m256 y, __m256i total, const eq_packed_i4 *w, size_t at, int32_t sum, const float *step) {
  const __m256i zero = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(w->zero + at)));
  __m256 part = _mm256_cvtepi32_ps(_mm256_sub_epi32(total, _mm256_mullo_epi32(zero, _mm256_set1_epi32(sum))));
  if (w->float_zero)
    part = _mm256_sub_ps(part, _mm256_mul_ps(_mm256_loadu_ps(w->float_zero + at), _mm256_set1_ps((float)sum)));
  const __m256 scale = _mm256_loadu_ps(w->scale + at);
  return _mm256_add_ps(y, _mm256_mul_ps(part, step ? _mm256_mul_ps(scale, _mm256_set1_ps(*step)) : scale));
}

void eq_dot_packed_i4_avx2(const uint8_t *x, const float *step, const int32_t *sums, const eq_packed_i4 *w,
                           uint32_t pieces, uint32_t piece_steps, float *acc) {
  const size_t panel_bytes = (size_t)w->steps / 2 * PANEL_STEP;
  for (uint32_t first = 0; first < EQ_BLOCK; first += VECTORS * LANES) {
    const uint8_t *codes = w->codes + first / EQ_LANES * panel_bytes, *from = x;
    __m256 y[VECTORS];
    for (int v = 0; v < VECTORS; v++) y[v] = _mm256_setzero_ps();
    for (uint32_t piece = 0, left = w->steps; piece < pieces; piece++) {
      const uint32_t steps = left < piece_steps ? left : piece_steps;
      const size_t at = (size_t)(piece * piece_steps / w->group_steps) * EQ_BLOCK + first;
      __m256i total[VECTORS];
      for (int v = 0; v < VECTORS; v++) total[v] = _mm256_setzero_si256();
      for (uint32_t pair = 0; pair < steps / 2; pair += SAFE_PAIRS) {
        const uint32_t pairs = steps / 2 - pair < SAFE_PAIRS ? steps / 2 - pair : SAFE_PAIRS;
        add_pairs(from, codes, panel_bytes, pairs, total);
        codes += (size_t)pairs * PANEL_STEP;
        from += (size_t)pairs * 2 * EQ_STEP;
      }
      left -= steps;
      for (int v = 0; v < VECTORS; v++)
        y[v] = add_piece(y[v], total[v], w, at + (size_t)v * LANES, sums[piece], step ? step + piece : step);
    }
    for (int v = 0; v < VECTORS; v++) _mm256_storeu_ps(acc + first + v * LANES, y[v]);
  }
}
