#include "ref.h"

static float weight_i8(const uint8_t *row, uint32_t k) { return (float)(int8_t)row[k]; }
static float weight_i4(const uint8_t *row, uint32_t k) { return (float)((row[k / 2] >> (4 * (k % 2)) & 15) - 8); }

/* Sixteen interleaved partial sums, folded pairwise: 8, 4, 2, 1. */
static float dot(const float *x, const eq_quant *q, const uint8_t *w, uint32_t k,
                 float (*weight)(const uint8_t *, uint32_t)) {
  float p[16] = {0.0f};
  for (uint32_t i = 0; i < k; i++) p[i % 16] += eq_quantise_ref(q, i, x[i]) * weight(w, i);
  for (uint32_t half = 8; half >= 1; half /= 2)
    for (uint32_t j = 0; j < half; j++) p[j] += p[j + half];
  return p[0];
}

static void linear(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w, size_t w_row,
                   float (*weight)(const uint8_t *, uint32_t), const eq_epilogue *e, float *row) {
  const eq_ref_sink sink = {e, op->m, 1, 1, op->o, row};
  for (uint32_t m = 0; m < op->m; m++)
    for (uint32_t o = 0; o < op->o; o++)
      eq_ref_put(&sink, m, 0, 0, o, dot(x + (size_t)m * op->k, q, w + o * w_row, op->k, weight));
}

void eq_linear_i8f32_ref(const eq_linear *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                         float *row) {
  linear(op, x, q, (const uint8_t *)w, op->k, weight_i8, e, row);
}

void eq_linear_i4f32_ref(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w, const eq_epilogue *e,
                         float *row) {
  linear(op, x, q, w, eq_row_bytes(4 * op->k), weight_i4, e, row);
}
