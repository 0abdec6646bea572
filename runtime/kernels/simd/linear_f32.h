/* Dot products of floats with 8- and 4-bit and float weights in sixteen interleaved sums, and fake quantisation. */
#include "declare.h"

enum { ROWS = 4 }; /* outputs that share a read of x and hide each other's latency */

typedef enum { OF_I8, OF_I4, OF_F32 } weight_kind;

INLINE v16 weights(const uint8_t *row, uint32_t k, weight_kind kind) {
  if (kind == OF_F32) return v16_load((const float *)(const void *)row + k);
  return kind == OF_I4 ? v16_of_i4(row + k / 2) : v16_of_i8((const int8_t *)row + k);
}

/* The last, incomplete sixteen. Past k x is 0, so that any weight adds nothing there; what is left of a row of 4 bits
 * is a whole number of bytes, 1, 2, 4 or 8. */
INLINE v16 last_weights(const uint8_t *row, size_t w_row, uint32_t k, uint32_t end, weight_kind kind) {
  if (kind == OF_F32) return v16_load_n((const float *)(const void *)row + k, end - k);
  uint8_t w[EQ_LANES] = {0};
  if (kind == OF_I8) {
    for (uint32_t i = k; i < end; i++) w[i - k] = row[i];
    return v16_of_i8((const int8_t *)w);
  }
  const uint8_t *from = row + k / 2;
  switch (w_row - k / 2) {
  case 1: w[0] = *from; break;
  case 2: __builtin_memcpy(w, from, 2); break;
  case 4: __builtin_memcpy(w, from, 4); break;
  default: return v16_of_i4(from);
  }
  return v16_of_i4(w);
}

INLINE void dots(const float *x, const uint8_t *w, size_t w_row, uint32_t k, uint32_t rows, weight_kind kind,
                 float *acc) {
  v16 sum[ROWS];
  for (uint32_t r = 0; r < ROWS; r++) sum[r] = v16_set(0.0f);
  uint32_t i = 0;
  for (; i + EQ_LANES <= k; i += EQ_LANES) {
    const v16 value = v16_load(x + i);
    for (uint32_t r = 0; r < rows; r++) sum[r] = v16_add(sum[r], v16_mul(value, weights(w + r * w_row, i, kind)));
  }
  if (i < k)
    for (uint32_t r = 0; r < rows; r++)
      sum[r] = v16_add(sum[r], v16_mul(v16_load(x + i), last_weights(w + r * w_row, w_row, i, k, kind)));
  float folded[ROWS];
  v16_fold_four(sum, folded); /* as linear_i8f32 defines: 8, 4, 2, 1 */
  for (uint32_t r = 0; r < rows; r++) acc[r] = folded[r];
}

INLINE void all_dots(const float *x, const uint8_t *w, size_t w_row, uint32_t k, uint32_t outputs, weight_kind kind,
                     float *acc) {
  uint32_t o = 0;
  for (; o + ROWS <= outputs; o += ROWS) dots(x, w + o * w_row, w_row, k, ROWS, kind, acc + o);
  for (; o < outputs; o++) dots(x, w + o * w_row, w_row, k, 1, kind, acc + o);
}

void EQ_NAME(eq_dot_i8)(const float *x, const uint8_t *w, uint32_t k, uint32_t outputs, float *acc) {
  all_dots(x, w, k, k, outputs, OF_I8, acc);
}

void EQ_NAME(eq_dot_i4)(const float *x, const uint8_t *w, uint32_t k, uint32_t outputs, float *acc) {
  all_dots(x, w, eq_row_bytes(4 * k), k, outputs, OF_I4, acc);
}

void EQ_NAME(eq_dot_f32)(const float *x, const uint8_t *w, uint32_t k, uint32_t outputs, float *acc) {
  all_dots(x, w, k * sizeof(float), k, outputs, OF_F32, acc);
}

INLINE v16 quantised(eq_quant_kind kind, v16 x, v16 scale, v16 step, v16 top) {
  const v16 scaled = v16_mul(x, scale);
  if (kind == EQ_QUANT_POS) return v16_mul(v16_min(v16_max(v16_floor(scaled), v16_set(0.0f)), top), step);
  const v16 clipped = v16_min(v16_max(scaled, v16_sub(v16_set(0.0f), top)), top);
  return v16_mul(v16_floor(v16_add(clipped, v16_set(0.5f))), step);
}

void EQ_NAME(eq_quantise)(const eq_quant *q, const float *x, const float *scale, const float *step, size_t count,
                          float *out) {
  const v16 top = v16_set(q->top);
  size_t i = 0;
  for (; i + EQ_LANES <= count; i += EQ_LANES)
    v16_store(out + i, quantised(q->kind, v16_load(x + i), v16_load(scale + i), v16_load(step + i), top));
  if (i == count) return;
  const uint32_t n = (uint32_t)(count - i);
  v16_store_n(out + i, quantised(q->kind, v16_load_n(x + i, n), v16_load_n(scale + i, n), v16_load_n(step + i, n), top),
              n);
}
