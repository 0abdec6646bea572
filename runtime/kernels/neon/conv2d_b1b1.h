/* Binary convolution and matrix product: 16 outputs of 32-bit words in four registers, activation words broadcast, CNT
 * counts bytes. Tile: [4][steps][16] words.
 *
 * Folded: word j of a row is the exclusive or of its words 0 to j, on both sides, so that p[j] = x[j] ^ w[j] is the
 * parity of the differing bits up to there. What two words add to a parity carries where p[j] ? ~p[j + 1] : p[j - 1],
 * and differing bits = 2 * (carries of all pairs) + (ones of the last parity). BSL chooses, but inverts nothing. So of
 * each group of four words, which end with the row, the tile holds the second inverted: its first pair gives carries,
 * its second pair, between an inverted parity and one that is not, the complement of carries. Two words take five
 * instructions instead of six. Tile: [4] times [steps % 4][16] words, then [steps / 4] groups of [4][4 steps][4].
 *
 * The including file says how counted bytes are gathered for four outputs:
 * SUMS     sums_add() the counts of a step to its total, up to SAFE of them between sums_begin() and sums_end()
 * CARRIES  carries_add() the ones of a pair's carries, then complements_take() those of the next pair's complement;
 *          carries_result() = total - 4 * carries - 2 * ones of the last parity, total that of carries_begin() */
#include "v16.h"

#include "kernels/simd/declare.h"

/* Before it assigns registers, gcc would move loads and counts up, and need more than 32 of them. */
#if defined __GNUC__ && !defined __clang__
#pragma GCC optimize("no-schedule-insns")
#endif

enum { QUADS = EQ_LANES / 4, GROUP = 4 /* words */, FOLDED_PIXELS = 2, STEP = 4 * EQ_LANES /* bytes of a tile */ };

INLINE uint8x16_t every_word(const uint8_t *p) {
  uint32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return vreinterpretq_u8_u32(vdupq_n_u32(word));
}

INLINE void count_words(bool ternary, const eq_bit_patches *p, const uint8_t *x, int pixels, const uint32_t *w,
                        SUMS (*sum)[QUADS]) {
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
}

INLINE uint8x16x4_t every_of_four(const uint8_t *p) {
  const uint32x4x4_t words = vld4q_dup_u32((const uint32_t *)(const void *)p);
  uint8x16x4_t r;
  for (int k = 0; k < GROUP; k++) r.val[k] = vreinterpretq_u8_u32(words.val[k]);
  return r;
}

/* The words in front of whole groups, of which none is inverted. */
INLINE void count_first(const eq_bit_patches *p, const uint8_t *x, int pixels, const uint8_t *w,
                        uint8x16_t (*parity)[QUADS], CARRIES (*carries)[QUADS]) {
  const uint32_t odd = p->words % 2;
  const uint8x16_t none = vdupq_n_u8(0);
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < QUADS; j++)
      parity[i][j] = odd ? veorq_u8(every_word(x + (size_t)i * p->pixel), vld1q_u8(w + 16 * j)) : none;
  if (p->words % GROUP < 2) return;
  x += odd * 4;
  w += odd * STEP;
  for (int i = 0; i < pixels; i++, x += p->pixel)
    for (int j = 0; j < QUADS; j++) {
      const uint8x16_t middle = veorq_u8(every_word(x), vld1q_u8(w + 16 * j));
      const uint8x16_t last = veorq_u8(every_word(x + 4), vld1q_u8(w + STEP + 16 * j));
      carries_add(&carries[i][j], vbslq_u8(middle, vmvnq_u8(last), parity[i][j]));
      complements_take(&carries[i][j], none);
      parity[i][j] = last;
    }
}

INLINE void count_groups(const eq_bit_patches *p, const uint8_t *x, int pixels, const uint8_t *w,
                         uint8x16_t (*parity)[QUADS], CARRIES (*carries)[QUADS]) {
  for (uint32_t g = 0; g < p->words / GROUP; g++, x += GROUP * 4) {
    uint8x16x4_t a[FOLDED_PIXELS];
    for (int i = 0; i < pixels; i++) a[i] = every_of_four(x + (size_t)i * p->pixel);
    for (int j = 0; j < QUADS; j++, w += STEP) {
      uint8x16_t b[GROUP];
      for (int k = 0; k < GROUP; k++) b[k] = vld1q_u8(w + 16 * k);
      for (int i = 0; i < pixels; i++) {
        const uint8x16_t first = veorq_u8(a[i].val[0], b[0]), second = veorq_u8(a[i].val[1], b[1]);
        carries_add(&carries[i][j], vbslq_u8(first, second, parity[i][j]));
        const uint8x16_t third = veorq_u8(a[i].val[2], b[2]), last = veorq_u8(a[i].val[3], b[3]);
        complements_take(&carries[i][j], vbslq_u8(third, last, second));
        parity[i][j] = last;
      }
    }
  }
}

/* Where a pixel's sums begin: k, its ones, or its own totals from output o on. */
INLINE void load_totals(bool ternary, bool places, const eq_bit_patches *p, uint32_t pixel, uint32_t o,
                        int32x4_t *total) {
  const int32_t *own = places ? p->totals + (size_t)p->place[pixel] * EQ_BLOCK + o : NULL;
  const int32x4_t all = vdupq_n_s32(ternary ? p->ones[pixel] : p->k);
  for (int j = 0; j < QUADS; j++) total[j] = places ? vld1q_s32(own + 4 * j) : all;
}

/* w, acc: of output o. places: the pixels have totals of their own. */
INLINE void block(bool ternary, bool places, const eq_bit_patches *p, uint32_t first, int pixels, uint32_t o,
                  const uint32_t *w, int32_t *acc, size_t pitch) {
  SUMS sum[PIXELS][QUADS] = {0};
  count_words(ternary, p, p->x + first * p->pixel, pixels, w, sum);
  int32_t *to = acc + first * pitch;
  for (int i = 0; i < pixels; i++, to += pitch) {
    int32x4_t total[QUADS];
    load_totals(ternary, places, p, first + (uint32_t)i, o, total);
    for (int j = 0; j < QUADS; j++)
      vst1q_s32(to + 4 * j, vmlsq_s32(total[j], vreinterpretq_s32_u32(sum[i][j].total), vdupq_n_s32(2)));
  }
}

INLINE void folded_block(bool places, const eq_bit_patches *p, uint32_t first, int pixels, uint32_t o, const uint8_t *w,
                         int32_t *acc, size_t pitch) {
  const uint8_t *x = p->x + first * p->pixel;
  const size_t before = p->words % GROUP;
  const int32x4_t complements = vdupq_n_s32((int32_t)(4 * 32 * (p->words / GROUP))); /* of 32 bits, 4 each */
  int32x4_t total[FOLDED_PIXELS][QUADS];
  CARRIES carries[FOLDED_PIXELS][QUADS];
  uint8x16_t parity[FOLDED_PIXELS][QUADS];
  for (int i = 0; i < pixels; i++) {
    load_totals(false, places, p, first + (uint32_t)i, o, total[i]);
    for (int j = 0; j < QUADS; j++) {
      total[i][j] = vsubq_s32(total[i][j], complements);
      carries[i][j] = carries_begin(total[i][j]);
    }
  }
  count_first(p, x, pixels, w, parity, carries);
  count_groups(p, x + before * 4, pixels, w + before * STEP, parity, carries);
  int32_t *to = acc + first * pitch;
  for (int i = 0; i < pixels; i++, to += pitch)
    for (int j = 0; j < QUADS; j++) vst1q_s32(to + 4 * j, carries_result(carries[i][j], total[i][j], parity[i][j]));
}

INLINE void all_outputs(bool ternary, bool places, const eq_bit_patches *p, uint32_t pixels, const void *tile,
                        uint32_t outputs, int32_t *restrict acc, size_t pitch) {
  const uint32_t *w = (const uint32_t *)tile + (size_t)p->first * EQ_LANES;
  eq_prefetch(p->hint, 0, pixels);
  for (uint32_t o = 0; o < outputs; o += EQ_LANES, w += (size_t)p->steps * EQ_LANES) {
    uint32_t i = 0;
    for (; i + PIXELS <= pixels; i += PIXELS) block(ternary, places, p, i, PIXELS, o, w, acc + o, pitch);
    for (; i + 3 <= pixels; i += 3) block(ternary, places, p, i, 3, o, w, acc + o, pitch);
    for (; i < pixels; i++) block(ternary, places, p, i, 1, o, w, acc + o, pitch);
  }
}

INLINE void all_outputs_folded(bool places, const eq_bit_patches *p, uint32_t pixels, const uint8_t *w,
                               uint32_t outputs, int32_t *restrict acc, size_t pitch) {
  eq_prefetch(p->hint, 0, pixels);
  for (uint32_t o = 0; o < outputs; o += EQ_LANES, w += (size_t)p->steps * STEP) {
    uint32_t i = 0;
    for (; i + FOLDED_PIXELS <= pixels; i += FOLDED_PIXELS)
      folded_block(places, p, i, FOLDED_PIXELS, o, w, acc + o, pitch);
    if (i < pixels) folded_block(places, p, i, 1, o, w, acc + o, pitch);
  }
}

/* Signs at borders. Not inlined: what meets no border, a linear layer, shares no registers with it. */
static __attribute__((noinline)) void accumulate_places(const eq_bit_patches *p, uint32_t pixels, const void *tile,
                                                        uint32_t outputs, int32_t *acc, size_t pitch) {
  if (p->folded)
    all_outputs_folded(true, p, pixels, tile, outputs, acc, pitch);
  else
    all_outputs(false, true, p, pixels, tile, outputs, acc, pitch);
}

INLINE void accumulate(bool ternary, const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                       int32_t *acc, size_t pitch) {
  if (!ternary && p->totals)
    accumulate_places(p, pixels, tile, outputs, acc, pitch);
  else if (!ternary && p->folded)
    all_outputs_folded(false, p, pixels, tile, outputs, acc, pitch);
  else
    all_outputs(ternary, false, p, pixels, tile, outputs, acc, pitch);
}
