/* int8 activations with matrix multiplication: SMMLA multiplies eight inputs of two pixels with those of two outputs.
 *
 * Two steps of an output therefore lie side by side in a tile, [steps / 2][EQ_LANES][8]; a last odd step stays as it
 * is, [EQ_LANES][4]. */
#include "kernels/neon/v16.h"

#include "kernels/simd/integer.h"
#include "kernels/simd/packed_i4.h"

enum { PIXELS = 6, PAIRS = PIXELS / 2, QUADS = EQ_LANES / 4, TWO = 2 * EQ_STEP, PANEL_STEP = EQ_LANES * EQ_STEP };

/* Sums of two pixels: output 2j and 2j + 1 of the first, then of the second. */
typedef struct {
  int32x4_t of[EQ_LANES / 2];
} sums;

INLINE void begin(sums *s, int pairs) {
  for (int i = 0; i < pairs; i++)
    for (int j = 0; j < EQ_LANES / 2; j++) s[i].of[j] = vdupq_n_s32(0);
}

/* The sums of the first pixel (which 0) or the second, in the order of the outputs. */
INLINE void store(const sums *s, int which, int32_t *to) {
  for (int q = 0; q < QUADS; q++) {
    const int64x2_t even = vreinterpretq_s64_s32(s->of[2 * q]), odd = vreinterpretq_s64_s32(s->of[2 * q + 1]);
    vst1q_s32(to + 4 * q, vreinterpretq_s32_s64(which ? vzip2q_s64(even, odd) : vzip1q_s64(even, odd)));
  }
}

/* Where the second pixel of a pair lies; the last of an odd number is multiplied twice. */
INLINE size_t second(int pair, int pixels) { return (size_t)(2 * pair + 1 < pixels ? 2 * pair + 1 : 2 * pair); }

INLINE void add(sums *s, int pairs, const int8x16_t x[PAIRS], const int8_t *w) {
  for (int j = 0; j < EQ_LANES / 2; j++) {
    const int8x16_t weights = vld1q_s8(w + 16 * j);
    for (int i = 0; i < pairs; i++) s[i].of[j] = vmmlaq_s32(s[i].of[j], x[i], weights);
  }
}

/* Two steps of activations that follow each other. */
INLINE void add_two(sums *s, int pixels, const uint8_t *x, size_t pixel, const int8_t *w) {
  int8x16_t a[PAIRS];
  for (int i = 0; i < (pixels + 1) / 2; i++)
    a[i] =
        vreinterpretq_s8_u8(vcombine_u8(vld1_u8(x + (size_t)(2 * i) * pixel), vld1_u8(x + second(i, pixels) * pixel)));
  add(s, (pixels + 1) / 2, a, w);
}

INLINE uint64_t word(const uint8_t *x) {
  uint32_t four;
  __builtin_memcpy(&four, x, sizeof four);
  return four;
}

/* Two steps from different places; no second one: zeros. */
INLINE void add_apart(sums *s, int pixels, const uint8_t *x, const uint8_t *other, size_t pixel, const int8_t *w) {
  int8x16_t a[PAIRS];
  for (int i = 0; i < (pixels + 1) / 2; i++) {
    const size_t at[2] = {(size_t)(2 * i) * pixel, second(i, pixels) * pixel};
    uint64_t eight[2];
    for (int j = 0; j < 2; j++) eight[j] = word(x + at[j]) | (other ? word(other + at[j]) << 32 : 0);
    a[i] = vreinterpretq_s8_u64(vcombine_u64(vcreate_u64(eight[0]), vcreate_u64(eight[1])));
  }
  add(s, (pixels + 1) / 2, a, w);
}

/* steps 2j and 2j + 1 of a panel side by side */
INLINE void pair_step(const int8x16_t even[QUADS], const int8x16_t odd[QUADS], int8_t *to) {
  for (int q = 0; q < QUADS; q++) {
    const int32x4_t a = vreinterpretq_s32_s8(even[q]), b = vreinterpretq_s32_s8(odd[q]);
    vst1q_s8(to + 32 * q, vreinterpretq_s8_s32(vzip1q_s32(a, b)));
    vst1q_s8(to + 32 * q + 16, vreinterpretq_s8_s32(vzip2q_s32(a, b)));
  }
}

INLINE void product_block(const eq_byte_patches *p, const uint8_t *x, int pixels, const int8_t *w, const int32_t *start,
                          bool more, int32_t *acc, size_t pitch) {
  sums sum[PAIRS];
  begin(sum, (pixels + 1) / 2);
  const uint8_t *left = (const uint8_t *)0; /* a step of the run before that has no partner yet */
  for (uint32_t row = 0; row < p->rows; row++)
    for (uint32_t tap = 0; tap < p->taps; tap++) {
      const uint8_t *from = x + row * p->row + tap * p->tap;
      uint32_t s = 0;
      if (left) {
        add_apart(sum, pixels, left, from, p->pixel, w);
        w += 2 * PANEL_STEP;
        s = 1;
      }
      for (; s + 2 <= p->steps; s += 2, w += 2 * PANEL_STEP)
        add_two(sum, pixels, from + (size_t)s * EQ_STEP, p->pixel, w);
      left = s < p->steps ? from + (size_t)s * EQ_STEP : (const uint8_t *)0;
    }
  if (left) {
    const int8x16_t none = vdupq_n_s8(0), zeros[QUADS] = {none, none, none, none};
    int8x16_t last[QUADS];
    int8_t two[2 * PANEL_STEP];
    for (int q = 0; q < QUADS; q++) last[q] = vld1q_s8(w + 16 * q);
    pair_step(last, zeros, two);
    add_apart(sum, pixels, left, (const uint8_t *)0, p->pixel, two);
  }
  for (int i = 0; i < pixels; i++, acc += pitch) {
    int32_t total[EQ_LANES];
    store(&sum[i / 2], i % 2, total);
    for (int j = 0; j < EQ_LANES; j++) acc[j] = total[j] + start[j] + (more ? acc[j] : 0);
  }
}

static void product(const eq_byte_patches *p, uint32_t pixels, const int8_t *w, const int32_t *start, bool more,
                    uint32_t outputs, int32_t *acc, size_t pitch) {
  const size_t panel = (size_t)p->rows * p->taps * p->steps * PANEL_STEP;
  for (uint32_t o = 0; o < outputs; o += EQ_LANES, w += panel) {
    uint32_t i = 0;
    for (; i + PIXELS <= pixels; i += PIXELS)
      product_block(p, p->x + i * p->pixel, PIXELS, w, start + o, more, acc + i * pitch + o, pitch);
    for (; i + 2 <= pixels; i += 2)
      product_block(p, p->x + i * p->pixel, 2, w, start + o, more, acc + i * pitch + o, pitch);
    if (i < pixels) product_block(p, p->x + i * p->pixel, 1, w, start + o, more, acc + i * pitch + o, pitch);
  }
}

/* ---- 4-bit weights: every piece is a whole number of pairs of steps ---- */

INLINE void groups_block(const eq_rows_i4 *x, uint32_t first, int rows, const eq_tile_i4 *t, uint32_t o, float *acc,
                         size_t pitch) {
  v16 y[PIXELS];
  for (int i = 0; i < rows; i++) y[i] = v16_set(0.0f);
  const uint8_t *from = x->x + first * x->pitch;
  const int8_t *w = t->tile + (size_t)o * t->steps * EQ_STEP;
  for (uint32_t piece = 0, left = t->steps; piece < t->pieces; piece++) {
    const uint32_t steps = left < t->piece_steps ? left : t->piece_steps;
    sums sum[PAIRS];
    begin(sum, (rows + 1) / 2);
    for (uint32_t s = 0; s < steps; s += 2, from += TWO, w += 2 * PANEL_STEP) add_two(sum, rows, from, x->pitch, w);
    left -= steps;
    for (int i = 0; i < rows; i++) {
      int32_t total[EQ_LANES];
      store(&sum[i / 2], i % 2, total);
      y[i] =
          add_group(y[i], total, x, (size_t)(first + (uint32_t)i) * t->pieces + piece, t, (size_t)piece * EQ_BLOCK + o);
    }
  }
  for (int i = 0; i < rows; i++) v16_store(acc + (first + (uint32_t)i) * pitch + o, y[i]);
}

static void product_i4(const eq_rows_i4 *x, uint32_t rows, const eq_tile_i4 *t, uint32_t outputs, float *acc,
                       size_t pitch) {
  for (uint32_t o = 0; o < outputs; o += EQ_LANES) {
    uint32_t i = 0;
    for (; i + PIXELS <= rows; i += PIXELS) groups_block(x, i, PIXELS, t, o, acc, pitch);
    for (; i + 2 <= rows; i += 2) groups_block(x, i, 2, t, o, acc, pitch);
    if (i < rows) groups_block(x, i, 1, t, o, acc, pitch);
  }
}

/* ---- tiles ---- */

static void pair_up(int8_t *tile, uint32_t steps) {
  for (uint32_t panel = 0; panel < EQ_BLOCK / EQ_LANES; panel++, tile += (size_t)steps * PANEL_STEP)
    for (uint32_t s = 0; s + 2 <= steps; s += 2) {
      int8_t *at = tile + (size_t)s * PANEL_STEP;
      int8x16_t even[QUADS], odd[QUADS];
      for (int q = 0; q < QUADS; q++) {
        even[q] = vld1q_s8(at + 16 * q);
        odd[q] = vld1q_s8(at + PANEL_STEP + 16 * q);
      }
      pair_step(even, odd, at);
    }
}

enum { OFFSET = 0 };

static void tile(const int8_t *rows, uint32_t outputs, uint32_t steps, int8_t *to, int32_t *start) {
  tile_plain(rows, outputs, steps, OFFSET, to, start);
  pair_up(to, steps);
}

static void tile_i4(const eq_weights_i4 *w, uint32_t k, uint32_t first, uint32_t outputs, const eq_tile_i4 *to) {
  tile_i4_plain(w, k, first, outputs, OFFSET, to);
  pair_up(to->tile, to->steps);
}

static void expand_t2(const eq_packed_t2 *from, int8_t *to) {
  expand_t2_plain(from, to);
  pair_up(to, from->words * 4);
}

/* Four bytes of each of sixteen zeros. */
INLINE void zero_bytes(const uint8_t *each, uint8x16_t zero[QUADS]) {
  const uint8x16_t bytes = vld1q_u8(each);
  const uint8x16x2_t twice = vzipq_u8(bytes, bytes);
  for (int q = 0; q < QUADS; q++) zero[q] = vzipq_u8(twice.val[q / 2], twice.val[q / 2]).val[q % 2];
}

INLINE void nibbles(const uint8_t *codes, const uint8x16_t zero[2][QUADS], int8x16_t low[QUADS],
                    int8x16_t high[QUADS]) {
  for (int q = 0; q < QUADS; q++) {
    const uint8x16_t both = vld1q_u8(codes + 16 * q);
    low[q] = vreinterpretq_s8_u8(vsubq_u8(vandq_u8(both, vdupq_n_u8(15)), zero[0][q]));
    high[q] = vreinterpretq_s8_u8(vsubq_u8(vshrq_n_u8(both, 4), zero[1][q]));
  }
}

static void expand_i4(const eq_packed_i4 *from, const eq_tile_i4 *to) {
  const size_t panel = (size_t)to->steps * PANEL_STEP;
  expand_scales(from, to);
  __builtin_memset(to->start, 0, (size_t)to->pieces * EQ_BLOCK * sizeof *to->start);
  for (uint32_t o = 0; o < EQ_BLOCK; o += 2 * EQ_LANES) {
    int8_t *w = to->tile + (size_t)o * to->steps * EQ_STEP;
    const uint8_t *codes = from->codes + (size_t)o / 2 * EQ_STEP;
    for (uint32_t s = 0; s < to->steps; s += 2, codes += 2 * EQ_I4_STEP, w += 2 * PANEL_STEP) {
      const uint8_t *each = from->zero + (size_t)(s / from->group_steps) * EQ_BLOCK + o;
      uint8x16_t zero[2][QUADS];
      for (int p = 0; p < 2; p++) zero_bytes(each + p * EQ_LANES, zero[p]);
      int8x16_t low[2][QUADS], high[2][QUADS];
      for (int i = 0; i < 2; i++) nibbles(codes + i * EQ_I4_STEP, (const uint8x16_t(*)[QUADS])zero, low[i], high[i]);
      pair_step(low[0], low[1], w);
      pair_step(high[0], high[1], w + panel);
    }
  }
}

const eq_integer_kernels eq_integer_neon_i8mm = EQ_INTEGER_TABLE(false, .expand_t2 = expand_t2);
