#include "tokens.h"

#include "core/half.h"

static float sign_of(unsigned one) { return one ? 1.0f : -1.0f; }

void eq_embedding_b1_ref(const eq_lookup *op, const uint8_t *w, const float *scale, float *out) {
  const size_t bytes = eq_row_bytes(op->k);
  for (size_t i = 0; i < op->count; i++)
    for (uint32_t j = 0; j < op->k; j++)
      *out++ = scale[op->ids[i]] * sign_of(eq_bit(w + (size_t)op->ids[i] * bytes, j));
}

void eq_embedding_t2_ref(const eq_lookup *op, const uint8_t *w, const float *scale, float *out) {
  const size_t bytes = eq_row_bytes(op->k);
  for (size_t i = 0; i < op->count; i++) {
    const uint8_t *sign = w + (size_t)op->ids[i] * bytes, *nonzero = sign + op->rows * bytes;
    for (uint32_t j = 0; j < op->k; j++)
      *out++ = eq_bit(nonzero, j) ? scale[op->ids[i]] * sign_of(eq_bit(sign, j)) : 0.0f;
  }
}

void eq_embedding_i8_ref(const eq_lookup *op, const int8_t *w, const float *scale, float *out) {
  for (size_t i = 0; i < op->count; i++)
    for (uint32_t j = 0; j < op->k; j++) *out++ = (float)w[(size_t)op->ids[i] * op->k + j] * scale[op->ids[i]];
}

static unsigned nibble(const uint8_t *row, size_t i) { return ((unsigned)row[i / 2] >> (4 * (i % 2))) & 15u; }

static float zero_of(const eq_weights_i4 *w, size_t row, size_t group, size_t groups) {
  switch (w->zero_kind) {
  case EQ_ZERO_U4: return (float)nibble((const uint8_t *)w->zero + row * ((groups + 1) / 2), group);
  case EQ_ZERO_F16: return eq_half(((const uint16_t *)w->zero)[row * groups + group]);
  case EQ_ZERO_EIGHT: break;
  }
  return 8.0f;
}

void eq_embedding_i4_ref(const eq_lookup *op, const eq_weights_i4 *w, float *out) {
  const size_t bytes = eq_row_bytes(4 * op->k), groups = (op->k - 1) / w->group + 1;
  for (size_t i = 0; i < op->count; i++) {
    const size_t row = (size_t)op->ids[i];
    for (uint32_t j = 0; j < op->k; j++) {
      const size_t g = j / w->group;
      const float code = (float)nibble(w->codes + row * bytes, j);
      *out++ = (code - zero_of(w, row, g, groups)) * eq_half(w->scale[row * groups + g]);
    }
  }
}

/* Sixteen interleaved partial sums of z - mean, or of its square, folded pairwise. */
static float sum(const eq_norm *op, size_t row, float mean, bool squared) {
  float p[16] = {0.0f};
  for (uint32_t i = 0; i < op->k; i++) {
    const float z = eq_norm_input(op, row, i) - mean;
    p[i % 16] += squared ? z * z : z;
  }
  return eq_fold(p);
}

void eq_layer_norm_ref(const eq_norm *op, size_t begin, size_t end) {
  const size_t bytes = eq_row_bytes(op->k), plane = op->rows * bytes;
  const float k = (float)op->k;
  for (size_t row = begin; row < end; row++) {
    uint8_t *bits = op->out_bits ? op->out_bits + row * bytes : (uint8_t *)0;
    uint8_t *t2 = op->out_t2 ? op->out_t2 + row * bytes : (uint8_t *)0;
    for (size_t b = 0; b < bytes; b++) {
      if (bits) bits[b] = 0;
      if (t2) t2[b] = t2[plane + b] = 0;
    }
    const float mean = sum(op, row, 0.0f, false) / k, var = sum(op, row, mean, true) / k;
    const float factor = 1.0f / __builtin_sqrtf(var + op->eps);
    for (uint32_t i = 0; i < op->k; i++) {
      const float y = ((eq_norm_input(op, row, i) - mean) * factor) * op->gamma[i] + op->beta[i];
      const float threshold = op->threshold ? op->threshold[i] : 0.0f;
      if (op->out) op->out[row * op->k + i] = y;
      if (bits && y >= threshold) eq_set_bit(bits, i);
      if (t2 && y > threshold) eq_set_bit(t2, i);
      if (t2 && y != threshold) eq_set_bit(t2 + plane, i);
    }
  }
}
