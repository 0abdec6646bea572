#include "tokens.h"

/* Scores of one query, then their exponentials; returns 1 / sum. */
static float exponentials(const eq_attention *op, const eq_attention_floats *x, uint32_t batch, uint32_t head,
                          uint32_t query, float *e) {
  const float *q = x->q + ((size_t)batch * op->queries + query) * x->q_pitch + (size_t)head * op->d;
  const bool all = !eq_sees_any(op, batch, query);
  float most = -__builtin_inff(), part[16] = {0.0f};
  for (uint32_t j = 0; j < op->used; j++) {
    const float *k = x->k + ((size_t)batch * op->keys + j) * x->key_pitch + (size_t)head * op->d;
    float dot = 0.0f;
    for (uint32_t c = 0; c < op->d; c++) dot += q[c] * k[c];
    e[j] = dot * x->step;
    const bool seen = all ? j < eq_keys_allowed(op, query) : eq_sees(op, batch, query, j);
    if (seen && e[j] > most) most = e[j];
  }
  for (uint32_t j = 0; j < op->used; j++) {
    const bool seen = all ? j < eq_keys_allowed(op, query) : eq_sees(op, batch, query, j);
    e[j] = seen ? eq_exp(e[j] - most) : 0.0f;
    part[j % 16] += e[j];
  }
  return 1.0f / eq_fold(part);
}

void eq_attention_f32_ref(const eq_attention *op, const eq_attention_floats *x, float *out, float *e) {
  for (uint32_t b = 0; b < op->batch; b++)
    for (uint32_t i = 0; i < op->queries; i++)
      for (uint32_t h = 0; h < op->heads; h++) {
        const float inverse = exponentials(op, x, b, h, i, e);
        for (uint32_t c = 0; c < op->d; c++, out++) {
          float sum = 0.0f;
          for (uint32_t j = 0; j < op->used; j++)
            sum += e[j] * x->v[((size_t)b * op->keys + j) * x->key_pitch + (size_t)h * op->d + c];
          *out = sum * inverse;
        }
      }
}
