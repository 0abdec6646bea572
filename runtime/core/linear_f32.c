/* linear_i8f32 and linear_i4f32: the same road with another dot product. */
#include "check.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "tiled.h"

typedef struct {
  eq_tiled tiled;
  const eq_kernels *kernels;
  eq_linear op;
  const uint8_t *w;
  size_t w_row, x_pitch;
  bool four_bits;
  float *x; /* [m][k padded with zeros], fake-quantised */
} linear;

static void plan(linear *l, eq_arena *arena, const eq_kernels *kernels, const eq_linear *op, bool four_bits,
                 const eq_epilogue *e, const eq_threads *threads) {
  *l = (linear){.kernels = kernels, .op = *op, .four_bits = four_bits};
  l->w_row = four_bits ? eq_row_bytes(4 * op->k) : op->k;
  l->x_pitch = (size_t)eq_round_up(op->k, EQ_LANES);
  eq_tiled_plan(&l->tiled, arena, kernels, e, op->m, 1, 1, op->o, EQ_CHANNELS, 0, threads);
  l->x = eq_take(arena, (uint64_t)op->m * l->x_pitch * sizeof(float));
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc, size_t pitch) {
  const linear *l = operands;
  const uint8_t *w = l->w + tile->first * l->w_row;
  for (uint32_t i = 0; i < tile->lines; i++) {
    const float *x = l->x + (tile->line + i) * l->x_pitch;
    float *to = (float *)acc + i * pitch;
    if (l->four_bits)
      l->kernels->dot_i4(x, w, l->op.k, tile->outputs, to);
    else
      l->kernels->dot_i8(x, w, l->op.k, tile->outputs, to);
  }
}

static eq_status check(const eq_linear *op, const eq_epilogue *e, bool four_bits) {
  const eq_status status = eq_check_linear(op);
  if (status != EQ_OK) return status;
  if (four_bits && op->k > INT32_MAX / 4) return EQ_BAD_SHAPE;
  return eq_check_epilogue(e, op->m, 1, 1, op->o, false);
}

static size_t scratch_size(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads, bool four_bits) {
  if (check(op, e, four_bits) != EQ_OK) return 0;
  linear l;
  eq_arena arena = {0};
  plan(&l, &arena, (const eq_kernels *)0, op, four_bits, e, threads);
  return eq_arena_bytes(&arena);
}

static void quantise(const linear *l, const eq_quant *q, const float *x) {
  for (uint32_t m = 0; m < l->op.m; m++) {
    const float *from = x + (size_t)m * l->op.k;
    float *to = l->x + m * l->x_pitch;
    if (q->kind == EQ_QUANT_NONE)
      __builtin_memcpy(to, from, l->op.k * sizeof(float));
    else
      l->kernels->quantise(q, from, q->scale, q->step, l->op.k, to);
    for (size_t i = l->op.k; i < l->x_pitch; i++) to[i] = 0.0f;
  }
}

static eq_status run(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w, const eq_epilogue *e,
                     const eq_threads *threads, void *scratch, size_t scratch_bytes, bool four_bits) {
  const eq_status status = check(op, e, four_bits);
  if (status != EQ_OK) return status;
  if (!x || !w || !eq_threads_ok(threads) || eq_check_quant(q) != EQ_OK) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, scratch_size(op, e, threads, four_bits))) return EQ_NO_SCRATCH;
  const eq_kernels *kernels = eq_kernels_current();
  if (!kernels) {
    if (four_bits)
      eq_linear_i4f32_ref(op, x, q, w, e, scratch);
    else
      eq_linear_i8f32_ref(op, x, q, (const int8_t *)w, e, scratch);
    return EQ_OK;
  }
  linear l;
  eq_arena arena = {.base = scratch};
  plan(&l, &arena, kernels, op, four_bits, e, threads);
  l.w = w;
  l.tiled.operands = &l;
  l.tiled.accumulate = accumulate;
  quantise(&l, q, x);
  eq_output_begin(&l.tiled.output);
  eq_tiled_run(&l.tiled, threads);
  return EQ_OK;
}

size_t eq_linear_i8f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads) {
  return scratch_size(op, e, threads, false);
}

eq_status eq_linear_i8f32(const eq_linear *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                          const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  return run(op, x, q, (const uint8_t *)w, e, threads, scratch, scratch_bytes, false);
}

size_t eq_linear_i4f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads) {
  return scratch_size(op, e, threads, true);
}

eq_status eq_linear_i4f32(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w,
                          const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  return run(op, x, q, w, e, threads, scratch, scratch_bytes, true);
}
