/* Layer normalisation of one row after the other: lane i holds the i-th of the sixteen partial sums. */
#include "declare.h"

INLINE void store_signs(uint8_t *to, uint32_t bits, uint32_t lanes) {
  bits &= (1u << lanes) - 1;
  to[0] = (uint8_t)bits;
  if (lanes > 8) to[1] = (uint8_t)(bits >> 8);
}

/* x + residual at `at`; lanes past the first `lanes` are 0. */
INLINE v16 input(const eq_norm *op, size_t at, uint32_t lanes) {
  const v16 x = lanes == EQ_LANES ? v16_load(op->x + at) : v16_load_n(op->x + at, lanes);
  if (!op->residual) return x;
  return v16_add(x, lanes == EQ_LANES ? v16_load(op->residual + at) : v16_load_n(op->residual + at, lanes));
}

/* Sixteen sums, folded 8, 4, 2, 1; `tail` holds the terms of the last, incomplete sixteen. */
INLINE float folded(v16 sum, v16 tail, uint32_t rest) {
  float p[EQ_LANES], t[EQ_LANES];
  v16_store(p, sum);
  v16_store(t, tail);
  for (uint32_t i = 0; i < rest; i++) p[i] += t[i];
  for (uint32_t half = 8; half >= 1; half /= 2)
    for (uint32_t i = 0; i < half; i++) p[i] += p[i + half];
  return p[0];
}

INLINE void normalise(const eq_norm *op, size_t row, uint32_t i, uint32_t lanes, v16 mean, v16 factor) {
  const bool full = lanes == EQ_LANES;
  const size_t at = row * op->k + i, byte = row * eq_row_bytes(op->k) + i / 8;
  const v16 gamma = full ? v16_load(op->gamma + i) : v16_load_n(op->gamma + i, lanes);
  const v16 beta = full ? v16_load(op->beta + i) : v16_load_n(op->beta + i, lanes);
  const v16 y = v16_add(v16_mul(v16_mul(v16_sub(input(op, at, lanes), mean), factor), gamma), beta);
  if (op->out && full) v16_store(op->out + at, y);
  if (op->out && !full) v16_store_n(op->out + at, y, lanes);
  if (!op->out_bits && !op->out_t2) return;
  v16 threshold = v16_set(0.0f);
  if (op->threshold) threshold = full ? v16_load(op->threshold + i) : v16_load_n(op->threshold + i, lanes);
  if (op->out_bits) store_signs(op->out_bits + byte, v16_ge(y, threshold), lanes);
  if (!op->out_t2) return;
  store_signs(op->out_t2 + byte, v16_gt(y, threshold), lanes);
  store_signs(op->out_t2 + op->rows * eq_row_bytes(op->k) + byte, v16_ne(y, threshold), lanes);
}

static void zero_padding(const eq_norm *op, size_t row) {
  const size_t bytes = eq_row_bytes(op->k), used = (op->k + 7) / 8;
  for (size_t b = row * bytes + used; b < (row + 1) * bytes; b++) {
    if (op->out_bits) op->out_bits[b] = 0;
    if (op->out_t2) op->out_t2[b] = op->out_t2[op->rows * bytes + b] = 0;
  }
}

void EQ_NAME(eq_layer_norm)(const eq_norm *op, size_t begin, size_t end) {
  const uint32_t whole = op->k / EQ_LANES * EQ_LANES, rest = op->k - whole;
  const float k = (float)op->k;
  for (size_t row = begin; row < end; row++) {
    const size_t at = row * op->k;
    const v16 last = rest ? input(op, at + whole, rest) : v16_set(0.0f);
    v16 sum = v16_set(0.0f), squares = sum;
    for (uint32_t i = 0; i < whole; i += EQ_LANES) sum = v16_add(sum, input(op, at + i, EQ_LANES));
    const v16 mean = v16_set(folded(sum, last, rest) / k);
    for (uint32_t i = 0; i < whole; i += EQ_LANES) {
      const v16 z = v16_sub(input(op, at + i, EQ_LANES), mean);
      squares = v16_add(squares, v16_mul(z, z));
    }
    const v16 z = v16_sub(last, mean);
    const float var = folded(squares, v16_mul(z, z), rest) / k;
    const v16 factor = v16_set(1.0f / __builtin_sqrtf(var + op->eps));
    for (uint32_t i = 0; i < whole; i += EQ_LANES) normalise(op, row, i, EQ_LANES, mean, factor);
    if (rest) normalise(op, row, whole, rest, mean, factor);
    if (op->out_bits || op->out_t2) zero_padding(op, row);
  }
}
