#include "tokens.h"

/* Softmax of one query over the keys that it sees; the other existing keys get 0. p [used]. */
static void softmax(const eq_attention *op, const eq_attention_codes *x, uint32_t batch, uint32_t head, uint32_t query,
                    float *p) {
  const size_t channels = (size_t)op->heads * op->d, token = (size_t)batch * op->queries + query;
  const int8_t *q = x->q + token * channels + (size_t)head * op->d;
  const bool all = !eq_sees_any(op, batch, query);
  float most = 0.0f, part[16] = {0.0f};
  bool first = true;
  for (uint32_t j = 0; j < op->used; j++) {
    const size_t key = (size_t)batch * op->keys + j;
    const int8_t *k = x->k + key * channels + (size_t)head * op->d;
    int32_t dot = 0;
    for (uint32_t c = 0; c < op->d; c++) dot += q[c] * k[c];
    p[j] = (float)dot * x->step_scores;
    if (!(all ? j < eq_keys_allowed(op, query) : eq_sees(op, batch, query, j))) continue;
    most = first || p[j] > most ? p[j] : most;
    first = false;
  }
  for (uint32_t j = 0; j < op->used; j++) {
    const bool seen = all ? j < eq_keys_allowed(op, query) : eq_sees(op, batch, query, j);
    p[j] = seen ? eq_exp(p[j] - most) : 0.0f;
    part[j % 16] += p[j];
  }
  const float sum = eq_fold(part);
  for (uint32_t j = 0; j < op->used; j++) p[j] = p[j] / sum;
}

typedef struct {
  float least, most;
} range;

static range widen(range r, const float *p, size_t count) {
  for (size_t i = 0; i < count; i++) {
    r.least = p[i] < r.least ? p[i] : r.least;
    r.most = p[i] > r.most ? p[i] : r.most;
  }
  return r;
}

static void context(const eq_attention *op, const eq_attention_codes *x, const eq_probability *q, range r,
                    const float *p, uint32_t batch, uint32_t head, float *out) {
  const size_t channels = (size_t)op->heads * op->d;
  const eq_code_of_p map = eq_map_p(q, r.least, r.most);
  for (uint32_t c = 0; c < op->d; c++) {
    int32_t weighted = 0, plain = 0;
    for (uint32_t j = 0; j < op->used; j++) {
      const int32_t v = x->v[((size_t)batch * op->keys + j) * channels + (size_t)head * op->d + c];
      weighted += eq_quantise_p(&map, p[j]) * v;
      plain += v;
    }
    const float y = (float)weighted * (map.unit * x->step_v);
    out[c] = map.shifted ? y + (float)plain * (map.shift * x->step_v) : y;
  }
}

void eq_attention_i8_ref(const eq_attention *op, const eq_attention_codes *x, const eq_probability *q, float *out,
                         float *p) {
  const size_t used = op->used, channels = (size_t)op->heads * op->d;
  const range none = {__builtin_inff(), -__builtin_inff()};
  const bool whole = eq_p_needs_range(q) && !q->per_row; /* all probabilities come before the first code */
  range all = none;
  for (int pass = whole ? 0 : 1; pass < 2; pass++) {
    float *row = p;
    for (uint32_t b = 0; b < op->batch; b++)
      for (uint32_t i = 0; i < op->queries; i++)
        for (uint32_t h = 0; h < op->heads; h++, row += whole ? used : 0) {
          if (!whole || pass == 0) softmax(op, x, b, h, i, row);
          if (whole && pass == 0) all = widen(all, row, used);
          if (pass == 1)
            context(op, x, q, whole ? all : widen(none, row, used), row, b, h,
                    out + ((size_t)b * op->queries + i) * channels + (size_t)h * op->d);
        }
  }
}
