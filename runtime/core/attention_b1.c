#include "arena.h"
#include "attention.h"
#include "check.h"
#include "isa.h"
#include "kernels/ref/tokens.h"

typedef struct {
  int32_t *dots; /* [keys] */
  uint8_t *kept; /* [keys] */
} room;

static void plan(room *r, eq_arena *arena, const eq_attention *op) {
  r->dots = eq_take(arena, (uint64_t)op->keys * sizeof(int32_t));
  r->kept = eq_take(arena, op->keys);
}

static eq_status check(const eq_attention *op, uint32_t planes, const eq_keep *keep) {
  const eq_status status = eq_check_attention(op);
  if (status != EQ_OK) return status;
  if (!keep || (planes != 1 && planes != 2)) return EQ_BAD_ARGUMENT;
  switch (keep->kind) {
  case EQ_KEEP_POSITIVE:
  case EQ_KEEP_NEAR: return EQ_OK;
  case EQ_KEEP_SOFTMAX: return keep->step >= 0.0f && keep->cut >= 0.0f ? EQ_OK : EQ_BAD_ARGUMENT;
  default: return EQ_BAD_ARGUMENT;
  }
}

size_t eq_attention_b1_scratch(const eq_attention *op, uint32_t planes, const eq_keep *keep,
                               const eq_threads *threads) {
  (void)threads;
  if (check(op, planes, keep) != EQ_OK) return 0;
  room r;
  eq_arena arena = {0};
  plan(&r, &arena, op);
  return eq_arena_bytes(&arena);
}

eq_status eq_attention_b1(const eq_attention *op, uint32_t planes, const uint8_t *q, const uint8_t *k, const uint8_t *v,
                          const eq_keep *keep, const eq_context *to, const eq_threads *threads, void *scratch,
                          size_t scratch_bytes) {
  const eq_status status = check(op, planes, keep);
  if (status != EQ_OK) return status;
  if (!q || !k || !v || !to || (!to->out && !to->out_t2) || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_attention_b1_scratch(op, planes, keep, threads))) return EQ_NO_SCRATCH;
  room r;
  eq_arena arena = {.base = scratch};
  plan(&r, &arena, op);
  eq_attention_b1_ref(op, planes, q, k, v, keep, to, r.dots, r.kept);
  return EQ_OK;
}
