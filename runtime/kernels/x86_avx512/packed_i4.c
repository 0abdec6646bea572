/* 4-bit weights tiled ahead, with VNNI: made into int8 tiles for many rows, multiplied as they are for few. */
#include "v16.h"

#include "linear_i4i8.h"

enum { PANELS = EQ_BLOCK / EQ_LANES, OFFSET = 128, PANEL_STEP = EQ_LANES * EQ_STEP };
enum { NARROW_STEPS = 32 }; /* the sum of so many steps of x has 16 bits */

/* The zeros of sixteen outputs as 32-bit words. */
INLINE __m512i zeros(const eq_packed_i4 *w, uint32_t first_step, uint32_t panel) {
  const uint8_t *zero = w->zero + (size_t)(first_step / w->group_steps) * EQ_BLOCK + panel * EQ_LANES;
  return _mm512_cvtepu8_epi32(_mm_load_si128((const void *)zero));
}

void eq_expand_i4_avx512(const eq_packed_i4 *from, const eq_tile_i4 *to) {
  const __m512i low = _mm512_set1_epi8(15), offset = _mm512_set1_epi8((char)OFFSET), none = _mm512_setzero_si512();
  const uint8_t *codes = from->codes;
  int8_t *w = to->tile;
  for (uint32_t panel = 0; panel < PANELS; panel++)
    for (uint32_t piece = 0, left = to->steps; piece < to->pieces; piece++) {
      const uint32_t steps = left < to->piece_steps ? left : to->piece_steps;
      const __m512i words = zeros(from, piece * to->piece_steps, panel);
      const __m512i zero = _mm512_mullo_epi32(words, _mm512_set1_epi32(0x01010101));
      __m512i sum = none, other = none;
      for (uint32_t s = 0; s < steps; s += 2, codes += PANEL_STEP, w += 2 * PANEL_STEP) {
        const __m512i both = _mm512_load_si512(codes);
        const __m512i even = _mm512_sub_epi8(_mm512_and_si512(both, low), zero);
        const __m512i odd = _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(both, 4), low), zero);
        _mm512_store_si512(w, even);
        _mm512_store_si512(w + PANEL_STEP, odd);
        sum = _mm512_dpbusd_epi32(sum, offset, even);
        other = _mm512_dpbusd_epi32(other, offset, odd);
      }
      left -= steps;
      _mm512_store_si512(to->start + (size_t)piece * EQ_BLOCK + panel * EQ_LANES,
                         _mm512_sub_epi32(none, _mm512_add_epi32(sum, other)));
    }
}

INLINE __m512i broadcast(const uint8_t *p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

/* The high nibble is multiplied where it lies, sixteen times too large: sums of a piece stay below 2^31. */
void eq_dot_packed_i4_avx512(const uint8_t *x, const float *step, const int32_t *sums, const eq_packed_i4 *w,
                             uint32_t pieces, uint32_t piece_steps, float *acc) {
  const __m512i low = _mm512_set1_epi8(0x0f), high = _mm512_set1_epi8((char)0xf0), none = _mm512_setzero_si512();
  const size_t panel_bytes = (size_t)w->steps / 2 * PANEL_STEP;
  const uint8_t *codes = w->codes;
  __m512 y[PANELS];
  for (int j = 0; j < PANELS; j++) y[j] = _mm512_setzero_ps();
  for (uint32_t piece = 0, left = w->steps; piece < pieces; piece++) {
    const uint32_t first = piece * piece_steps, steps = left < piece_steps ? left : piece_steps;
    const bool narrow = steps <= NARROW_STEPS;
    const __m512i minus = _mm512_set1_epi32(narrow ? -sums[piece] & 0xffff : -sums[piece]);
    __m512i even[PANELS], odd[PANELS];
    for (int j = 0; j < PANELS; j++) {
      const __m512i zero = zeros(w, first, (uint32_t)j);
      even[j] = narrow ? _mm512_dpwssd_epi32(none, zero, minus) : _mm512_mullo_epi32(zero, minus);
      odd[j] = none;
    }
    for (uint32_t s = 0; s < steps; s += 2, codes += PANEL_STEP, x += 2 * EQ_STEP) {
      const __m512i a = broadcast(x), b = broadcast(x + EQ_STEP);
      for (int j = 0; j < PANELS; j++) {
        const __m512i both = _mm512_load_si512(codes + (size_t)j * panel_bytes);
        even[j] = _mm512_dpbusd_epi32(even[j], _mm512_and_si512(both, low), a);
        odd[j] = _mm512_dpbusd_epi32(odd[j], _mm512_and_si512(both, high), b);
      }
    }
    left -= steps;
    const size_t group = (size_t)(first / w->group_steps) * EQ_BLOCK;
    for (int j = 0; j < PANELS; j++) {
      const size_t at = group + (size_t)j * EQ_LANES;
      __m512 part = _mm512_cvtepi32_ps(_mm512_add_epi32(even[j], _mm512_srai_epi32(odd[j], 4)));
      if (w->float_zero)
        part =
            _mm512_sub_ps(part, _mm512_mul_ps(_mm512_load_ps(w->float_zero + at), _mm512_set1_ps((float)sums[piece])));
      const __m512 scale = _mm512_load_ps(w->scale + at);
      y[j] = _mm512_add_ps(y[j], _mm512_mul_ps(part, step ? _mm512_mul_ps(scale, _mm512_set1_ps(step[piece])) : scale));
    }
  }
  for (int j = 0; j < PANELS; j++) _mm512_storeu_ps(acc + j * EQ_LANES, y[j]);
}
