/* Binary convolution and matrix product: 16 outputs of 32-bit words in four registers, activation words broadcast, CNT
 * counts bytes. Tile: [4][steps][16] words.
 *
 * Folded: word j of a row is the exclusive or of its words 0 to j, on both sides, so that p[j] = x[j] ^ w[j] is the
 * parity of the differing bits up to there. What two words add to a parity carries where p[j] ? ~p[j + 1] : p[j - 1],
 * and differing bits = 2 * (carries of all pairs) + (ones of the last parity). BSL inverts nothing. Tiles therefore
 * hold the complement of every fourth word, the third from the end and so on: BSL of a pair that ends there gives its
 * carries, that of the pair behind it their complement. Five instructions for two words instead of six.
 *
 * The including file says how counted bytes are gathered. SUMS: what a block keeps per four outputs; `total` is what
 * sums_add() has left of what it began with. A run of up to SAFE of them stands between sums_begin(), which is told how
 * many count complements, and sums_end(). times: -2, or for carries -4 and for their complements 4. */
#include "v16.h"

#pragma GCC optimize("no-schedule-insns")

#include "kernels/simd/declare.h"

enum { QUADS = EQ_LANES / 4, PIXELS = 4, FOLDED_PIXELS = 2, GROUP = 4 /* words */ };

INLINE uint8x16x4_t load_weights(const uint32_t *w) { return vld1q_u8_x4((const uint8_t *)w); }

INLINE uint8x16_t every_word(const uint8_t *p) {
  uint32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return vreinterpretq_u8_u32(vdupq_n_u32(word));
}

INLINE uint8x16x4_t every_four(const uint8_t *p) {
  const uint32x4x4_t words = vld4q_dup_u32((const uint32_t *)(const void *)p);
  uint8x16x4_t r;
  for (int k = 0; k < GROUP; k++) r.val[k] = vreinterpretq_u8_u32(words.val[k]);
  return r;
}

INLINE void count_words(bool ternary, const eq_bit_patches *p, const uint8_t *x, int pixels, const uint32_t *w,
                        SUMS (*sum)[QUADS]) {
  for (uint32_t row = 0; row < p->rows; row++, x += p->row)
    for (uint32_t q = 0; q < p->words;) {
      const uint32_t left = p->words - q, end = q + (SAFE && left > SAFE ? SAFE : left);
      sums_begin(sum, pixels, 0);
      for (; q < end; q++, w += EQ_LANES) {
        const uint8x16x4_t weights = load_weights(w);
        for (int i = 0; i < pixels; i++) {
          const uint8_t *word = x + (size_t)i * p->pixel + (size_t)q * 4;
          const uint8x16_t a = every_word(word), nonzero = ternary ? every_word(word + p->nonzero) : a;
          for (int j = 0; j < QUADS; j++) {
            const uint8x16_t differing = veorq_u8(a, weights.val[j]);
            sums_add(&sum[i][j], -2, vcntq_u8(ternary ? vandq_u8(nonzero, differing) : differing));
          }
        }
      }
      sums_end(sum, pixels, -2);
    }
}

INLINE uint8x16_t differing(const uint8_t *x, const uint32_t *w) {
  return veorq_u8(every_word(x), vreinterpretq_u8_u32(vld1q_u32(w)));
}

/* A word or two in front of whole groups: no tile complements them. */
INLINE void begin_folded(const eq_bit_patches *p, const uint8_t *x, int pixels, const uint32_t *w,
                         uint8x16_t (*parity)[QUADS], SUMS (*sum)[QUADS]) {
  const uint32_t odd = p->words % 2;
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < QUADS; j++) parity[i][j] = odd ? differing(x + i * p->pixel, w + 4 * j) : vdupq_n_u8(0);
  if (p->words % GROUP < 2) return;
  x += odd * 4;
  w += odd * EQ_LANES;
  sums_begin(sum, pixels, 0);
  for (int i = 0; i < pixels; i++, x += p->pixel)
    for (int j = 0; j < QUADS; j++) {
      const uint8x16_t middle = differing(x, w + 4 * j), last = differing(x + 4, w + EQ_LANES + 4 * j);
      sums_add(&sum[i][j], -4, vcntq_u8(vbslq_u8(middle, vmvnq_u8(last), parity[i][j])));
      parity[i][j] = last;
    }
  sums_end(sum, pixels, -4);
}

INLINE void count_folded(const eq_bit_patches *p, const uint8_t *x, int pixels, const uint32_t *w, SUMS (*sum)[QUADS]) {
  uint8x16_t parity[FOLDED_PIXELS][QUADS];
  begin_folded(p, x, pixels, w, parity, sum);
  x += p->words % GROUP * 4;
  w += p->words % GROUP * EQ_LANES;
  for (uint32_t left = p->words / GROUP, some; left; left -= some) {
    some = SAFE && left > SAFE / 2 ? SAFE / 2 : left;
    sums_begin(sum, pixels, some);
    for (uint32_t g = 0; g < some; g++, x += GROUP * 4, w += GROUP * EQ_LANES) {
      uint8x16x4_t words[FOLDED_PIXELS];
      for (int i = 0; i < pixels; i++) words[i] = every_four(x + (size_t)i * p->pixel);
      for (int j = 0; j < QUADS; j++) {
        uint8x16_t weights[GROUP];
        for (int k = 0; k < GROUP; k++) weights[k] = vreinterpretq_u8_u32(vld1q_u32(w + GROUP * 4 * j + 4 * k));
        for (int i = 0; i < pixels; i++) {
          const uint8x16_t first = veorq_u8(words[i].val[0], weights[0]),
                           second = veorq_u8(words[i].val[1], weights[1]);
          sums_add(&sum[i][j], -4, vcntq_u8(vbslq_u8(first, second, parity[i][j])));
          const uint8x16_t third = veorq_u8(words[i].val[2], weights[2]), last = veorq_u8(words[i].val[3], weights[3]);
          sums_add(&sum[i][j], 4, vcntq_u8(vbslq_u8(third, last, second)));
          parity[i][j] = last;
        }
      }
    }
    sums_end(sum, pixels, -4);
  }
  sums_begin(sum, pixels, 0);
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < QUADS; j++) sums_add(&sum[i][j], -2, vcntq_u8(parity[i][j]));
  sums_end(sum, pixels, -2);
}

typedef enum { SIGNS, FOLDED, TERNARY } operands;

/* w, acc: of output o. places: the pixels have totals of their own. */
INLINE void block(operands kind, bool places, const eq_bit_patches *p, uint32_t first, int pixels, uint32_t o,
                  const uint32_t *w, int32_t *acc, size_t pitch) {
  const uint8_t *x = p->x + first * p->pixel;
  const uint32_t complements = kind == FOLDED ? p->words / GROUP : 0;
  SUMS sum[PIXELS][QUADS];
  for (int i = 0; i < pixels; i++) {
    const int32_t *own = places ? p->totals + (size_t)p->place[first + (uint32_t)i] * EQ_BLOCK + o : NULL;
    const int32x4_t all = vdupq_n_s32(kind == TERNARY ? p->ones[first + (uint32_t)i] : p->k);
    for (int j = 0; j < QUADS; j++) sum[i][j].total = sums_start(places ? vld1q_s32(own + 4 * j) : all, complements);
  }
  if (kind == FOLDED)
    count_folded(p, x, pixels, w, sum);
  else
    count_words(kind == TERNARY, p, x, pixels, w, sum);
  int32_t *to = acc + first * pitch;
  for (int i = 0; i < pixels; i++, to += pitch)
    for (int j = 0; j < QUADS; j++) vst1q_s32(to + 4 * j, sum[i][j].total);
}

INLINE void all_outputs(operands kind, bool places, const eq_bit_patches *p, uint32_t pixels, const void *tile,
                        uint32_t outputs, int32_t *restrict acc, size_t pitch) {
  const uint32_t *w = (const uint32_t *)tile + (size_t)p->first * EQ_LANES;
  eq_prefetch(p->hint, 0, pixels);
  for (uint32_t o = 0; o < outputs; o += EQ_LANES, w += (size_t)p->steps * EQ_LANES) {
    uint32_t i = 0;
    if (kind == FOLDED) {
      for (; i + 2 <= pixels; i += 2) block(kind, places, p, i, 2, o, w, acc + o, pitch);
    } else {
      for (; i + PIXELS <= pixels; i += PIXELS) block(kind, places, p, i, PIXELS, o, w, acc + o, pitch);
      for (; i + 3 <= pixels; i += 3) block(kind, places, p, i, 3, o, w, acc + o, pitch);
    }
    for (; i < pixels; i++) block(kind, places, p, i, 1, o, w, acc + o, pitch);
  }
}

/* Signs at borders. Not inlined: what meets no border, a linear layer, shares no registers with it. */
static __attribute__((noinline)) void accumulate_places(const eq_bit_patches *p, uint32_t pixels, const void *tile,
                                                        uint32_t outputs, int32_t *acc, size_t pitch) {
  if (p->folded)
    all_outputs(FOLDED, true, p, pixels, tile, outputs, acc, pitch);
  else
    all_outputs(SIGNS, true, p, pixels, tile, outputs, acc, pitch);
}

INLINE void accumulate_signs(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                             size_t pitch) {
  if (p->totals)
    accumulate_places(p, pixels, tile, outputs, acc, pitch);
  else if (p->folded)
    all_outputs(FOLDED, false, p, pixels, tile, outputs, acc, pitch);
  else
    all_outputs(SIGNS, false, p, pixels, tile, outputs, acc, pitch);
}

INLINE void accumulate_ternary(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                               int32_t *acc, size_t pitch) {
  all_outputs(TERNARY, false, p, pixels, tile, outputs, acc, pitch);
}
