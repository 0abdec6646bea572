/* 4-bit weights tiled ahead, with VNNI, for many rows: made into int8 tiles. For few see dot_packed_i4.c. */
#include "v16.h"

#include "kernels/simd/packed_i4.h"
#include "linear_i4i8.h"

enum { PAIRS = EQ_BLOCK / EQ_LANES / 2, OFFSET = 128, PANEL_STEP = EQ_LANES * EQ_STEP };

/* The zeros of sixteen outputs, four bytes each. */
INLINE __m512i zero_bytes(const eq_packed_i4 *w, uint32_t first_step, uint32_t panel) {
  const uint8_t *zero = w->zero + (size_t)(first_step / w->group_steps) * EQ_BLOCK + panel * EQ_LANES;
  const __m512i words = _mm512_cvtepu8_epi32(_mm_load_si128((const void *)zero));
  return _mm512_mullo_epi32(words, _mm512_set1_epi32(0x01010101));
}

static void expand_pair(const eq_packed_i4 *from, const eq_tile_i4 *to, uint32_t panel) {
  const __m512i mask = _mm512_set1_epi8(15), offset = _mm512_set1_epi8((char)OFFSET), none = _mm512_setzero_si512();
  const size_t panel_bytes = (size_t)to->steps * PANEL_STEP;
  const uint8_t *codes = from->codes + panel / 2 * PANEL_STEP;
  int8_t *w = to->tile + panel * panel_bytes;
  for (uint32_t piece = 0, left = to->steps; piece < to->pieces; piece++) {
    const uint32_t steps = left < to->piece_steps ? left : to->piece_steps, first = piece * to->piece_steps;
    const __m512i low_zero = zero_bytes(from, first, panel), high_zero = zero_bytes(from, first, panel + 1);
    __m512i low_sum = none, high_sum = none;
    for (uint32_t s = 0; s < steps; s++, codes += EQ_I4_STEP, w += PANEL_STEP) {
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
  expand_scales(from, to);
  for (uint32_t pair = 0; pair < PAIRS; pair++) expand_pair(from, to, 2 * pair);
}
