/* Binary convolution and matrix product: 16 outputs of 32-bit words in a register, activation words broadcast,
 * VPOPCNTDQ. A register block holds 7 pixels x 64 outputs. Tile: [4][steps][16] words. */
#include "transpose.h"

#include "kernels/simd/declare.h"

enum { PIXELS = 7, PANELS = EQ_BLOCK / EQ_LANES };

void eq_tile_b1_avx512(const uint8_t *w, size_t bytes, uint32_t outputs, uint32_t steps, void *tile) {
  uint32_t *to = tile;
  for (uint32_t panel = 0; panel < PANELS; panel++, w += EQ_LANES * bytes) {
    const uint32_t first = panel * EQ_LANES, rows = outputs > first ? outputs - first : 0;
    for (uint32_t step = 0; step < steps; step += 16) {
      const size_t left = bytes - (size_t)step * 4;
      const __mmask64 mask = left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
      __m512i r[16];
      for (uint32_t i = 0; i < 16; i++)
        r[i] = i < rows ? _mm512_maskz_loadu_epi8(mask, w + i * bytes + (size_t)step * 4) : _mm512_setzero_si512();
      transpose16(r);
      for (uint32_t i = 0; i < 16 && step + i < steps; i++, to += EQ_LANES) _mm512_store_si512(to, r[i]);
    }
  }
}

INLINE __m512i broadcast(const uint8_t *p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

/* Ones in each word of x ^ w, or of nonzero & (x ^ w). */
INLINE __m512i differing(bool ternary, __m512i x, __m512i nonzero, __m512i w) {
  enum { AND_XOR = 0x60 }; /* the truth table of a & (b ^ c) */
  return _mm512_popcnt_epi32(ternary ? _mm512_ternarylogic_epi32(nonzero, x, w, AND_XOR) : _mm512_xor_si512(x, w));
}

INLINE void block(bool ternary, const eq_bit_patches *p, uint32_t first, int pixels, int panels, const uint32_t *w,
                  int32_t *acc, size_t pitch) {
  const uint8_t *x = p->x + first * p->pixel;
  __m512i count[PIXELS][PANELS];
  const size_t panel = (size_t)p->steps * EQ_LANES;
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < panels; j++) count[i][j] = _mm512_setzero_si512();
  for (uint32_t row = 0; row < p->rows; row++, x += p->row)
    for (uint32_t q = 0; q < p->words; q++, w += EQ_LANES)
      for (int i = 0; i < pixels; i++) {
        const uint8_t *word = x + (size_t)i * p->pixel + (size_t)q * 4;
        const __m512i a = broadcast(word), nonzero = ternary ? broadcast(word + p->nonzero) : a;
        const uint32_t *from = w;
        __asm__("" : "+r"(from)); /* read the weights again for each pixel: 28 sums leave no registers for them */
        for (int j = 0; j < panels; j++)
          count[i][j] = _mm512_add_epi32(count[i][j],
                                         differing(ternary, a, nonzero, _mm512_load_si512(from + (size_t)j * panel)));
      }
  for (int i = 0; i < pixels; i++) {
    const __m512i total = _mm512_set1_epi32(ternary ? p->ones[first + (uint32_t)i] : p->k);
    for (int j = 0; j < panels; j++)
      _mm512_storeu_si512(acc + (first + (size_t)i) * pitch + (size_t)j * EQ_LANES,
                          _mm512_sub_epi32(total, _mm512_slli_epi32(count[i][j], 1)));
  }
}

/* Pixels in runs of nearly one length, PIXELS at most: a short run at the end would read the weights for little. */
INLINE void all_pixels(bool ternary, const eq_bit_patches *p, uint32_t pixels, int panels, const uint32_t *w,
                       int32_t *acc, size_t pitch) {
  for (uint32_t i = 0, runs = (pixels + PIXELS - 1) / PIXELS, run; runs; i += run, runs--) {
    run = (pixels - i + runs - 1) / runs;
    eq_prefetch(p->hint, i, run);
    switch (run) {
    case 7: block(ternary, p, i, 7, panels, w, acc, pitch); break;
    case 6: block(ternary, p, i, 6, panels, w, acc, pitch); break;
    case 5: block(ternary, p, i, 5, panels, w, acc, pitch); break;
    case 4: block(ternary, p, i, 4, panels, w, acc, pitch); break;
    case 3: block(ternary, p, i, 3, panels, w, acc, pitch); break;
    case 2: block(ternary, p, i, 2, panels, w, acc, pitch); break;
    default: block(ternary, p, i, 1, panels, w, acc, pitch); break;
    }
  }
}

INLINE void accumulate(bool ternary, const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                       int32_t *acc, size_t pitch) {
  const uint32_t *w = (const uint32_t *)tile + (size_t)p->first * EQ_LANES;
  switch ((outputs + EQ_LANES - 1) / EQ_LANES) {
  case 1: all_pixels(ternary, p, pixels, 1, w, acc, pitch); break;
  case 2: all_pixels(ternary, p, pixels, 2, w, acc, pitch); break;
  case 3: all_pixels(ternary, p, pixels, 3, w, acc, pitch); break;
  default: all_pixels(ternary, p, pixels, 4, w, acc, pitch); break;
  }
}

void eq_accumulate_b1_avx512(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                             size_t pitch) {
  accumulate(false, p, pixels, tile, outputs, acc, pitch);
}

void eq_accumulate_t2_avx512(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                             size_t pitch) {
  accumulate(true, p, pixels, tile, outputs, acc, pitch);
}

/* The first n of 16 words. */
INLINE __mmask16 words(size_t n) { return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1); }

void eq_count_ones_avx512(const eq_bit_patches *p, uint32_t pixels, int32_t *ones) {
  for (uint32_t i = 0; i < pixels; i++) {
    const uint8_t *row = p->x + p->nonzero + i * p->pixel;
    __m512i count = _mm512_setzero_si512();
    for (uint32_t r = 0; r < p->rows; r++, row += p->row)
      for (uint32_t q = 0; q < p->words; q += 16)
        count = _mm512_add_epi32(
            count, _mm512_popcnt_epi32(_mm512_maskz_loadu_epi32(words(p->words - q), row + (size_t)q * 4)));
    ones[i] = _mm512_reduce_add_epi32(count);
  }
}

/* Lane o of the result = sum of the lanes of r[o]. */
INLINE __m512i sums(__m512i r[16]) {
  __m512i t[8];
  for (int i = 0; i < 8; i++)
    t[i] =
        _mm512_add_epi32(_mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]), _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]));
  for (int i = 0; i < 4; i++)
    r[i] =
        _mm512_add_epi32(_mm512_unpacklo_epi64(t[2 * i], t[2 * i + 1]), _mm512_unpackhi_epi64(t[2 * i], t[2 * i + 1]));
  for (int i = 0; i < 2; i++)
    t[i] = _mm512_add_epi32(_mm512_shuffle_i32x4(r[2 * i], r[2 * i + 1], 0x88),
                            _mm512_shuffle_i32x4(r[2 * i], r[2 * i + 1], 0xdd));
  return _mm512_add_epi32(_mm512_shuffle_i32x4(t[0], t[1], 0x88), _mm512_shuffle_i32x4(t[0], t[1], 0xdd));
}

INLINE void dot(bool ternary, const uint8_t *x, const uint8_t *nonzero, const uint8_t *w, size_t bytes,
                uint32_t outputs, int32_t total, int32_t *acc) {
  for (uint32_t o = 0; o < outputs; o += 16, w += 16 * bytes) {
    const uint32_t rows = outputs - o < 16 ? outputs - o : 16;
    __m512i count[16];
    for (int r = 0; r < 16; r++) count[r] = _mm512_setzero_si512();
    for (size_t b = 0; b < bytes; b += 64) {
      const __mmask16 mask = words((bytes - b) / 4);
      const __m512i a = _mm512_maskz_loadu_epi32(mask, x + b);
      const __m512i n = ternary ? _mm512_maskz_loadu_epi32(mask, nonzero + b) : a;
      for (uint32_t r = 0; r < 16; r++) {
        if (r >= rows) break;
        count[r] =
            _mm512_add_epi32(count[r], differing(ternary, a, n, _mm512_maskz_loadu_epi32(mask, w + r * bytes + b)));
      }
    }
    const __m512i result = _mm512_sub_epi32(_mm512_set1_epi32(total), _mm512_slli_epi32(sums(count), 1));
    _mm512_mask_storeu_epi32(acc + o, words(rows), result);
  }
}

void eq_dot_b1_avx512(const uint8_t *x, const uint8_t *w, size_t bytes, uint32_t outputs, int32_t k, int32_t *acc) {
  dot(false, x, x, w, bytes, outputs, k, acc);
}

void eq_dot_t2_avx512(const uint8_t *x, const uint8_t *nonzero, const uint8_t *w, size_t bytes, uint32_t outputs,
                      int32_t *acc) {
  const eq_bit_patches one = {.x = nonzero, .rows = 1, .words = (uint32_t)(bytes / 4)};
  int32_t ones;
  eq_count_ones_avx512(&one, 1, &ones);
  dot(true, x, nonzero, w, bytes, outputs, ones, acc);
}

void eq_subtract_avx512(int32_t *acc, const int32_t *x, uint32_t count) {
  for (uint32_t i = 0; i < count; i += EQ_LANES)
    _mm512_storeu_si512(acc + i, _mm512_sub_epi32(_mm512_loadu_si512(acc + i), _mm512_loadu_si512(x + i)));
}
