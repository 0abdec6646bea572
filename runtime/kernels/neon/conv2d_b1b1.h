/* Binary convolution and matrix product: 16 outputs of 32-bit words in four registers, activation words broadcast, CNT
 * counts bytes. Tile: [4][steps][16] words. The including file says how counted bytes are gathered: SUMS       what a
 * block keeps per four outputs sums_add   adds the counts of one step;  sums_total  gives the four totals */
#include "v16.h"

#include "kernels/simd/declare.h"

enum { QUADS = EQ_LANES / 4 };

INLINE uint8x16_t every_word(const uint8_t *p) {
  uint32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return vreinterpretq_u8_u32(vdupq_n_u32(word));
}

/* w, acc: of output o. places: the pixels have totals of their own. */
INLINE void block(bool ternary, bool places, const eq_bit_patches *p, uint32_t first, int pixels, uint32_t o,
                  const uint32_t *w, int32_t *acc, size_t pitch) {
  const uint8_t *x = p->x + first * p->pixel;
  SUMS sum[PIXELS][QUADS] = {0};
  for (uint32_t row = 0; row < p->rows; row++, x += p->row)
    for (uint32_t q = 0; q < p->words;) {
      const uint32_t end = q + SAFE < p->words ? q + SAFE : p->words;
      sums_begin(sum, pixels);
      for (; q < end; q++, w += EQ_LANES) {
        uint8x16_t weights[QUADS];
        for (int j = 0; j < QUADS; j++) weights[j] = vreinterpretq_u8_u32(vld1q_u32(w + 4 * j));
        for (int i = 0; i < pixels; i++) {
          const uint8_t *word = x + (size_t)i * p->pixel + (size_t)q * 4;
          const uint8x16_t a = every_word(word), nonzero = ternary ? every_word(word + p->nonzero) : a;
          for (int j = 0; j < QUADS; j++) {
            const uint8x16_t differing = veorq_u8(a, weights[j]);
            sums_add(&sum[i][j], vcntq_u8(ternary ? vandq_u8(nonzero, differing) : differing));
          }
        }
      }
      sums_end(sum, pixels);
    }
  int32_t *to = acc + first * pitch;
  for (int i = 0; i < pixels; i++, to += pitch) {
    const int32_t *own = places ? p->totals + (size_t)p->place[first + (uint32_t)i] * EQ_BLOCK + o : NULL;
    const int32x4_t all = vdupq_n_s32(ternary ? p->ones[first + (uint32_t)i] : p->k);
    for (int j = 0; j < QUADS; j++) {
      const int32x4_t total = places ? vld1q_s32(own + 4 * j) : all;
      vst1q_s32(to + 4 * j, vmlsq_s32(total, vreinterpretq_s32_u32(sum[i][j].total), vdupq_n_s32(2)));
    }
  }
}

INLINE void all_outputs(bool ternary, bool places, const eq_bit_patches *p, uint32_t pixels, const void *tile,
                        uint32_t outputs, int32_t *acc, size_t pitch) {
  const uint32_t *w = (const uint32_t *)tile + (size_t)p->first * EQ_LANES;
  eq_prefetch(p->hint, 0, pixels);
  for (uint32_t o = 0; o < outputs; o += EQ_LANES, w += (size_t)p->steps * EQ_LANES) {
    uint32_t i = 0;
    for (; i + PIXELS <= pixels; i += PIXELS) block(ternary, places, p, i, PIXELS, o, w, acc + o, pitch);
    for (; i + 3 <= pixels; i += 3) block(ternary, places, p, i, 3, o, w, acc + o, pitch);
    for (; i < pixels; i++) block(ternary, places, p, i, 1, o, w, acc + o, pitch);
  }
}

/* Signs at borders. Not inlined: what meets no border, a linear layer, shares no registers with it. */
static __attribute__((noinline)) void accumulate_places(const eq_bit_patches *p, uint32_t pixels, const void *tile,
                                                        uint32_t outputs, int32_t *acc, size_t pitch) {
  all_outputs(false, true, p, pixels, tile, outputs, acc, pitch);
}

INLINE void accumulate(bool ternary, const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                       int32_t *acc, size_t pitch) {
  if (!ternary && p->totals)
    accumulate_places(p, pixels, tile, outputs, acc, pitch);
  else
    all_outputs(ternary, false, p, pixels, tile, outputs, acc, pitch);
}
