#include "tokens.h"

/* The value of one channel: -1, 0 or +1. */
static int32_t value(const uint8_t *row, size_t plane, uint32_t planes, size_t channel) {
  if (planes == 2 && !eq_bit(row + plane, channel)) return 0;
  return eq_bit(row, channel) ? 1 : -1;
}

typedef struct {
  const eq_attention *op;
  uint32_t planes;
  const uint8_t *q, *k, *v;
  const eq_keep *keep;
  size_t row, q_plane, k_plane;
} problem;

static int32_t dot(const problem *p, uint32_t batch, uint32_t head, uint32_t query, uint32_t key) {
  const eq_attention *op = p->op;
  const uint8_t *q = p->q + ((size_t)batch * op->queries + query) * p->row;
  const uint8_t *k = p->k + ((size_t)batch * op->keys + key) * p->row;
  int32_t sum = 0;
  for (size_t c = (size_t)head * op->d; c < (size_t)(head + 1) * op->d; c++)
    sum += value(q, p->q_plane, p->planes, c) * value(k, p->k_plane, p->planes, c);
  return sum;
}

/* kept[j] of all keys. dots [keys] is room to work in. */
static void keep_keys(const problem *p, uint32_t batch, uint32_t head, uint32_t query, int32_t *dots, uint8_t *kept) {
  const eq_attention *op = p->op;
  const bool all = p->keep->kind == EQ_KEEP_SOFTMAX && !eq_sees_any(op, batch, query);
  int32_t most = INT32_MIN;
  for (uint32_t j = 0; j < op->keys; j++) {
    kept[j] = all ? j < eq_keys_allowed(op, query) : eq_sees(op, batch, query, j);
    dots[j] = kept[j] ? dot(p, batch, head, query, j) : 0;
    if (kept[j] && dots[j] > most) most = dots[j];
  }
  float part[16] = {0.0f}, sum = 0.0f;
  if (p->keep->kind == EQ_KEEP_SOFTMAX) {
    for (uint32_t j = 0; j < op->keys; j++)
      if (kept[j]) part[j % 16] += eq_exp(-((float)(most - dots[j]) * p->keep->step));
    sum = eq_fold(part);
  }
  for (uint32_t j = 0; j < op->keys; j++) {
    if (!kept[j]) continue;
    switch (p->keep->kind) {
    case EQ_KEEP_POSITIVE: kept[j] = dots[j] > 0; break;
    case EQ_KEEP_NEAR: kept[j] = (uint32_t)(most - dots[j]) <= p->keep->margin; break;
    case EQ_KEEP_SOFTMAX: kept[j] = eq_exp(-((float)(most - dots[j]) * p->keep->step)) > p->keep->cut * sum; break;
    }
  }
}

void eq_attention_b1_ref(const eq_attention *op, uint32_t planes, const uint8_t *q, const uint8_t *k, const uint8_t *v,
                         const eq_keep *keep, const eq_context *to, int32_t *dots, uint8_t *kept) {
  const uint32_t channels = op->heads * op->d;
  const size_t row = eq_row_bytes(channels), plane = (size_t)op->batch * op->queries * row;
  const problem p = {op, planes, q, k, v, keep, row, plane, (size_t)op->batch * op->keys * row};
  for (uint32_t b = 0; b < op->batch; b++)
    for (uint32_t i = 0; i < op->queries; i++) {
      const size_t token = (size_t)b * op->queries + i;
      uint8_t *bits = to->out_t2 ? to->out_t2 + token * row : (uint8_t *)0;
      for (size_t byte = 0; bits && byte < row; byte++) bits[byte] = bits[plane + byte] = 0;
      for (uint32_t c = 0; c < channels; c++) {
        if (c % op->d == 0) keep_keys(&p, b, c / op->d, i, dots, kept);
        int32_t sum = 0;
        for (uint32_t j = 0; j < op->keys; j++)
          if (kept[j]) sum += value(v + ((size_t)b * op->keys + j) * row, p.k_plane, planes, c);
        const float y = (float)sum * to->scale, threshold = to->threshold ? to->threshold[c] : 0.0f;
        if (to->out) to->out[token * channels + c] = y;
        if (bits && y > threshold) eq_set_bit(bits, c);
        if (bits && y != threshold) eq_set_bit(bits + plane, c);
      }
    }
}
