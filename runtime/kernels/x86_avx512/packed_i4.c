/* 4-bit weights tiled ahead, with VNNI: made into int8 tiles for many rows, multiplied as they are for few. */
#include "v16.h"

#include "linear_i4i8.h"

enum { PAIRS = EQ_BLOCK / EQ_LANES / 2, OFFSET = 128, PANEL_STEP = EQ_LANES * EQ_STEP };
enum { AHEAD = 2048 };      /* bytes that are fetched before they are read */
enum { NARROW_STEPS = 32 }; /* the sum of so many steps of x has 16 bits */

/* The zeros of sixteen outputs as 32-bit words. */
INLINE __m512i zeros(const eq_packed_i4 *w, uint32_t first_step, uint32_t panel) {
  const uint8_t *zero = w->zero + (size_t)(first_step / w->group_steps) * EQ_BLOCK + panel * EQ_LANES;
  return _mm512_cvtepu8_epi32(_mm_load_si128((const void *)zero));
}

/* The zeros of sixteen outputs, four bytes each. */
INLINE __m512i zero_bytes(const eq_packed_i4 *w, uint32_t first_step, uint32_t panel) {
  return _mm512_mullo_epi32(zeros(w, first_step, panel), _mm512_set1_epi32(0x01010101));
}

static void expand_pair(const eq_packed_i4 *from, const eq_tile_i4 *to, uint32_t panel) {
  const __m512i mask = _mm512_set1_epi8(15), offset = _mm512_set1_epi8((char)OFFSET), none = _mm512_setzero_si512();
  const size_t panel_bytes = (size_t)to->steps * PANEL_STEP;
  const uint8_t *codes = from->codes + panel / 2 * panel_bytes;
  int8_t *w = to->tile + panel * panel_bytes;
  for (uint32_t piece = 0, left = to->steps; piece < to->pieces; piece++) {
    const uint32_t steps = left < to->piece_steps ? left : to->piece_steps, first = piece * to->piece_steps;
    const __m512i low_zero = zero_bytes(from, first, panel), high_zero = zero_bytes(from, first, panel + 1);
    __m512i low_sum = none, high_sum = none;
    for (uint32_t s = 0; s < steps; s++, codes += PANEL_STEP, w += PANEL_STEP) {
      const __m512i both = _mm512_load_si512(codes);
      const __m512i low = _mm512_sub_epi8(_mm512_and_si512(both, mask), low_zero);
      const __m512i high = _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(both, 4), mask), high_zero);
      _mm512_store_si512(w, low);
      _mm512_store_si512(w + panel_bytes, high);
      low_sum = _mm512_dpbusd_epi32(low_sum, offset, low);
      high_sum = _mm512_dpbusd_epi32(high_sum, offset, high);
    }
    left -= steps;
    int32_t *start = to->start + (size_t)piece * EQ_BLOCK + panel * EQ_LANES;
    _mm512_store_si512(start, _mm512_sub_epi32(none, low_sum));
    _mm512_store_si512(start + EQ_LANES, _mm512_sub_epi32(none, high_sum));
  }
}

void eq_expand_i4_avx512(const eq_packed_i4 *from, const eq_tile_i4 *to) {
  for (uint32_t pair = 0; pair < PAIRS; pair++) expand_pair(from, to, 2 * pair);
}

INLINE __m512i broadcast(const uint8_t *p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

/* Where the sums of a piece begin: -zero * sum of x, of the high panel's and 16 times the low one's together. */
INLINE void starts(const eq_packed_i4 *w, uint32_t first, uint32_t steps, uint32_t pair, int32_t sum, __m512i *both,
                   __m512i *low) {
  if (w->eights) {
    *low = _mm512_set1_epi32(-8 * sum);
    *both = _mm512_set1_epi32(-8 * 17 * sum);
    return;
  }
  const __m512i zero = zeros(w, first, 2 * pair), high_zero = _mm512_slli_epi32(zeros(w, first, 2 * pair + 1), 4);
  if (steps <= NARROW_STEPS) {
    const __m512i minus = _mm512_set1_epi32(-sum & 0xffff);
    *low = _mm512_dpwssd_epi32(_mm512_setzero_si512(), zero, minus);
    *both = _mm512_dpwssd_epi32(*low, high_zero, minus);
  } else {
    const __m512i minus = _mm512_set1_epi32(-sum);
    *low = _mm512_mullo_epi32(zero, minus);
    *both = _mm512_add_epi32(*low, _mm512_mullo_epi32(high_zero, minus));
  }
}

/* y + the piece's total in float, as the definition has it; `at`: group and panel */
INLINE __m512 add_piece(__m512 y, __m512i total, const eq_packed_i4 *w, size_t at, int32_t sum, const float *step) {
  __m512 part = _mm512_cvtepi32_ps(total);
  if (w->float_zero)
    part = _mm512_sub_ps(part, _mm512_mul_ps(_mm512_load_ps(w->float_zero + at), _mm512_set1_ps((float)sum)));
  const __m512 scale = _mm512_load_ps(w->scale + at);
  return _mm512_add_ps(y, _mm512_mul_ps(part, step ? _mm512_mul_ps(scale, _mm512_set1_ps(*step)) : scale));
}

/* Two panels share bytes, low + 16 * high, that meet the same activation. Multiplied as they are and with the high
 * nibble masked, the difference of the sums is the high panel's, 16 times too large: one mask for two products. */
void eq_dot_packed_i4_avx512(const uint8_t *x, const float *step, const int32_t *sums, const eq_packed_i4 *w,
                             uint32_t pieces, uint32_t piece_steps, float *acc) {
  const __m512i mask = _mm512_set1_epi8(15), none = _mm512_setzero_si512();
  const size_t pair_bytes = (size_t)w->steps * PANEL_STEP;
  const uint8_t *codes = w->codes;
  __m512 y[2 * PAIRS];
  for (int p = 0; p < 2 * PAIRS; p++) y[p] = _mm512_setzero_ps();
  for (uint32_t piece = 0, left = w->steps; piece < pieces; piece++) {
    const uint32_t first = piece * piece_steps, steps = left < piece_steps ? left : piece_steps;
    __m512i both[2][PAIRS], low[2][PAIRS]; /* of even steps, of odd ones */
    for (uint32_t j = 0; j < PAIRS; j++) {
      starts(w, first, steps, j, sums[piece], &both[0][j], &low[0][j]);
      both[1][j] = low[1][j] = none;
    }
    for (uint32_t s = 0; s < steps; s += 2)
      for (int i = 0; i < 2; i++, codes += PANEL_STEP, x += EQ_STEP) {
        const __m512i a = broadcast(x);
        for (int j = 0; j < PAIRS; j++) {
          const __m512i all = _mm512_load_si512(codes + (size_t)j * pair_bytes);
          __builtin_prefetch(codes + (size_t)j * pair_bytes + AHEAD);
          both[i][j] = _mm512_dpbusd_epi32(both[i][j], all, a);
          low[i][j] = _mm512_dpbusd_epi32(low[i][j], _mm512_and_si512(all, mask), a);
        }
      }
    left -= steps;
    const size_t group = (size_t)(first / w->group_steps) * EQ_BLOCK;
    const float *own_step = step ? step + piece : step;
    for (int j = 0; j < PAIRS; j++) {
      const __m512i lower = _mm512_add_epi32(low[0][j], low[1][j]);
      const __m512i higher = _mm512_sub_epi32(_mm512_add_epi32(both[0][j], both[1][j]), lower);
      const size_t at = group + (size_t)(2 * j) * EQ_LANES;
      y[2 * j] = add_piece(y[2 * j], lower, w, at, sums[piece], own_step);
      y[2 * j + 1] = add_piece(y[2 * j + 1], _mm512_srai_epi32(higher, 4), w, at + EQ_LANES, sums[piece], own_step);
    }
  }
  for (int p = 0; p < 2 * PAIRS; p++) _mm512_storeu_ps(acc + p * EQ_LANES, y[p]);
}
