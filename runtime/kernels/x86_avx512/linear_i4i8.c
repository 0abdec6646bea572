/* 4-bit weights with VNNI: codes become int8 tiles once for all rows; a group is summed in integers and then scaled. */
#include "linear_i4i8.h"
#include "transpose.h"

enum { PANELS = EQ_BLOCK / EQ_LANES, OFFSET = 128, PANEL_STEP = EQ_LANES * EQ_STEP, NIBBLES = 8 };

/* Sixteen outputs; where there are fewer, the first is read in place of the missing ones. */
typedef struct {
  const eq_weights_i4 *w;
  size_t row[EQ_LANES];
  uint32_t groups;
} panel;

static panel panel_of(const eq_weights_i4 *w, uint32_t k, uint32_t first, uint32_t outputs) {
  panel p = {.w = w, .groups = (k - 1) / w->group + 1};
  for (uint32_t i = 0; i < EQ_LANES; i++) p.row[i] = first + (i < outputs ? i : 0);
  return p;
}

/* Sixteen groups from g on of halves [rows][groups], as floats: lane i of r[j] belongs to output i, group g + j. */
static void halves16(const panel *p, const uint16_t *halves, uint32_t g, __m512i r[16]) {
  const uint32_t left = p->groups - g;
  const __mmask16 mask = (__mmask16)(left >= 16 ? 0xffffu : (1u << left) - 1);
  for (int i = 0; i < 16; i++)
    r[i] = _mm512_castps_si512(_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, halves + p->row[i] * p->groups + g)));
  transpose16(r);
}

/* halves [rows][groups] -> floats [pieces][EQ_BLOCK] */
static void floats_of(const panel *p, const uint16_t *halves, const eq_tile_i4 *t, float *to) {
  const uint32_t per_group = t->pieces == 1 ? 1 : p->w->group / (t->piece_steps * EQ_STEP); /* pieces */
  for (uint32_t g = 0; g < p->groups; g += 16) {
    __m512i r[16];
    halves16(p, halves, g, r);
    for (uint32_t j = 0; j < 16 && g + j < p->groups; j++)
      for (uint32_t i = 0, piece = (g + j) * per_group; i < per_group && piece < t->pieces; i++, piece++)
        _mm512_store_si512(to + (size_t)piece * EQ_BLOCK, r[j]);
  }
}

/* The zeros of eight groups from g on, four bits each. */
static __m512i zeros8(const panel *p, uint32_t g) {
  const size_t row = p->groups / 2 + p->groups % 2, at = g / 2, left = row - at < 4 ? row - at : 4;
  uint32_t words[EQ_LANES] = {0};
  for (int i = 0; i < EQ_LANES; i++)
    __builtin_memcpy(&words[i], (const uint8_t *)p->w->zero + p->row[i] * row + at, left);
  return _mm512_loadu_si512(words);
}

/* Four bytes of each word the zero of group g. */
INLINE __m512i zero_bytes(__m512i eight, uint32_t g) {
  const __m512i each = _mm512_set_epi8(12, 12, 12, 12, 8, 8, 8, 8, 4, 4, 4, 4, 0, 0, 0, 0, 12, 12, 12, 12, 8, 8, 8, 8,
                                       4, 4, 4, 4, 0, 0, 0, 0, 12, 12, 12, 12, 8, 8, 8, 8, 4, 4, 4, 4, 0, 0, 0, 0, 12,
                                       12, 12, 12, 8, 8, 8, 8, 4, 4, 4, 4, 0, 0, 0, 0);
  const __m512i code =
      _mm512_and_si512(_mm512_srl_epi32(eight, _mm_cvtsi32_si128((int)(g % NIBBLES * 4))), _mm512_set1_epi32(15));
  return _mm512_shuffle_epi8(code, each);
}

static void tile_panel(const panel *p, uint32_t k, const eq_tile_i4 *t, int8_t *to, int32_t *start) {
  const eq_weights_i4 *w = p->w;
  const size_t bytes = eq_row_bytes(4 * k);
  const __m512i low = _mm512_set1_epi8(15), offset = _mm512_set1_epi8((char)OFFSET);
  const uint32_t per_group = t->pieces == 1 ? 1 : w->group / (t->piece_steps * EQ_STEP);
  __m512i zero = _mm512_set1_epi8(w->zero_kind == EQ_ZERO_EIGHT ? 8 : 0), eight = zero, sum = _mm512_setzero_si512();
  uint32_t piece = 0, left = 0, eight_from = UINT32_MAX;
  for (uint32_t step = 0; step < t->steps; step += 32) {
    const size_t at = (size_t)step * EQ_STEP / 2, rest = bytes > at ? bytes - at : 0;
    const __mmask64 mask = rest >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << rest) - 1;
    __m512i r[16];
    for (int i = 0; i < 16; i++) r[i] = _mm512_maskz_loadu_epi8(mask, w->codes + p->row[i] * bytes + at);
    transpose16(r);
    for (uint32_t i = 0; i < 16 && step + 2 * i < t->steps; i++, to += 2 * PANEL_STEP, left -= 2) {
      if (left == 0) { /* the next piece */
        if (step + i > 0) {
          _mm512_store_si512(start + (size_t)piece * EQ_BLOCK, _mm512_sub_epi32(_mm512_setzero_si512(), sum));
          piece++;
        }
        const uint32_t g = piece / per_group;
        if (w->zero_kind == EQ_ZERO_U4) {
          if (g / NIBBLES != eight_from) eight = zeros8(p, g / NIBBLES * NIBBLES);
          eight_from = g / NIBBLES;
          zero = zero_bytes(eight, g);
        }
        sum = _mm512_setzero_si512();
        left = t->piece_steps;
      }
      const __m512i even = _mm512_sub_epi8(_mm512_and_si512(r[i], low), zero);
      const __m512i odd = _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(r[i], 4), low), zero);
      _mm512_store_si512(to, even);
      _mm512_store_si512(to + PANEL_STEP, odd);
      sum = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum, offset, even), offset, odd);
    }
  }
  _mm512_store_si512(start + (size_t)piece * EQ_BLOCK, _mm512_sub_epi32(_mm512_setzero_si512(), sum));
}

void eq_tile_i4_avx512(const eq_weights_i4 *w, uint32_t k, uint32_t first, uint32_t outputs, const eq_tile_i4 *t) {
  for (uint32_t o = 0, i = 0; o < outputs; o += EQ_LANES, i++) {
    const panel p = panel_of(w, k, first + o, outputs - o);
    tile_panel(&p, k, t, t->tile + (size_t)i * t->steps * PANEL_STEP, t->start + o);
    floats_of(&p, w->scale, t, t->scale + o);
    if (w->zero_kind == EQ_ZERO_F16) floats_of(&p, w->zero, t, t->zero + o);
  }
}

/* ---- one row: sixteen canonical rows of codes at once, a group in each 128-bit lane ---- */

/* Lane l of s[q] -> word q of what is returned in t[l]: all sixteen outputs of a group. */
INLINE void by_group(const __m512i s[4], __m512i t[4]) {
  const __m512i a = _mm512_shuffle_i32x4(s[0], s[1], 0x44), b = _mm512_shuffle_i32x4(s[2], s[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(s[0], s[1], 0xee), d = _mm512_shuffle_i32x4(s[2], s[3], 0xee);
  t[0] = _mm512_shuffle_i32x4(a, b, 0x88);
  t[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
  t[2] = _mm512_shuffle_i32x4(c, d, 0x88);
  t[3] = _mm512_shuffle_i32x4(c, d, 0xdd);
}

/* The zeros of pieces of 32: [pieces][EQ_BLOCK] */
static void zeros_of(const panel *p, uint32_t pieces, int32_t *to) {
  const uint32_t per_group = p->w->group / EQ_CODES_BLOCK;
  __m512i eight = _mm512_setzero_si512();
  for (uint32_t piece = 0; piece < pieces; piece++) {
    const uint32_t g = piece / per_group;
    if (p->w->zero_kind == EQ_ZERO_U4 && g % NIBBLES == 0 && piece % per_group == 0) eight = zeros8(p, g);
    const __m512i code =
        _mm512_and_si512(_mm512_srl_epi32(eight, _mm_cvtsi32_si128((int)(g % NIBBLES * 4))), _mm512_set1_epi32(15));
    _mm512_store_si512(to + (size_t)piece * EQ_BLOCK, p->w->zero_kind == EQ_ZERO_U4 ? code : _mm512_set1_epi32(8));
  }
}

void eq_dot_i4i8_avx512(const int8_t *x, const float *step, const int32_t *sums, const eq_weights_i4 *w, uint32_t k,
                        uint32_t first, uint32_t outputs, const eq_tile_i4 *t, float *acc) {
  const size_t bytes = eq_row_bytes(4 * k);
  const uint32_t pieces = (k - 1) / EQ_CODES_BLOCK + 1;
  const __m512i low = _mm512_set1_epi8(15), none = _mm512_setzero_si512();
  for (uint32_t o = 0; o < outputs; o += EQ_LANES) {
    const panel p = panel_of(w, k, first + o, outputs - o);
    floats_of(&p, w->scale, t, t->scale);
    zeros_of(&p, pieces, t->start);
    __m512 y = _mm512_setzero_ps();
    for (uint32_t piece = 0; piece < pieces; piece += 4) {
      const size_t at = (size_t)piece * EQ_CODES_BLOCK / 2, rest = bytes - at;
      const __mmask64 mask = rest >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << rest) - 1;
      const __m512i even = _mm512_loadu_si512(x + 2 * at), odd = _mm512_loadu_si512(x + 2 * at + 64);
      __m512i s[16], total[4];
      for (int i = 0; i < 16; i++) {
        const __m512i codes = _mm512_maskz_loadu_epi8(mask, w->codes + p.row[i] * bytes + at);
        s[i] = _mm512_dpbusd_epi32(none, _mm512_and_si512(codes, low), even);
        s[i] = _mm512_dpbusd_epi32(s[i], _mm512_and_si512(_mm512_srli_epi16(codes, 4), low), odd);
      }
      lane_sums16(s);
      by_group(s, total);
      for (uint32_t l = 0; l < 4 && piece + l < pieces; l++) {
        const size_t of = (size_t)(piece + l) * EQ_BLOCK;
        const __m512i zero = _mm512_mullo_epi32(_mm512_load_si512(t->start + of), _mm512_set1_epi32(sums[piece + l]));
        const __m512 scale = _mm512_load_ps(t->scale + of);
        const __m512 factor = step ? _mm512_mul_ps(scale, _mm512_set1_ps(step[piece + l])) : scale;
        y = _mm512_add_ps(y, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(total[l], zero)), factor));
      }
    }
    _mm512_storeu_ps(acc + o, y);
  }
}
