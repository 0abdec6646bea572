/* Binary convolution and matrix product without a vector popcount: the activation's nibble chooses a table, the
 * weights' nibbles index it, and what comes out is popcount(a ^ w) of 32 outputs at once. Tile: [2][bytes][32], a byte
 * of weights of each output. */
#include "v16.h"

#include "kernels/simd/declare.h"

enum {
  OUTPUTS = 32, /* of a panel, one in each byte */
  PANELS = EQ_BLOCK / OUTPUTS,
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
        const uint32_t lower = first + i, upper = first + 16 + i;
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

/* count[pixel][output] += the bytes of c, one output each. */
INLINE void spill(__m256i c, uint32_t *count) {
  const __m128i half[2] = {_mm256_castsi256_si128(c), _mm256_extracti128_si256(c, 1)};
  for (int i = 0; i < 4; i++) {
    const __m128i eight = i % 2 ? _mm_unpackhi_epi64(half[i / 2], half[i / 2]) : half[i / 2];
    __m256i *to = (__m256i *)(void *)(count + (size_t)i * 8);
    _mm256_store_si256(to, _mm256_add_epi32(_mm256_load_si256(to), _mm256_cvtepu8_epi32(eight)));
  }
}

INLINE void block(bool ternary, const eq_bit_patches *p, uint32_t first, int pixels, int panels, const uint8_t *w,
                  int32_t *acc, size_t pitch) {
  const uint8_t *x = p->x + first * p->pixel;
  uint32_t count[PIXELS][EQ_BLOCK] __attribute__((aligned(32)));
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < panels * 4; j++) _mm256_store_si256((void *)(count[i] + (size_t)j * 8), _mm256_setzero_si256());
  const size_t panel = (size_t)p->steps * sizeof(uint32_t) * OUTPUTS;
  const __m256i low = _mm256_set1_epi8(15);
  const size_t run = (size_t)p->words * sizeof(uint32_t);
  for (uint32_t row = 0; row < p->rows; row++, x += p->row)
    for (size_t b = 0; b < run;) {
      const size_t end = b + SAFE < run ? b + SAFE : run;
      __m256i c[PIXELS][PANELS];
      for (int i = 0; i < pixels; i++)
        for (int j = 0; j < panels; j++) c[i][j] = _mm256_setzero_si256();
      for (; b < end; b++, w += OUTPUTS) {
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
      for (int i = 0; i < pixels; i++)
        for (int j = 0; j < panels; j++) spill(c[i][j], count[i] + (size_t)j * OUTPUTS);
    }
  for (int i = 0; i < pixels; i++) {
    const uint32_t pixel = first + (uint32_t)i;
    const int32_t *own = p->totals ? p->totals + (size_t)p->place[pixel] * EQ_BLOCK : NULL;
    const __m256i all = _mm256_set1_epi32(ternary ? p->ones[pixel] : p->k);
    for (int j = 0; j < panels * 4; j++) {
      const __m256i total = own ? _mm256_loadu_si256((const void *)(own + (size_t)j * 8)) : all;
      const __m256i twice = _mm256_slli_epi32(_mm256_load_si256((const void *)(count[i] + (size_t)j * 8)), 1);
      _mm256_storeu_si256((void *)(acc + (first + (size_t)i) * pitch + (size_t)j * 8), _mm256_sub_epi32(total, twice));
    }
  }
}

INLINE void all_pixels(bool ternary, const eq_bit_patches *p, uint32_t pixels, int panels, const uint8_t *w,
                       int32_t *acc, size_t pitch) {
  uint32_t i = 0;
  for (; i + PIXELS <= pixels; i += PIXELS) {
    eq_prefetch(p->hint, i, PIXELS);
    block(ternary, p, i, PIXELS, panels, w, acc, pitch);
  }
  eq_prefetch(p->hint, i, pixels - i);
  for (; i + 3 <= pixels; i += 3) block(ternary, p, i, 3, panels, w, acc, pitch);
  for (; i < pixels; i++) block(ternary, p, i, 1, panels, w, acc, pitch);
}

INLINE void accumulate(bool ternary, const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                       int32_t *acc, size_t pitch) {
  const uint8_t *w = (const uint8_t *)tile + (size_t)p->first * sizeof(uint32_t) * OUTPUTS;
  if (outputs <= OUTPUTS)
    all_pixels(ternary, p, pixels, 1, w, acc, pitch);
  else
    all_pixels(ternary, p, pixels, 2, w, acc, pitch);
}

void eq_accumulate_b1_avx2(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                           size_t pitch) {
  accumulate(false, p, pixels, tile, outputs, acc, pitch);
}

void eq_accumulate_t2_avx2(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                           size_t pitch) {
  accumulate(true, p, pixels, tile, outputs, acc, pitch);
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
