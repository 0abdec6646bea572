/* What every version of attention asks: which keys exist, which a query sees, and how a probability becomes a code. */
#ifndef EQ_CORE_ATTENTION_H
#define EQ_CORE_ATTENTION_H

#include "edgeq/attention.h"
#include "functions.h"

eq_status eq_check_attention(const eq_attention *op);

/* Keys [0, n) that causal allows query i. */
static inline uint32_t eq_keys_allowed(const eq_attention *op, uint32_t query) {
  return op->causal ? op->used - op->queries + query + 1 : op->used;
}

static inline bool eq_sees(const eq_attention *op, uint32_t batch, uint32_t query, uint32_t key) {
  return key < eq_keys_allowed(op, query) && (!op->mask || op->mask[(size_t)batch * op->keys + key]);
}

static inline bool eq_sees_any(const eq_attention *op, uint32_t batch, uint32_t query) {
  const uint32_t allowed = eq_keys_allowed(op, query);
  for (uint32_t j = 0; j < allowed; j++)
    if (eq_sees(op, batch, query, j)) return true;
  return false;
}

/* c = clip(rint((p - shift) / divisor * factor), 0, top), meaning unit * c, + shift if it is shifted. */
typedef struct {
  float shift, divisor, factor, top, unit;
  bool shifted;
} eq_code_of_p;

static inline eq_code_of_p eq_map_p(const eq_probability *q, float least, float most) {
  const float top = (float)q->top;
  switch (q->kind) {
  case EQ_P_UNIT: return (eq_code_of_p){0.0f, 1.0f, top, top, 1.0f / top, false};
  case EQ_P_SHIFT: return (eq_code_of_p){least, q->step, 1.0f, top, q->step, true};
  case EQ_P_RANGE: {
    const float range = (most - least) + 1e-8f;
    return (eq_code_of_p){least, range, top, top, range / top, true};
  }
  case EQ_P_STEP: break;
  }
  return (eq_code_of_p){0.0f, q->step, 1.0f, top, q->step, false};
}

/* Does a code depend on more than its own probability? */
static inline bool eq_p_needs_range(const eq_probability *q) { return q->kind == EQ_P_SHIFT || q->kind == EQ_P_RANGE; }

/* Clipped first, which changes nothing, because the ends are whole; NaN becomes 0. */
static inline int32_t eq_quantise_p(const eq_code_of_p *map, float p) {
  float x = (p - map->shift) / map->divisor * map->factor;
  x = x > 0.0f ? x : 0.0f;
  x = x < map->top ? x : map->top;
  return (int32_t)eq_round_even(x);
}

#endif
