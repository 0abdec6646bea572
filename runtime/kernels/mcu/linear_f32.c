/* 8- and 4-bit weights against a fake-quantised row, which is quantised once. */
#include "lanes.h"
#include "mcu.h"
#include "popcount.h"
#include "quantise.h"

static uint32_t padded(uint32_t k) { return (k + 7) & ~7u; }

/* Weights i to i + 7 of a row of k; those past its end are anything. */
static inline const uint8_t *eight_weights(const uint8_t *row, uint32_t i, uint32_t k, bool four_bits, uint8_t *tail) {
  const uint32_t left = k - i;
  row += four_bits ? i / 2 : i;
  if (left >= 8) return row;
  for (uint32_t j = 0; j < (four_bits ? (left + 1) / 2 : left); j++) tail[j] = row[j];
  return tail;
}

/* Nibble j of eight; the code less 8 is the nibble with its upper bit turned, as a signed number. */
static inline float nibble(uint32_t turned, unsigned j) { return (float)((int32_t)(turned << (28 - 4 * j)) >> 28); }

/* Sixteen interleaved partial sums, folded pairwise: 8, 4, 2, 1. x is padded by zeros: sums that nothing else is added
 * to are 0 and change nothing. */
static inline EQ_INLINE float dot(const float *x, const uint8_t *w, uint32_t k, bool four_bits) {
  uint8_t tail[8] = {0};
  EQ_LANES;
  EQ_LANES_U;
#define START(j) v##j = u##j = 0.0f;
  EQ_EIGHT(START)
#define STEP4(j) t##j *= nibble(word, j);
#define STEP8(j) t##j *= (float)(int8_t)at[j];
#define SECOND(j) u##j += t##j;
#define EIGHT(add)                                                                                                     \
  {                                                                                                                    \
    const uint8_t *const at = eight_weights(w, i, k, four_bits, tail);                                                 \
    EQ_LOAD_T(x + i);                                                                                                  \
    if (four_bits) {                                                                                                   \
      const uint32_t word = eq_load_any(at) ^ 0x88888888u;                                                             \
      EQ_EIGHT(STEP4)                                                                                                  \
    } else {                                                                                                           \
      EQ_EIGHT(STEP8)                                                                                                  \
    }                                                                                                                  \
    EQ_EIGHT(add)                                                                                                      \
  }
  for (uint32_t i = 0; i < k; i += 16) EIGHT(EQ_ADD)
  for (uint32_t i = 8; i < k; i += 16) EIGHT(SECOND)
#define FOLD(j) v##j += u##j;
  EQ_EIGHT(FOLD)
  v0 += v4, v1 += v5, v2 += v6, v3 += v7;
  v0 += v2, v1 += v3;
  return v0 + v1;
}

uint64_t eq_linear_f32_mcu_scratch(const eq_linear *op, const eq_epilogue *e) {
  return eq_pixels_bytes(e, op->o) + padded(op->k) * (uint64_t)sizeof(float);
}

static inline EQ_INLINE void linear(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w,
                                    size_t w_row, bool four_bits, const eq_epilogue *e, void *scratch) {
  float *const row = scratch;
  eq_pixels out = eq_pixels_begin(e, 1, 1, op->o, row + padded(op->k));
  for (uint32_t m = 0; m < op->m; m++, x += op->k) {
    eq_quantise_pixels(q, x, 1, op->k, row);
    for (uint32_t k = op->k; k < padded(op->k); k++) row[k] = 0.0f;
    const uint8_t *weights = w;
    for (uint32_t first = 0, count; first < op->o; first += count) {
      count = op->o - first < EQ_CHANNELS ? op->o - first : EQ_CHANNELS;
      for (uint32_t i = 0; i < count; i++, weights += w_row) out.cells[i].f = dot(row, weights, op->k, four_bits);
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
