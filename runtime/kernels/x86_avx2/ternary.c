/* Weights of -1, 0 and 1 with AVX2: VPMADDUBSW's sums of pairs are so small that many of them add up in 16 bits. */
#include "ternary.h"
#include "v16.h"

#include "core/tiles_t2.h"

INLINE __m256i four_inputs(const uint8_t *x) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  return _mm256_set1_epi32(word);
}
INLINE __m256i pairs(__m256i sums) { return _mm256_madd_epi16(sums, _mm256_set1_epi16(1)); }
INLINE __m256i load(const void *p) { return _mm256_load_si256(p); }

/* ---- int8 tiles: a pair is 2 * 255 at most ---- */

enum { PIXELS = 4, VECTORS = 2, MOST_STEPS = 64, PANEL_STEP = EQ_LANES * EQ_STEP };

INLINE void widen(__m256i sum[PIXELS][VECTORS], int pixels, int32_t *acc, size_t pitch) {
  for (int i = 0; i < pixels; i++)
    for (int v = 0; v < VECTORS; v++) {
      int32_t *to = acc + (size_t)i * pitch + 8 * v;
      _mm256_storeu_si256((void *)to, _mm256_add_epi32(_mm256_loadu_si256((const void *)to), pairs(sum[i][v])));
      sum[i][v] = _mm256_setzero_si256();
    }
}

INLINE void block(const eq_byte_patches *p, const uint8_t *x, int pixels, const int8_t *w, const int32_t *start,
                  bool more, int32_t *acc, size_t pitch) {
  __m256i sum[PIXELS][VECTORS];
  for (int i = 0; i < pixels; i++) {
    for (int v = 0; v < VECTORS; v++) sum[i][v] = _mm256_setzero_si256();
    for (int j = 0; j < EQ_LANES; j++)
      acc[(size_t)i * pitch + (size_t)j] = start[j] + (more ? acc[(size_t)i * pitch + (size_t)j] : 0);
  }
  uint32_t room = MOST_STEPS;
  for (uint32_t row = 0; row < p->rows; row++)
    for (uint32_t tap = 0; tap < p->taps; tap++) {
      const uint8_t *from = x + row * p->row + tap * p->tap;
      for (uint32_t left = p->steps; left;) {
        const uint32_t steps = left < room ? left : room;
#pragma GCC unroll 4
        for (uint32_t s = 0; s < steps; s++, from += EQ_STEP, w += PANEL_STEP) {
          const __m256i lo = load(w), hi = load(w + 32);
          for (int i = 0; i < pixels; i++) {
            const __m256i a = four_inputs(from + (size_t)i * p->pixel);
            sum[i][0] = _mm256_add_epi16(sum[i][0], _mm256_maddubs_epi16(a, lo));
            sum[i][1] = _mm256_add_epi16(sum[i][1], _mm256_maddubs_epi16(a, hi));
          }
        }
        left -= steps;
        room -= steps;
        if (room) continue;
        widen(sum, pixels, acc, pitch);
        room = MOST_STEPS;
      }
    }
  widen(sum, pixels, acc, pitch);
}

void eq_accumulate_ones_avx2(const eq_byte_patches *p, uint32_t pixels, const int8_t *w, const int32_t *start,
                             bool more, uint32_t outputs, int32_t *acc, size_t pitch) {
  const size_t panel = (size_t)p->rows * p->taps * p->steps * PANEL_STEP;
  for (uint32_t o = 0; o < outputs; o += EQ_LANES, w += panel) {
    uint32_t i = 0;
    for (; i + PIXELS <= pixels; i += PIXELS)
      block(p, p->x + i * p->pixel, PIXELS, w, start + o, more, acc + i * pitch + o, pitch);
    for (; i + 2 <= pixels; i += 2) block(p, p->x + i * p->pixel, 2, w, start + o, more, acc + i * pitch + o, pitch);
    if (i < pixels) block(p, p->x + i * p->pixel, 1, w, start + o, more, acc + i * pitch + o, pitch);
  }
}

/* ---- packed codes to int8 tiles: a nibble has the codes of two panels, w + 1 each ---- */

void eq_expand_t2_avx2(const eq_packed_t2 *from, int8_t *tile) {
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i first =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(-1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2)); /* of n & 3 */
  const __m256i second =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(-1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2)); /* of n >> 2 */
  const size_t panel = (size_t)from->words * EQ_T2_WORD_STEPS * PANEL_STEP;
  for (size_t i = 0; i < panel; i += sizeof nibble) {
    const __m256i codes = load(from->codes + i), low = _mm256_and_si256(codes, nibble),
                  high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble);
    const __m256i w[] = {_mm256_shuffle_epi8(first, low), _mm256_shuffle_epi8(second, low),
                         _mm256_shuffle_epi8(first, high), _mm256_shuffle_epi8(second, high)};
    for (int p = 0; p < EQ_BLOCK / EQ_LANES; p++) _mm256_store_si256((void *)(tile + (size_t)p * panel + i), w[p]);
  }
}

/* ---- few rows against packed codes ----
 * Fields of a byte are multiplied where they lie in its halves, the higher one 4 times too large: a pair is then
 * 2 * 128 * 8 at most, and sixteen of them fill 16 bits. */

enum { FIELDS = EQ_BLOCK / EQ_LANES, SAFE_WORDS = 16 / EQ_T2_WORD_STEPS, HALVES = 2 };
enum { AHEAD = 2048 }; /* bytes that are fetched before they are read */

INLINE void add_words(const uint8_t *x, const uint8_t *codes, uint32_t words, __m256i total[HALVES][FIELDS]) {
  const __m256i low = _mm256_set1_epi8(0x03), high = _mm256_set1_epi8(0x0c);
  __m256i sum[HALVES][FIELDS];
  for (int h = 0; h < HALVES; h++)
    for (int f = 0; f < FIELDS; f++) sum[h][f] = _mm256_setzero_si256();
  for (uint32_t i = 0; i < words; i++)
    for (int s = 0; s < EQ_T2_WORD_STEPS; s++, codes += PANEL_STEP, x += EQ_STEP) {
      const __m256i a = four_inputs(x);
      __builtin_prefetch(codes + AHEAD);
      for (int h = 0; h < HALVES; h++) {
        const __m256i first = load(codes + h * PANEL_STEP / HALVES), second = _mm256_srli_epi16(first, 4);
        sum[h][0] = _mm256_add_epi16(sum[h][0], _mm256_maddubs_epi16(_mm256_and_si256(first, low), a));
        sum[h][1] = _mm256_add_epi16(sum[h][1], _mm256_maddubs_epi16(_mm256_and_si256(first, high), a));
        sum[h][2] = _mm256_add_epi16(sum[h][2], _mm256_maddubs_epi16(_mm256_and_si256(second, low), a));
        sum[h][3] = _mm256_add_epi16(sum[h][3], _mm256_maddubs_epi16(_mm256_and_si256(second, high), a));
      }
    }
  for (int h = 0; h < HALVES; h++)
    for (int f = 0; f < FIELDS; f++) total[h][f] = _mm256_add_epi32(total[h][f], pairs(sum[h][f]));
}

INLINE void dots(const uint8_t *x, int32_t sum, const eq_packed_t2 *w, int32_t *acc) {
  const uint8_t *codes = w->codes;
  __m256i total[HALVES][FIELDS];
  for (int h = 0; h < HALVES; h++)
    for (int f = 0; f < FIELDS; f++) total[h][f] = _mm256_setzero_si256();
  for (uint32_t left = w->words, words; left; left -= words) {
    words = left < SAFE_WORDS ? left : SAFE_WORDS;
    if (words == SAFE_WORDS)
      add_words(x, codes, SAFE_WORDS, total);
    else
      add_words(x, codes, words, total);
    x += (size_t)words * EQ_T2_WORD;
    codes += (size_t)words * EQ_T2_WORD_STEPS * PANEL_STEP;
  }
  for (int h = 0; h < HALVES; h++)
    for (int f = 0; f < FIELDS; f++) {
      const __m256i own = f % 2 ? _mm256_srai_epi32(total[h][f], 2) : total[h][f]; /* codes are w + 1 */
      int32_t *to = acc + f * EQ_LANES + h * EQ_LANES / HALVES;
      _mm256_storeu_si256((void *)to, _mm256_sub_epi32(own, _mm256_set1_epi32(sum)));
    }
}

void eq_dot_packed_t2_avx2(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows, const eq_packed_t2 *w,
                           int32_t *acc, size_t pitch) {
  for (uint32_t r = 0; r < rows; r++, x += x_pitch, acc += pitch) dots(x, sums[r], w, acc);
}
