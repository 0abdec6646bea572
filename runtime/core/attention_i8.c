#include "arena.h"
#include "attention.h"
#include "check.h"
#include "isa.h"
#include "kernels/ref/tokens.h"

static eq_status check(const eq_attention *op, const eq_probability *p) {
  const eq_status status = eq_check_attention(op);
  if (status != EQ_OK) return status;
  if (!p || p->top < 1 || p->top > UINT8_MAX) return EQ_BAD_ARGUMENT;
  switch (p->kind) {
  case EQ_P_STEP:
  case EQ_P_SHIFT:
    if (!(p->step > 0.0f)) return EQ_BAD_ARGUMENT;
    break;
  case EQ_P_UNIT:
  case EQ_P_RANGE: break;
  default: return EQ_BAD_ARGUMENT;
  }
  const uint64_t held = eq_probabilities_held(op, p);
  return held <= INT32_MAX && (uint64_t)op->batch * op->heads <= INT32_MAX ? EQ_OK : EQ_BAD_SHAPE;
}

size_t eq_attention_i8_scratch(const eq_attention *op, const eq_probability *p, const eq_threads *threads) {
  (void)threads;
  if (check(op, p) != EQ_OK) return 0;
  eq_arena arena = {0};
  (void)eq_take(&arena, eq_probabilities_held(op, p) * sizeof(float));
  return eq_arena_bytes(&arena);
}

eq_status eq_attention_i8(const eq_attention *op, const eq_attention_codes *x, const eq_probability *p, float *out,
                          const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(op, p);
  if (status != EQ_OK) return status;
  if (!x || !x->q || !x->k || !x->v || !out || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_attention_i8_scratch(op, p, threads))) return EQ_NO_SCRATCH;
  eq_attention_i8_ref(op, x, p, out, scratch);
  return EQ_OK;
}
