/* 8- and 4-bit weights against a fake-quantised row, which is quantised once. */
#include "inline.h"
#include "mcu.h"
#include "pixel.h"
#include "popcount.h"
#include "quantise.h"

/* Sixteen interleaved partial sums, folded pairwise: 8, 4, 2, 1. Those past k are 0 and change nothing. */
static inline float fold(float *p, uint32_t k) {
  if (k >= 16)
    for (unsigned j = 0; j < 8; j++) p[j] += p[j + 8];
  else
    for (unsigned j = 8; j < k; j++) p[j - 8] += p[j];
  if (k >= 8)
    for (unsigned j = 0; j < 4; j++) p[j] += p[j + 4];
  else
    for (unsigned j = 4; j < k; j++) p[j - 4] += p[j];
  if (k > 2) p[0] += p[2];
  if (k > 3) p[1] += p[3];
  return k > 1 ? p[0] + p[1] : p[0];
}

static inline float weight_i8(const uint8_t *row, uint32_t k) { return (float)(int8_t)row[k]; }
static inline float weight_i4(const uint8_t *row, uint32_t k) {
  return (float)((row[k / 2] >> (4 * (k % 2)) & 15) - 8);
}
/* Nibble j of eight; the code less 8 is the nibble with its upper bit turned, as a signed number. */
static inline float nibble(uint32_t turned, unsigned j) { return (float)((int32_t)(turned << (28 - 4 * j)) >> 28); }

/* Half of the partial sums over whole groups of sixteen. */
static inline void eight_i4(const float *x, const uint8_t *w, uint32_t groups, float *p) {
#define EQ_START(j) float p##j = 0.0f;
  EQ_EIGHT(EQ_START)
  for (; groups; groups--, x += 16, w += 8) {
    const uint32_t word = eq_load_any(w) ^ 0x88888888u;
#define EQ_STEP(j) p##j += x[j] * nibble(word, j);
    EQ_EIGHT(EQ_STEP)
  }
#define EQ_STORE(j) p[j] = p##j;
  EQ_EIGHT(EQ_STORE)
}

static inline void eight_i8(const float *x, const uint8_t *w, uint32_t groups, float *p) {
  EQ_EIGHT(EQ_START)
  for (; groups; groups--, x += 16, w += 16) {
#define EQ_STEP8(j) p##j += x[j] * weight_i8(w, j);
    EQ_EIGHT(EQ_STEP8)
  }
  EQ_EIGHT(EQ_STORE)
}

static inline EQ_INLINE float dot(const float *x, const uint8_t *w, uint32_t k, bool four_bits) {
  float p[16];
  const uint32_t groups = k / 16, done = 16 * groups;
  if (four_bits) {
    eight_i4(x, w, groups, p);
    eight_i4(x + 8, w + 4, groups, p + 8);
  } else {
    eight_i8(x, w, groups, p);
    eight_i8(x + 8, w + 8, groups, p + 8);
  }
  for (uint32_t i = done; i < k; i++) p[i - done] += x[i] * (four_bits ? weight_i4(w, i) : weight_i8(w, i));
  return fold(p, k);
}

/* Fewer than sixteen: no sum has two terms. */
static inline EQ_INLINE float dot_few(const float *x, const uint8_t *w, uint32_t k, bool four_bits) {
  float p[16];
  p[0] = p[1] = p[2] = p[3] = 0.0f;
  for (uint32_t i = 0; i < k; i++) p[i] = 0.0f + x[i] * (four_bits ? weight_i4(w, i) : weight_i8(w, i));
  return fold(p, k);
}

uint64_t eq_linear_f32_mcu_scratch(const eq_linear *op, const eq_epilogue *e) {
  return eq_pixels_bytes(e, op->o) + op->k * (uint64_t)sizeof(float);
}

static inline EQ_INLINE void linear(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w,
                                    size_t w_row, bool four_bits, const eq_epilogue *e, void *scratch) {
  float *const row = scratch;
  const eq_pixels out = eq_pixels_begin(e, op->m, 1, 1, op->o, row + op->k);
  for (uint32_t m = 0; m < op->m; m++, x += op->k) {
    eq_quantise_pixels(q, x, 1, op->k, row);
    const uint8_t *weights = w;
    for (uint32_t first = 0, count; first < op->o; first += count) {
      count = op->o - first < EQ_CHANNELS ? op->o - first : EQ_CHANNELS;
      for (uint32_t i = 0; i < count; i++, weights += w_row)
        out.cells[i].f = op->k < 16 ? dot_few(row, weights, op->k, four_bits) : dot(row, weights, op->k, four_bits);
      eq_put_f32(&out, &out.cells->f, m, 0, 0, first, count);
    }
  }
}

void eq_linear_i8f32_mcu(const eq_linear *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                         void *scratch) {
  linear(op, x, q, (const uint8_t *)w, op->k, false, e, scratch);
}

void eq_linear_i4f32_mcu(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w, const eq_epilogue *e,
                         void *scratch) {
  linear(op, x, q, w, eq_row_bytes(4 * op->k), true, e, scratch);
}
