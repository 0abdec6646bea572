/* One row against packed 4-bit weights with AVX2: unsigned codes times signed activations. A pair of products is
 * 2 * 15 * 128 at most, so that eight of them add up in 16 bits. */
#include "packed_i4.h"
#include "v16.h"

enum { LANES = 8, SAFE_STEPS = 8, PANELS = 2, VECTORS = 4 };

INLINE __m256i four_inputs(const uint8_t *x) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  return _mm256_set1_epi32(word);
}

/* Two panels, whose codes share bytes; a vector is half a panel. */
INLINE void add_steps(const uint8_t *x, const uint8_t *codes, uint32_t steps, __m256i total[VECTORS]) {
  const __m256i low = _mm256_set1_epi8(15);
  __m256i sum[VECTORS];
  for (int v = 0; v < VECTORS; v++) sum[v] = _mm256_setzero_si256();
  for (uint32_t s = 0; s < steps; s++, codes += EQ_I4_STEP, x += EQ_STEP) {
    const __m256i a = four_inputs(x);
    for (int half = 0; half < 2; half++) {
      const __m256i both = _mm256_load_si256((const void *)(codes + half * LANES * EQ_STEP));
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
      sum[half] = _mm256_add_epi16(sum[half], _mm256_maddubs_epi16(_mm256_and_si256(both, low), a));
      sum[2 + half] = _mm256_add_epi16(sum[2 + half], _mm256_maddubs_epi16(high, a));
    }
  }
  for (int v = 0; v < VECTORS; v++)
    total[v] = _mm256_add_epi32(total[v], _mm256_madd_epi16(sum[v], _mm256_set1_epi16(1)));
}

/* LANES halves as floats. */
INLINE __m256 halves(const uint16_t *from) { return _mm256_cvtph_ps(_mm_loadu_si128((const void *)from)); }

/* LANES outputs from `at` on: y + the piece's total in float, as the definition has it. */
INLINE __m256 add_piece(__m256 y, __m256i total, const eq_packed_i4 *w, size_t at, int32_t sum, const float *step) {
  const __m256i zero = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(w->zero + at)));
  const __m256i taken = w->eights ? _mm256_set1_epi32(8 * sum) : _mm256_mullo_epi32(zero, _mm256_set1_epi32(sum));
  __m256 part = _mm256_cvtepi32_ps(_mm256_sub_epi32(total, taken));
  if (w->half_zero) part = _mm256_sub_ps(part, _mm256_mul_ps(halves(w->half_zero + at), _mm256_set1_ps((float)sum)));
  const __m256 scale = halves(w->scale + at);
  return _mm256_add_ps(y, _mm256_mul_ps(part, step ? _mm256_mul_ps(scale, _mm256_set1_ps(*step)) : scale));
}

INLINE void row(const uint8_t *x, const float *step, const int32_t *sums, const eq_packed_i4 *w, uint32_t pieces,
                uint32_t piece_steps, float *acc) {
  for (uint32_t first = 0; first < EQ_BLOCK; first += PANELS * EQ_LANES) {
    const uint8_t *codes = w->codes + (size_t)first / PANELS * EQ_STEP, *from = x;
    __m256 y[VECTORS];
    for (int v = 0; v < VECTORS; v++) y[v] = _mm256_setzero_ps();
    for (uint32_t piece = 0, left = w->steps; piece < pieces; piece++) {
      const uint32_t steps = left < piece_steps ? left : piece_steps;
      const size_t at = (size_t)(piece * piece_steps / w->group_steps) * EQ_BLOCK + first;
      __m256i total[VECTORS];
      for (int v = 0; v < VECTORS; v++) total[v] = _mm256_setzero_si256();
      for (uint32_t s = 0, count; s < steps; s += count) {
        count = steps - s < SAFE_STEPS ? steps - s : SAFE_STEPS;
        if (count == SAFE_STEPS)
          add_steps(from, codes, SAFE_STEPS, total);
        else
          add_steps(from, codes, count, total);
        codes += (size_t)count * EQ_I4_STEP;
        from += (size_t)count * EQ_STEP;
      }
      left -= steps;
      for (int v = 0; v < VECTORS; v++)
        y[v] = add_piece(y[v], total[v], w, at + (size_t)v * LANES, sums[piece], step ? step + piece : step);
    }
    for (int v = 0; v < VECTORS; v++) _mm256_storeu_ps(acc + first + v * LANES, y[v]);
  }
}

void eq_dot_packed_i4_avx2(const eq_rows_i4 *x, uint32_t rows, const eq_packed_i4 *w, uint32_t pieces,
                           uint32_t piece_steps, float *acc, size_t pitch) {
  for (size_t i = 0; i < rows; i++)
    row(x->x + i * x->pitch, x->step ? x->step + i * pieces : x->step, x->sums + i * pieces, w, pieces, piece_steps,
        acc + i * pitch);
}
