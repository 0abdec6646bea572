/* Attention over floats. The keys of a head are turned, so that a register holds a channel of sixteen of them; its
 * values are put side by side, because rows of whole tokens would share few sets of the first-level cache. */
#include "arena.h"
#include "attention.h"
#include "check.h"
#include "isa.h"
#include "kernels/ref/tokens.h"
#include "tiled.h"

typedef struct {
  const eq_kernels *kernels;
  const eq_attention *op;
  const eq_attention_floats *x;
  float *out;
  uint32_t keys, pitch; /* `used` and d, padded */
  float *turned;        /* [workers][d][keys] */
  float *values;        /* [workers][used][pitch] */
  float *scores;        /* [workers][EQ_QUERIES][keys]; of the reference [used] */
  float *seen;          /* [workers][keys] */
} attention;

static void plan(attention *a, eq_arena *arena, const eq_attention *op, const eq_threads *threads) {
  const uint64_t workers = eq_workers(threads), keys = eq_round_up(op->used, EQ_LANES);
  const uint64_t pitch = eq_round_up(op->d, EQ_LANES);
  *a = (attention){.op = op, .keys = (uint32_t)keys, .pitch = (uint32_t)pitch};
  a->turned = eq_take(arena, workers * op->d * keys * sizeof(float));
  a->values = eq_take(arena, workers * op->used * pitch * sizeof(float));
  a->scores = eq_take(arena, workers * EQ_QUERIES * keys * sizeof(float));
  a->seen = eq_take(arena, workers * keys * sizeof(float));
}

/* Sixteen keys at a time: a line of each stays in the first-level cache. */
static void turn(const attention *a, const float *k, float *to) {
  const uint32_t d = a->op->d, used = a->op->used;
  const size_t pitch = a->x->key_pitch;
  for (uint32_t first = 0; first < a->keys; first += EQ_LANES, to += EQ_LANES) {
    const float *from = k + first * pitch;
    const uint32_t count = used - first < EQ_LANES ? used - first : EQ_LANES;
    for (uint32_t c = 0; c < d; c++) {
      float *keys = to + (size_t)c * a->keys;
      if (count == EQ_LANES)
        for (uint32_t j = 0; j < EQ_LANES; j++) keys[j] = from[j * pitch + c];
      else
        for (uint32_t j = 0; j < EQ_LANES; j++) keys[j] = j < count ? from[j * pitch + c] : 0.0f;
    }
  }
}

static void gather(const attention *a, const float *v, float *to) {
  const uint32_t d = a->op->d;
  for (uint32_t j = 0; j < a->op->used; j++, v += a->x->key_pitch, to += a->pitch) {
    __builtin_memcpy(to, v, d * sizeof *to);
    for (uint32_t c = d; c < a->pitch; c++) to[c] = 0.0f;
  }
}

/* Returns whether all are seen. */
static bool look(const attention *a, uint32_t batch, uint32_t query, float *seen) {
  const eq_attention *op = a->op;
  const uint32_t allowed = eq_keys_allowed(op, query);
  const bool any = eq_sees_any(op, batch, query);
  bool all = true;
  for (uint32_t j = 0; j < a->keys; j++) {
    const bool sees = j < allowed && (!any || eq_sees(op, batch, query, j));
    seen[j] = sees ? 1.0f : 0.0f;
    all = all && sees;
  }
  return all;
}

/* Heads [begin, end) of all images. */
static void attend(void *arg, size_t begin, size_t end, unsigned worker) {
  const attention *a = arg;
  const eq_attention *op = a->op;
  const eq_attention_floats *x = a->x;
  const size_t channels = (size_t)op->heads * op->d;
  float *turned = a->turned + (size_t)worker * op->d * a->keys, *seen = a->seen + (size_t)worker * a->keys;
  float *values = a->values + (size_t)worker * op->used * a->pitch;
  float *scores = a->scores + (size_t)worker * EQ_QUERIES * a->keys;
  const uint32_t together = op->causal ? 1 : op->queries; /* queries that see the same keys */
  eq_float_head head = {.d = op->d,
                        .used = op->used,
                        .keys = a->keys,
                        .keys_by_channel = turned,
                        .values = values,
                        .pitch = a->pitch,
                        .seen = seen,
                        .step = x->step};
  for (size_t index = begin; index < end; index++) {
    const uint32_t batch = (uint32_t)(index / op->heads);
    const size_t first = index % op->heads * op->d, from = (size_t)batch * op->keys * x->key_pitch + first;
    turn(a, x->k + from, turned);
    gather(a, x->v + from, values);
    for (uint32_t i = 0; i < op->queries; i += together) {
      const size_t token = (size_t)batch * op->queries + i;
      if (op->causal || index == begin || index % op->heads == 0) head.all = look(a, batch, i, seen);
      a->kernels->attend_f32(&head, x->q + token * x->q_pitch + first, x->q_pitch, together, scores,
                             a->out + token * channels + first, channels);
    }
  }
}

size_t eq_attention_f32_scratch(const eq_attention *op, const eq_threads *threads) {
  if (eq_check_attention(op) != EQ_OK) return 0;
  attention a;
  eq_arena arena = {0};
  plan(&a, &arena, op, threads);
  return eq_arena_bytes(&arena);
}

eq_status eq_attention_f32(const eq_attention *op, const eq_attention_floats *x, float *out, const eq_threads *threads,
                           void *scratch, size_t scratch_bytes) {
  const eq_status status = eq_check_attention(op);
  if (status != EQ_OK) return status;
  if (!x || !x->q || !x->k || !x->v || !out || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  const uint64_t channels = (uint64_t)op->heads * op->d;
  if (x->q_pitch < channels || x->key_pitch < channels) return EQ_BAD_SHAPE;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_attention_f32_scratch(op, threads))) return EQ_NO_SCRATCH;
  attention a;
  eq_arena arena = {.base = scratch};
  plan(&a, &arena, op, threads);
  a.kernels = eq_kernels_current();
  if (!a.kernels) {
    eq_attention_f32_ref(op, x, out, a.scores);
    return EQ_OK;
  }
  a.x = x;
  a.out = out;
  eq_share(threads, attend, &a, (size_t)op->batch * op->heads);
  return EQ_OK;
}
