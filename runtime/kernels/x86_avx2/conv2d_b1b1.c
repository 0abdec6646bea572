/* Binary convolution and matrix product without a vector popcount: the activation's nibble chooses a table, the
 * weights' nibbles index it, and what comes out is popcount(a ^ w) of 32 outputs at once. Tile: [2][bytes][32], a byte
 * of weights of each output: byte 4 * i + q is that of output 8 * q + i, which lets a count widen in its lane.
 *
 * Folded: the nibbles of two pixels choose a table together, whose bytes hold both counts, the second 16 times too
 * large. Three look-ups fit a byte. Their sums t are added up modulo 256, and the upper halves of t by themselves; the
 * difference of the two is the sum of the lower halves. */
#include "v16.h"

#include "kernels/simd/declare.h"

enum {
  OUTPUTS = 32, /* of a panel, one in each byte */
  PANELS = EQ_BLOCK / OUTPUTS,
  EIGHT = 8, /* counts of 32 bits in a register */
  EIGHTS = OUTPUTS / EIGHT,
  PIXELS = 4,
  SAFE = 31, /* bytes of k that a byte counter takes: 31 * 8 <= 255 */
};

/* distance[n][a][w] = popcount(n & (a ^ w)): of signs, n = 15, and of operands with zeros. */
#define P(x) (((x) & 1) + ((x) >> 1 & 1) + ((x) >> 2 & 1) + ((x) >> 3 & 1))
#define D(n, a, w) P((n) & ((a) ^ (w)))
#define ROW(n, a)                                                                                                      \
  {D(n, a, 0), D(n, a, 1), D(n, a, 2),  D(n, a, 3),  D(n, a, 4),  D(n, a, 5),  D(n, a, 6),  D(n, a, 7),                \
   D(n, a, 8), D(n, a, 9), D(n, a, 10), D(n, a, 11), D(n, a, 12), D(n, a, 13), D(n, a, 14), D(n, a, 15)}
#define ROWS(n)                                                                                                        \
  {ROW(n, 0), ROW(n, 1), ROW(n, 2),  ROW(n, 3),  ROW(n, 4),  ROW(n, 5),  ROW(n, 6),  ROW(n, 7),                        \
   ROW(n, 8), ROW(n, 9), ROW(n, 10), ROW(n, 11), ROW(n, 12), ROW(n, 13), ROW(n, 14), ROW(n, 15)}
static const uint8_t distance[16][16][16]
    __attribute__((aligned(64))) = {ROWS(0), ROWS(1), ROWS(2),  ROWS(3),  ROWS(4),  ROWS(5),  ROWS(6),  ROWS(7),
                                    ROWS(8), ROWS(9), ROWS(10), ROWS(11), ROWS(12), ROWS(13), ROWS(14), ROWS(15)};
#undef ROWS
#undef ROW
#undef D

/* distances[b][a][w] = popcount(a ^ w) + 16 * popcount(b ^ w); behind them one of nothing. */
#define D(b, a, w) (P((a) ^ (w)) + 16 * P((b) ^ (w)))
#define ROW(b, a)                                                                                                      \
  {D(b, a, 0), D(b, a, 1), D(b, a, 2),  D(b, a, 3),  D(b, a, 4),  D(b, a, 5),  D(b, a, 6),  D(b, a, 7),                \
   D(b, a, 8), D(b, a, 9), D(b, a, 10), D(b, a, 11), D(b, a, 12), D(b, a, 13), D(b, a, 14), D(b, a, 15)}
#define ROWS(b)                                                                                                        \
  ROW(b, 0), ROW(b, 1), ROW(b, 2), ROW(b, 3), ROW(b, 4), ROW(b, 5), ROW(b, 6), ROW(b, 7), ROW(b, 8), ROW(b, 9),        \
      ROW(b, 10), ROW(b, 11), ROW(b, 12), ROW(b, 13), ROW(b, 14), ROW(b, 15)
enum { NOTHING = 16 * 16 };
static const uint8_t distances[NOTHING + 1][16]
    __attribute__((aligned(64))) = {ROWS(0), ROWS(1), ROWS(2),  ROWS(3),  ROWS(4),  ROWS(5),  ROWS(6),  ROWS(7),
                                    ROWS(8), ROWS(9), ROWS(10), ROWS(11), ROWS(12), ROWS(13), ROWS(14), ROWS(15)};
#undef ROWS
#undef ROW
#undef D
#undef P

/* Up to 16 bytes of two rows, the second in the upper half. */
INLINE __m256i load_pair(const uint8_t *a, const uint8_t *b, size_t bytes) {
  uint8_t pair[32] = {0};
  if (bytes >= 16)
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)a)),
                                   _mm_loadu_si128((const void *)b), 1);
  for (size_t i = 0; i < bytes; i++) {
    pair[i] = a[i];
    pair[16 + i] = b[i];
  }
  return _mm256_loadu_si256((const void *)pair);
}

/* Each stage rotates the eight index bits (row, column) by one: four of them exchange row and column. */
INLINE void transpose_bytes(__m256i r[16]) {
  __m256i t[16];
  for (int stage = 0; stage < 4; stage++) {
    for (int i = 0; i < 8; i++) {
      t[2 * i] = _mm256_unpacklo_epi8(r[i], r[i + 8]);
      t[2 * i + 1] = _mm256_unpackhi_epi8(r[i], r[i + 8]);
    }
    for (int i = 0; i < 16; i++) r[i] = t[i];
  }
}

void eq_tile_b1_avx2(const uint8_t *w, size_t bytes, uint32_t outputs, uint32_t steps, void *tile) {
  static const uint8_t none[16];
  const size_t depth = (size_t)steps * sizeof(uint32_t);
  uint8_t *to = tile;
  for (uint32_t first = 0; first < EQ_BLOCK; first += OUTPUTS)
    for (size_t b = 0; b < depth; b += 16) {
      const size_t left = bytes > b ? bytes - b : 0;
      __m256i r[16];
      for (uint32_t i = 0; i < 16; i++) {
        const uint32_t lower = first + i % EIGHTS * EIGHT + i / EIGHTS, upper = lower + EIGHTS;
        if (lower >= outputs)
          r[i] = _mm256_setzero_si256();
        else if (upper < outputs)
          r[i] = load_pair(w + lower * bytes + b, w + upper * bytes + b, left);
        else
          r[i] = load_pair(w + lower * bytes + b, none, left);
      }
      transpose_bytes(r);
      for (size_t i = 0; i < 16 && b + i < depth; i++, to += OUTPUTS) _mm256_store_si256((void *)to, r[i]);
    }
}

INLINE __m256i table(unsigned nonzero, unsigned signs) {
  return _mm256_broadcastsi128_si256(_mm_load_si128((const void *)distance[nonzero][signs]));
}

/* The bytes of c in 32 bits: count [EIGHTS]. */
INLINE void widen_bytes(__m256i c, __m256i *count) {
  const __m256i low = _mm256_set1_epi32(255);
  count[0] = _mm256_and_si256(c, low);
  count[1] = _mm256_and_si256(_mm256_srli_epi32(c, 8), low);
  count[2] = _mm256_and_si256(_mm256_srli_epi32(c, 16), low);
  count[3] = _mm256_srli_epi32(c, 24);
}

/* Where the results of a block go: to accumulators, to outputs, or both. */
typedef struct {
  int32_t *acc;
  size_t pitch;
  const eq_bit_output *to; /* NULL: acc alone, of which a whole block may be written */
  uint32_t outputs;
  bool floats, bits; /* nothing else, of whole panels */
} results;

/* acc [EQ_BLOCK] of one pixel to its outputs; no scale is 1, no bias -0. */
INLINE void put_lanes(const eq_bit_output *to, const int32_t *acc, float *out, uint8_t *bits, uint32_t o,
                      uint32_t lanes) {
  const bool full = lanes == EQ_LANES;
  const v16 one = v16_set(1.0f), nothing = v16_set(-0.0f);
  const v16 scale = !to->scale ? one : full ? v16_load(to->scale + o) : v16_load_n(to->scale + o, lanes);
  const v16 bias = !to->bias ? nothing : full ? v16_load(to->bias + o) : v16_load_n(to->bias + o, lanes);
  const v16 y = v16_add(v16_mul(v16_of_i32(acc + o), scale), bias);
  if (out && full) v16_store(out + o, y);
  if (out && !full) v16_store_n(out + o, y, lanes);
  if (!bits) return;
  const uint32_t ones = v16_ge(y, v16_set(0.0f)) & ((1u << lanes) - 1);
  bits[o / 8] = (uint8_t)ones;
  if (lanes > 8) bits[o / 8 + 1] = (uint8_t)(ones >> 8);
}

/* Any outputs of one pixel, by way of memory. */
static void put_any(const results *r, uint32_t pixel, const int32_t *acc) {
  const eq_bit_output *to = r->to;
  const uint32_t whole = r->outputs / EQ_LANES * EQ_LANES;
  float *out = to->out ? to->out + pixel * to->out_pitch : NULL;
  uint8_t *bits = to->bits ? to->bits + pixel * to->bits_pitch : NULL;
  if (to->acc) __builtin_memcpy(to->acc + pixel * to->out_pitch, acc, r->outputs * sizeof *acc);
  if (!out && !bits) return;
  for (uint32_t o = 0; o < whole; o += EQ_LANES) put_lanes(to, acc, out, bits, o, EQ_LANES);
  if (whole < r->outputs) put_lanes(to, acc, out, bits, whole, r->outputs - whole);
  for (uint32_t z = 0; bits && z < to->bits_zero; z++) bits[(r->outputs + 7) / 8 + z] = 0;
}

/* Floats or bits of whole panels, straight from registers. */
INLINE void put_whole(bool floats, bool biased, const eq_bit_output *to, uint32_t pixel, int panels,
                      const __m256i *dot) {
  float *out = floats ? to->out + pixel * to->out_pitch : NULL;
  uint8_t *bits = floats ? NULL : to->bits + pixel * to->bits_pitch;
  for (int q = 0; q < panels * EIGHTS; q++) {
    __m256 y = _mm256_cvtepi32_ps(dot[q]);
    if (to->scale) y = _mm256_mul_ps(y, _mm256_loadu_ps(to->scale + (size_t)q * EIGHT));
    if (biased) y = _mm256_add_ps(y, _mm256_loadu_ps(to->bias + (size_t)q * EIGHT));
    if (floats)
      _mm256_storeu_ps(out + (size_t)q * EIGHT, y);
    else
      bits[q] = (uint8_t)_mm256_movemask_ps(_mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_GE_OQ));
  }
  for (uint32_t z = 0; bits && z < to->bits_zero; z++) bits[panels * EIGHTS + (int)z] = 0;
}

/* The counts of one pixel to where they go. */
INLINE void put(const eq_bit_patches *p, uint32_t pixel, bool ternary, int panels, const __m256i *count,
                const results *r) {
  const int32_t *totals = p->totals ? p->totals + (size_t)p->place[pixel] * EQ_BLOCK : NULL;
  const __m256i total = _mm256_set1_epi32(ternary ? p->ones[pixel] : p->k);
  __m256i dot[PANELS * EIGHTS];
  for (int q = 0; q < panels * EIGHTS; q++) {
    const __m256i own = totals ? _mm256_loadu_si256((const void *)(totals + (size_t)q * EIGHT)) : total;
    dot[q] = _mm256_sub_epi32(own, _mm256_slli_epi32(count[q], 1));
  }
  if (!r->to) {
    int32_t *acc = r->acc + pixel * r->pitch;
    for (int q = 0; q < panels * EIGHTS; q++) _mm256_storeu_si256((void *)(acc + (size_t)q * EIGHT), dot[q]);
    return;
  }
  if (r->floats && r->to->bias) {
    put_whole(true, true, r->to, pixel, panels, dot);
  } else if (r->floats) {
    put_whole(true, false, r->to, pixel, panels, dot);
  } else if (r->bits && r->to->bias) {
    put_whole(false, true, r->to, pixel, panels, dot);
  } else if (r->bits) {
    put_whole(false, false, r->to, pixel, panels, dot);
  } else {
    int32_t row[EQ_BLOCK] __attribute__((aligned(32)));
    for (int q = 0; q < panels * EIGHTS; q++) _mm256_store_si256((void *)(row + (size_t)q * EIGHT), dot[q]);
    put_any(r, pixel, row);
  }
}

/* Differing bits of up to SAFE bytes, a byte of c for each output. */
INLINE void count_bytes(bool ternary, const eq_bit_patches *p, const uint8_t *x, size_t bytes, int pixels, int panels,
                        const uint8_t *w, __m256i (*c)[PANELS]) {
  const size_t panel = (size_t)p->steps * sizeof(uint32_t) * OUTPUTS;
  const __m256i low = _mm256_set1_epi8(15);
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < panels; j++) c[i][j] = _mm256_setzero_si256();
  for (size_t b = 0; b < bytes; b++, w += OUTPUTS) {
    __m256i even[PANELS], odd[PANELS];
    for (int j = 0; j < panels; j++) {
      const __m256i weights = _mm256_load_si256((const void *)(w + (size_t)j * panel));
      even[j] = _mm256_and_si256(weights, low);
      odd[j] = _mm256_and_si256(_mm256_srli_epi16(weights, 4), low);
    }
    for (int i = 0; i < pixels; i++) {
      const uint8_t *byte = x + (size_t)i * p->pixel + b;
      const unsigned a = byte[0], n = ternary ? byte[p->nonzero] : 0xff;
      const __m256i t_even = table(n & 15, a & 15), t_odd = table(n >> 4, a >> 4);
      for (int j = 0; j < panels; j++)
        c[i][j] = _mm256_add_epi8(
            c[i][j], _mm256_add_epi8(_mm256_shuffle_epi8(t_even, even[j]), _mm256_shuffle_epi8(t_odd, odd[j])));
    }
  }
}

INLINE void block(bool ternary, const eq_bit_patches *p, uint32_t first, int pixels, int panels, const uint8_t *w,
                  const results *r) {
  const uint8_t *x = p->x + first * p->pixel;
  const size_t run = (size_t)p->words * sizeof(uint32_t);
  __m256i c[PIXELS][PANELS], count[PANELS * EIGHTS];
  if (p->rows == 1 && run <= SAFE) {
    count_bytes(ternary, p, x, run, pixels, panels, w, c);
    for (int i = 0; i < pixels; i++) {
      for (int j = 0; j < panels; j++) widen_bytes(c[i][j], count + j * EIGHTS);
      put(p, first + (uint32_t)i, ternary, panels, count, r);
    }
    return;
  }
  uint32_t sums[PIXELS][EQ_BLOCK] __attribute__((aligned(32)));
  for (int i = 0; i < pixels; i++)
    for (int q = 0; q < panels * EIGHTS; q++)
      _mm256_store_si256((void *)(sums[i] + (size_t)q * EIGHT), _mm256_setzero_si256());
  for (uint32_t row = 0; row < p->rows; row++, x += p->row)
    for (size_t b = 0, some; b < run; b += some, w += some * OUTPUTS) {
      some = run - b < SAFE ? run - b : SAFE;
      count_bytes(ternary, p, x + b, some, pixels, panels, w, c);
      for (int i = 0; i < pixels; i++)
        for (int j = 0; j < panels; j++) {
          widen_bytes(c[i][j], count);
          for (int q = 0; q < EIGHTS; q++) {
            __m256i *to = (__m256i *)(void *)(sums[i] + (size_t)(j * EIGHTS + q) * EIGHT);
            _mm256_store_si256(to, _mm256_add_epi32(_mm256_load_si256(to), count[q]));
          }
        }
    }
  for (int i = 0; i < pixels; i++) {
    for (int q = 0; q < panels * EIGHTS; q++) count[q] = _mm256_load_si256((const void *)(sums[i] + (size_t)q * EIGHT));
    put(p, first + (uint32_t)i, ternary, panels, count, r);
  }
}

INLINE void all_pixels(bool ternary, const eq_bit_patches *p, uint32_t pixels, int panels, const uint8_t *w,
                       const results *r) {
  uint32_t i = 0;
  for (; i + PIXELS <= pixels; i += PIXELS) {
    eq_prefetch(p->hint, i, PIXELS);
    block(ternary, p, i, PIXELS, panels, w, r);
  }
  eq_prefetch(p->hint, i, pixels - i);
  for (; i + 3 <= pixels; i += 3) block(ternary, p, i, 3, panels, w, r);
  for (; i < pixels; i++) block(ternary, p, i, 1, panels, w, r);
}

/* ---- folded ---- */

enum {
  GROUP = 12,      /* look-ups between sums of upper halves */
  CHUNK_STEPS = 6, /* of weights whose nibbles are split at once; their counts fit a byte */
  STEP_NIBBLES = 8,
  CHUNK = CHUNK_STEPS * STEP_NIBBLES,
  FOLD_STEPS = 3, /* 24 look-ups: whole groups */
};

/* A nibble of each pixel as where its table is; the second of a pair adds its part. */
void eq_fold_patches_avx2(const eq_bit_patches *p, uint32_t first, uint32_t pixels, uint32_t *to) {
  const uint32_t steps = p->rows * p->words, padded = (steps + FOLD_STEPS - 1) / FOLD_STEPS * FOLD_STEPS;
  const __m128i low = _mm_set1_epi8(15), nothing = _mm_set1_epi16(NOTHING * 16);
  for (uint32_t i = 0; i < pixels; i++) {
    const uint8_t *row = p->x + i * p->pixel;
    const bool second = (first + i) % 2;
    __m128i *at = (__m128i *)(void *)(to + (size_t)((first + i) / 2) * padded * 4);
    for (uint32_t r = 0; r < p->rows; r++, row += p->row)
      for (uint32_t q = 0; q < p->words; q++, at++) {
        const __m128i bytes = _mm_loadu_si32(row + (size_t)q * 4);
        const __m128i nibbles =
            _mm_unpacklo_epi8(_mm_and_si128(bytes, low), _mm_and_si128(_mm_srli_epi16(bytes, 4), low));
        const __m128i wide = _mm_cvtepu8_epi16(nibbles);
        _mm_store_si128(at,
                        second ? _mm_or_si128(_mm_load_si128(at), _mm_slli_epi16(wide, 8)) : _mm_slli_epi16(wide, 4));
      }
    for (uint32_t q = steps; q < padded; q++, at++) _mm_store_si128(at, nothing);
  }
}

/* The nibbles of some steps, in order. */
INLINE void split(const uint8_t *w, size_t panel, uint32_t bytes, int panels, uint8_t (*nibbles)[PANELS][OUTPUTS]) {
  const __m256i low = _mm256_set1_epi8(15);
  for (uint32_t b = 0; b < bytes; b++, nibbles += 2) {
    __m256i weights[PANELS];
    for (int j = 0; j < panels; j++)
      weights[j] = _mm256_load_si256((const void *)(w + (size_t)j * panel + (size_t)b * OUTPUTS));
    for (int j = 0; j < panels; j++) _mm256_store_si256((void *)nibbles[0][j], _mm256_and_si256(weights[j], low));
    for (int j = 0; j < panels; j++)
      _mm256_store_si256((void *)nibbles[1][j], _mm256_and_si256(_mm256_srli_epi16(weights[j], 4), low));
  }
}

/* sums[0, 1] += the even and odd bytes. */
INLINE void widen(__m256i bytes, uint16_t (*sums)[EQ_LANES]) {
  const __m256i part[2] = {_mm256_and_si256(bytes, _mm256_set1_epi16(255)), _mm256_srli_epi16(bytes, 8)};
  for (int i = 0; i < 2; i++)
    _mm256_store_si256((void *)sums[i], _mm256_add_epi16(_mm256_load_si256((const void *)sums[i]), part[i]));
}

/* Differing bits of a pair of pixels over `groups` of look-ups, added to sums [2 pixels][panels][even, odd]. */
INLINE void count_pair(const uint16_t *tables, uint8_t (*nibbles)[PANELS][OUTPUTS], uint32_t groups, int panels,
                       uint16_t (*sums)[PANELS][2][EQ_LANES]) {
  const __m256i upper = _mm256_set1_epi8((char)0xf0);
  __m256i all[PANELS], high[PANELS];
  for (int j = 0; j < panels; j++) all[j] = high[j] = _mm256_setzero_si256();
  for (uint32_t g = 0; g < groups; g++, tables += GROUP, nibbles += GROUP) {
    __m256i halves[4][PANELS];
    for (int part = 0; part < 4; part++) {
      __m256i t[PANELS];
      for (int i = 0; i < 3; i++) {
        const uint8_t *entry = (const uint8_t *)distances + tables[3 * part + i];
        const __m256i both = _mm256_broadcastsi128_si256(_mm_load_si128((const void *)entry));
        for (int j = 0; j < panels; j++) {
          const __m256i counts = _mm256_shuffle_epi8(both, _mm256_load_si256((void *)nibbles[3 * part + i][j]));
          t[j] = i ? _mm256_add_epi8(t[j], counts) : counts;
        }
      }
      for (int j = 0; j < panels; j++) {
        all[j] = _mm256_add_epi8(all[j], t[j]);
        halves[part][j] = _mm256_and_si256(t[j], upper);
      }
    }
    for (int j = 0; j < panels; j++) { /* averages do not overflow; a quarter of 16 * sum is four times the sum */
      const __m256i quarter =
          _mm256_avg_epu8(_mm256_avg_epu8(halves[0][j], halves[1][j]), _mm256_avg_epu8(halves[2][j], halves[3][j]));
      high[j] = _mm256_add_epi8(high[j], _mm256_srli_epi16(quarter, 2));
    }
  }
  for (int j = 0; j < panels; j++) {
    const __m256i second = _mm256_slli_epi16(_mm256_and_si256(high[j], _mm256_set1_epi8(15)), 4);
    widen(_mm256_sub_epi8(all[j], second), sums[0][j]);
    widen(high[j], sums[1][j]);
  }
}

INLINE void folded(const eq_bit_patches *p, uint32_t pixels, int panels, const uint8_t *w, const results *r) {
  uint8_t nibbles[CHUNK][PANELS][OUTPUTS] __attribute__((aligned(32)));
  uint16_t sums[EQ_PIXELS + 1][PANELS][2][EQ_LANES] __attribute__((aligned(32)));
  const size_t panel = (size_t)p->steps * sizeof(uint32_t) * OUTPUTS;
  const uint32_t padded = (p->words + FOLD_STEPS - 1) / FOLD_STEPS * FOLD_STEPS;
  __builtin_memset(sums, 0, (pixels + pixels % 2) * sizeof sums[0]);
  for (uint32_t step = 0; step < p->words; step += CHUNK_STEPS) {
    const uint32_t left = p->words - step, steps = left < CHUNK_STEPS ? left : CHUNK_STEPS;
    const uint32_t groups = (padded - step < CHUNK_STEPS ? padded - step : CHUNK_STEPS) * STEP_NIBBLES / GROUP;
    split(w + (size_t)step * sizeof(uint32_t) * OUTPUTS, panel, steps * (uint32_t)sizeof(uint32_t), panels, nibbles);
    for (uint32_t i = 0; i < pixels; i += 2)
      count_pair((const uint16_t *)(const void *)(p->x + i * p->pixel) + (size_t)step * STEP_NIBBLES, nibbles, groups,
                 panels, sums + i);
  }
  for (uint32_t i = 0; i < pixels; i++) {
    const __m256i low = _mm256_set1_epi32(0xffff);
    __m256i count[PANELS * EIGHTS];
    for (int j = 0; j < panels; j++)
      for (int odd = 0; odd < 2; odd++) {
        const __m256i both = _mm256_load_si256((const void *)sums[i][j][odd]);
        count[j * EIGHTS + odd] = _mm256_and_si256(both, low);
        count[j * EIGHTS + 2 + odd] = _mm256_srli_epi32(both, 16);
      }
    put(p, i, false, panels, count, r);
  }
}

static void product_b1(const eq_bit_patches *p, uint32_t pixels, const void *tile, const results *r) {
  const uint8_t *w = (const uint8_t *)tile + (size_t)p->first * sizeof(uint32_t) * OUTPUTS;
  if (p->folded && r->outputs <= OUTPUTS)
    folded(p, pixels, 1, w, r);
  else if (p->folded)
    folded(p, pixels, 2, w, r);
  else if (r->outputs <= OUTPUTS)
    all_pixels(false, p, pixels, 1, w, r);
  else
    all_pixels(false, p, pixels, 2, w, r);
}

static void product_t2(const eq_bit_patches *p, uint32_t pixels, const void *tile, const results *r) {
  if (r->outputs <= OUTPUTS)
    all_pixels(true, p, pixels, 1, tile, r);
  else
    all_pixels(true, p, pixels, 2, tile, r);
}

void eq_accumulate_b1_avx2(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                           size_t pitch) {
  product_b1(p, pixels, tile, &(results){.acc = acc, .pitch = pitch, .outputs = outputs});
}

void eq_accumulate_t2_avx2(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                           size_t pitch) {
  product_t2(p, pixels, tile, &(results){.acc = acc, .pitch = pitch, .outputs = outputs});
}

static results results_of(uint32_t outputs, const eq_bit_output *to) {
  const bool whole = outputs % OUTPUTS == 0 && !to->acc;
  return (results){
      .to = to, .outputs = outputs, .floats = whole && to->out && !to->bits, .bits = whole && to->bits && !to->out};
}

void eq_output_b1_avx2(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                       const eq_bit_output *to) {
  const results r = results_of(outputs, to);
  product_b1(p, pixels, tile, &r);
}

void eq_output_t2_avx2(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                       const eq_bit_output *to) {
  const results r = results_of(outputs, to);
  product_t2(p, pixels, tile, &r);
}

/* Ones in each 64-bit lane. */
INLINE __m256i popcount(__m256i v) {
  const __m256i low = _mm256_set1_epi8(15), ones = table(15, 0); /* popcount of a nibble */
  const __m256i bytes = _mm256_add_epi8(_mm256_shuffle_epi8(ones, _mm256_and_si256(v, low)),
                                        _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(v, 4), low)));
  return _mm256_sad_epu8(bytes, _mm256_setzero_si256());
}

/* 32 bytes, or the words that are left of them. */
INLINE __m256i load_some(const uint8_t *p, size_t bytes) {
  if (bytes >= 32) return _mm256_loadu_si256((const void *)p);
  return _mm256_maskload_epi32((const int *)(const void *)p, v16_first((uint32_t)(bytes / sizeof(int32_t)), 0));
}

INLINE int32_t sum_lanes(__m256i count) {
  const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(count), _mm256_extracti128_si256(count, 1));
  return _mm_cvtsi128_si32(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two)));
}

void eq_count_ones_avx2(const eq_bit_patches *p, uint32_t pixels, int32_t *ones) {
  const size_t run = (size_t)p->words * sizeof(uint32_t);
  for (uint32_t i = 0; i < pixels; i++) {
    const uint8_t *row = p->x + p->nonzero + i * p->pixel;
    __m256i count = _mm256_setzero_si256();
    for (uint32_t r = 0; r < p->rows; r++, row += p->row)
      for (size_t b = 0; b < run; b += 32) count = _mm256_add_epi64(count, popcount(load_some(row + b, run - b)));
    ones[i] = sum_lanes(count);
  }
}

INLINE void dot(bool ternary, const uint8_t *x, const uint8_t *nonzero, const uint8_t *w, size_t bytes,
                uint32_t outputs, int32_t total, int32_t *acc) {
  for (uint32_t o = 0; o < outputs; o++, w += bytes) {
    __m256i count = _mm256_setzero_si256();
    for (size_t b = 0; b < bytes; b += 32) {
      __m256i differing = _mm256_xor_si256(load_some(x + b, bytes - b), load_some(w + b, bytes - b));
      if (ternary) differing = _mm256_and_si256(differing, load_some(nonzero + b, bytes - b));
      count = _mm256_add_epi64(count, popcount(differing));
    }
    acc[o] = total - 2 * sum_lanes(count);
  }
}

void eq_dot_b1_avx2(const uint8_t *x, const uint8_t *w, size_t bytes, uint32_t outputs, int32_t k, int32_t *acc) {
  dot(false, x, x, w, bytes, outputs, k, acc);
}

void eq_dot_t2_avx2(const uint8_t *x, const uint8_t *nonzero, const uint8_t *w, size_t bytes, uint32_t outputs,
                    int32_t *acc) {
  const eq_bit_patches one = {.x = nonzero, .rows = 1, .words = (uint32_t)(bytes / sizeof(uint32_t))};
  int32_t ones;
  eq_count_ones_avx2(&one, 1, &ones);
  dot(true, x, nonzero, w, bytes, outputs, ones, acc);
}
