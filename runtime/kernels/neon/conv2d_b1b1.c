/* Baseline NEON: bytes are counted for 31 steps, then widened. */
#include "v16.h"

enum { PIXELS = 4, SAFE = 31 }; /* 31 * 8 <= 255 */

typedef struct {
  uint32x4_t total;
  uint8x16_t bytes;
} SUMS;

INLINE void sums_begin(SUMS (*sum)[4], int pixels) {
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < 4; j++) sum[i][j].bytes = vdupq_n_u8(0);
}
INLINE void sums_add(SUMS *s, uint8x16_t counts) { s->bytes = vaddq_u8(s->bytes, counts); }
INLINE void sums_end(SUMS (*sum)[4], int pixels) {
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < 4; j++) sum[i][j].total = vpadalq_u16(sum[i][j].total, vpaddlq_u8(sum[i][j].bytes));
}

/* Halves of 32 bits: a group changes one by -16 to 16, a pair in front of groups by 16 at most. At the end it is
 * doubled and gets 16 of the last parity: 2 * (1022 * 16 + 16) + 16 <= 32767, so rows of up to 4088 words are folded
 * (table.c).
 */
typedef struct {
  int16x8_t sum;
  uint8x16_t counts;
} CARRIES;

INLINE CARRIES carries_begin(int32x4_t total) {
  (void)total;
  return (CARRIES){.sum = vdupq_n_s16(0)};
}
INLINE void carries_add(CARRIES *c, uint8x16_t bits) { c->counts = vcntq_u8(bits); }
INLINE void complements_take(CARRIES *c, uint8x16_t bits) {
  c->sum = vpadalq_s8(c->sum, vreinterpretq_s8_u8(vsubq_u8(c->counts, vcntq_u8(bits))));
}
INLINE int32x4_t carries_result(CARRIES c, int32x4_t total, uint8x16_t parity) {
  const int16x8_t differing = vpadalq_s8(vaddq_s16(c.sum, c.sum), vreinterpretq_s8_u8(vcntq_u8(parity)));
  return vmlsq_s32(total, vpaddlq_s16(differing), vdupq_n_s32(2));
}

#include "conv2d_b1b1.h"

void eq_accumulate_b1_neon(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                           size_t pitch) {
  accumulate(false, p, pixels, tile, outputs, acc, pitch);
}

void eq_accumulate_t2_neon(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                           size_t pitch) {
  accumulate(true, p, pixels, tile, outputs, acc, pitch);
}

void eq_tile_b1_neon(const uint8_t *w, size_t bytes, uint32_t outputs, uint32_t steps, void *tile) {
  uint32_t *to = tile;
  for (uint32_t first = 0; first < EQ_BLOCK; first += EQ_LANES)
    for (uint32_t step = 0; step < steps; step++) {
      const size_t at = (size_t)step * sizeof(uint32_t), left = bytes - at;
      for (uint32_t o = first; o < first + EQ_LANES; o++, to++) {
        *to = 0;
        if (o >= outputs) continue;
        if (left >= sizeof(uint32_t))
          __builtin_memcpy(to, w + o * bytes + at, sizeof(uint32_t));
        else
          __builtin_memcpy(to, w + o * bytes + at, left);
      }
    }
}

void eq_fold_tile_neon(void *tile, uint32_t steps) {
  uint32_t *w = tile;
  for (uint32_t panel = 0; panel < EQ_BLOCK / EQ_LANES; panel++) {
    uint32x4_t parity[QUADS] = {0}, group[GROUP][QUADS];
    for (uint32_t step = 0; step < steps % GROUP; step++)
      for (int j = 0; j < QUADS; j++, w += 4) {
        parity[j] = veorq_u32(parity[j], vld1q_u32(w));
        vst1q_u32(w, parity[j]);
      }
    for (uint32_t g = 0; g < steps / GROUP; g++, w += GROUP * EQ_LANES) {
      for (int k = 0; k < GROUP; k++)
        for (int j = 0; j < QUADS; j++) {
          parity[j] = veorq_u32(parity[j], vld1q_u32(w + k * EQ_LANES + 4 * j));
          group[k][j] = k == 1 ? vmvnq_u32(parity[j]) : parity[j];
        }
      for (int j = 0; j < QUADS; j++)
        for (int k = 0; k < GROUP; k++) vst1q_u32(w + j * GROUP * 4 + 4 * k, group[k][j]);
    }
  }
}

void eq_fold_patches_neon(const eq_bit_patches *p, uint32_t first, uint32_t pixels, uint32_t *to) {
  const uint32x4_t zero = vdupq_n_u32(0);
  to += (size_t)first * p->rows * p->words;
  for (uint32_t i = 0; i < pixels; i++) {
    const uint8_t *row = p->x + i * p->pixel;
    uint32x4_t parity = zero; /* in every lane */
    for (uint32_t r = 0; r < p->rows; r++, row += p->row) {
      const uint8_t *x = row;
      uint32_t left = p->words;
      for (; left >= 4; left -= 4, x += 16, to += 4) {
        uint32x4_t four = vreinterpretq_u32_u8(vld1q_u8(x));
        four = veorq_u32(four, vextq_u32(zero, four, 3));
        four = veorq_u32(four, vextq_u32(zero, four, 2));
        four = veorq_u32(four, parity);
        vst1q_u32(to, four);
        parity = vdupq_laneq_u32(four, 3);
      }
      for (; left; left--, x += 4) {
        parity = veorq_u32(parity, vreinterpretq_u32_u8(every_word(x)));
        *to++ = vgetq_lane_u32(parity, 0);
      }
    }
  }
}

/* acc = total - 2 * the ones of x ^ w, or of n & (x ^ w), of `outputs` rows of w. Bytes of a row: 1, 2, 4 or a multiple
 * of 8. */
INLINE void dots(bool ternary, const uint8_t *n, const uint8_t *x, const uint8_t *w, size_t bytes, int outputs,
                 int32_t total, int32_t *acc) {
  enum { VECTOR = 16, HALF = 8, FEW = 4 };
  uint32_t ones[FEW] = {0};
  size_t b = 0;
  while (b + VECTOR <= bytes) {
    const size_t left = (bytes - b) / VECTOR, end = b + VECTOR * (left < SAFE ? left : SAFE);
    uint8x16_t count[FEW];
    for (int o = 0; o < outputs; o++) count[o] = vdupq_n_u8(0);
    for (; b < end; b += VECTOR) {
      const uint8x16_t a = vld1q_u8(x + b), seen = ternary ? vld1q_u8(n + b) : a;
      for (int o = 0; o < outputs; o++) {
        const uint8x16_t differing = veorq_u8(a, vld1q_u8(w + (size_t)o * bytes + b));
        count[o] = vaddq_u8(count[o], vcntq_u8(ternary ? vandq_u8(seen, differing) : differing));
      }
    }
    for (int o = 0; o < outputs; o++) ones[o] += vaddlvq_u8(count[o]);
  }
  if (b + HALF <= bytes) {
    const uint8x8_t a = vld1_u8(x + b), seen = ternary ? vld1_u8(n + b) : a;
    for (int o = 0; o < outputs; o++) {
      const uint8x8_t differing = veor_u8(a, vld1_u8(w + (size_t)o * bytes + b));
      ones[o] += vaddv_u8(vcnt_u8(ternary ? vand_u8(seen, differing) : differing));
    }
    b += HALF;
  }
  for (; b < bytes; b++)
    for (int o = 0; o < outputs; o++) {
      const unsigned differing = x[b] ^ w[(size_t)o * bytes + b];
      ones[o] += (uint32_t)__builtin_popcount(ternary ? n[b] & differing : differing);
    }
  for (int o = 0; o < outputs; o++) acc[o] = total - 2 * (int32_t)ones[o];
}

INLINE void all_dots(bool ternary, const uint8_t *n, const uint8_t *x, const uint8_t *w, size_t bytes, uint32_t outputs,
                     int32_t total, int32_t *acc) {
  uint32_t o = 0;
  for (; o + 4 <= outputs; o += 4) dots(ternary, n, x, w + o * bytes, bytes, 4, total, acc + o);
  for (; o < outputs; o++) dots(ternary, n, x, w + o * bytes, bytes, 1, total, acc + o);
}

void eq_dot_b1_neon(const uint8_t *x, const uint8_t *w, size_t bytes, uint32_t outputs, int32_t k, int32_t *acc) {
  all_dots(false, x, x, w, bytes, outputs, k, acc);
}

static uint32_t ones_of(const uint8_t *row, size_t bytes) {
  uint32_t ones = 0;
  for (size_t b = 0; b < bytes; b += 4) {
    uint8x8_t word = vdup_n_u8(0);
    word = vreinterpret_u8_u32(vld1_lane_u32((const void *)(row + b), vreinterpret_u32_u8(word), 0));
    ones += vaddv_u8(vcnt_u8(word));
  }
  return ones;
}

void eq_count_ones_neon(const eq_bit_patches *p, uint32_t pixels, int32_t *ones) {
  for (uint32_t i = 0; i < pixels; i++) {
    const uint8_t *row = p->x + p->nonzero + i * p->pixel;
    ones[i] = 0;
    for (uint32_t r = 0; r < p->rows; r++, row += p->row) ones[i] += (int32_t)ones_of(row, (size_t)p->words * 4);
  }
}

void eq_dot_t2_neon(const uint8_t *x, const uint8_t *nonzero, const uint8_t *w, size_t bytes, uint32_t outputs,
                    int32_t *acc) {
  all_dots(true, nonzero, x, w, bytes, outputs, (int32_t)ones_of(nonzero, bytes), acc);
}
