/* A few rows against packed 4-bit weights with AVX-VNNI, one after the other. As with AVX-512, bytes of two panels,
 * c + 16 d, are multiplied as they are and with d masked: the difference of the sums is d's, 16 times too large. */
#include "packed_i4.h"
#include "kernels/x86_avx2/v16.h"

enum { LANES = 8, HALVES = EQ_LANES / LANES, STREAMS = 2, AHEAD = 2048 };

typedef struct {
  __m256i both[HALVES], low[HALVES];
} sums;

INLINE __m256i four_inputs(const uint8_t *x) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  return _mm256_set1_epi32(word);
}

/* `steps` steps of two runs, `apart` steps from each other: no sum waits for the one before. */
INLINE void run(const uint8_t *x, const uint8_t *codes, uint32_t steps, size_t apart, sums s[STREAMS]) {
  const __m256i mask = _mm256_set1_epi8(15);
  for (uint32_t i = 0; i < steps; i++, x += EQ_STEP, codes += EQ_I4_STEP)
    for (int j = 0; j < STREAMS; j++) {
      const __m256i a = four_inputs(x + (size_t)j * apart * EQ_STEP);
      const uint8_t *from = codes + (size_t)j * apart * EQ_I4_STEP;
      __builtin_prefetch(from + AHEAD);
      for (int h = 0; h < HALVES; h++) {
        const __m256i all = _mm256_load_si256((const void *)(from + h * LANES * EQ_STEP));
        s[j].both[h] = _mm256_dpbusd_avx_epi32(s[j].both[h], all, a);
        s[j].low[h] = _mm256_dpbusd_avx_epi32(s[j].low[h], _mm256_and_si256(all, mask), a);
      }
    }
}

INLINE __m256 halves(const uint16_t *from) { return _mm256_cvtph_ps(_mm_loadu_si128((const void *)from)); }

/* LANES outputs from `at` on: y + the piece's total in float, as the definition has it. */
INLINE __m256 add_piece(__m256 y, __m256i total, const eq_packed_i4 *w, size_t at, int32_t sum, const float *step) {
  __m256i zero = _mm256_set1_epi32(8 * sum);
  if (!w->eights) {
    zero = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(w->zero + at)));
    zero = _mm256_mullo_epi32(zero, _mm256_set1_epi32(sum));
  }
  __m256 part = _mm256_cvtepi32_ps(_mm256_sub_epi32(total, zero));
  if (w->half_zero) part = _mm256_sub_ps(part, _mm256_mul_ps(halves(w->half_zero + at), _mm256_set1_ps((float)sum)));
  const __m256 scale = halves(w->scale + at);
  return _mm256_add_ps(y, _mm256_mul_ps(part, step ? _mm256_mul_ps(scale, _mm256_set1_ps(*step)) : scale));
}

INLINE void end(const sums *s, const eq_packed_i4 *w, size_t at, int32_t sum, const float *step, __m256 y[2 * HALVES]) {
  for (int h = 0; h < HALVES; h++, at += LANES) {
    const __m256i high = _mm256_srai_epi32(_mm256_sub_epi32(s->both[h], s->low[h]), 4);
    y[h] = add_piece(y[h], s->low[h], w, at, sum, step);
    y[HALVES + h] = add_piece(y[HALVES + h], high, w, at + EQ_LANES, sum, step);
  }
}

/* Two panels, whose codes share bytes; two pieces at once, or two halves of one. */
INLINE void pair(const uint8_t *x, const float *step, const int32_t *of_x, const eq_packed_i4 *w, uint32_t first,
                 uint32_t pieces, uint32_t piece_steps, float *acc) {
  const uint8_t *codes = w->codes + (size_t)first / 2 * EQ_STEP;
  const uint32_t per_group = w->groups == 1 ? pieces : w->group_steps / piece_steps;
  __m256 y[2 * HALVES];
  for (int v = 0; v < 2 * HALVES; v++) y[v] = _mm256_setzero_ps();
  for (uint32_t piece = 0, left = w->steps, count, steps; piece < pieces; piece += count) {
    const bool two = left >= 2 * piece_steps;
    steps = left < piece_steps ? left : piece_steps;
    count = two ? 2 : 1;
    sums s[STREAMS];
    for (int j = 0; j < STREAMS; j++)
      for (int h = 0; h < HALVES; h++) s[j].both[h] = s[j].low[h] = _mm256_setzero_si256();
    if (two)
      run(x, codes, steps, steps, s);
    else
      run(x, codes, steps / 2, steps / 2, s);
    const size_t at = (size_t)(piece / per_group) * EQ_BLOCK + first;
    for (int h = 0; !two && h < HALVES; h++) {
      s[0].both[h] = _mm256_add_epi32(s[0].both[h], s[1].both[h]);
      s[0].low[h] = _mm256_add_epi32(s[0].low[h], s[1].low[h]);
    }
    end(&s[0], w, at, of_x[piece], step ? step + piece : step, y);
    if (two)
      end(&s[1], w, (size_t)((piece + 1) / per_group) * EQ_BLOCK + first, of_x[piece + 1],
          step ? step + piece + 1 : step, y);
    left -= count * steps;
    x += (size_t)count * steps * EQ_STEP;
    codes += (size_t)count * steps * EQ_I4_STEP;
  }
  for (int v = 0; v < 2 * HALVES; v++) _mm256_storeu_ps(acc + first + v * LANES, y[v]);
}

void eq_dot_packed_i4_avx_vnni(const eq_rows_i4 *x, uint32_t rows, const eq_packed_i4 *w, uint32_t pieces,
                               uint32_t piece_steps, float *acc, size_t pitch) {
  for (size_t i = 0; i < rows; i++)
    for (uint32_t first = 0; first < EQ_BLOCK; first += 2 * EQ_LANES)
      pair(x->x + i * x->pitch, x->step ? x->step + i * pieces : x->step, x->sums + i * pieces, w, first, pieces,
           piece_steps, acc + i * pitch);
}
