/* 4-bit weights in groups against int8 activations. */
#include "check.h"
#include "integer.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "tiled.h"

enum { MOST_INPUTS = (1 << 19) - 1 }; /* a group's sum, 15 * 128 * k and the same for its zero, stays below 2^31 */

static eq_status check(const eq_linear *op, const eq_weights_i4 *w, const eq_epilogue *e) {
  const eq_status status = eq_check_linear(op);
  if (status != EQ_OK) return status;
  if (!w || (unsigned)w->zero_kind > EQ_ZERO_F16) return EQ_BAD_ARGUMENT;
  if (op->k > MOST_INPUTS || w->group == 0 || (w->group % 32 && w->group != op->k)) return EQ_BAD_SHAPE;
  return eq_check_epilogue(e, op->m, 1, 1, op->o, false);
}

typedef struct {
  eq_tiled tiled;
  const eq_integer_kernels *kernels;
  eq_linear op;
  const eq_weights_i4 *w;
  const int8_t *x;
  const float *block_step;
  eq_rows_i4 rows; /* prepared activations */
  uint8_t *bytes;  /* rows.x, to be written */
  float *ones;     /* rows.ones, to be written */
  uint32_t steps, pieces, piece_steps;
  bool dots;      /* few rows against canonical codes */
  int32_t *sums;  /* [m][pieces] of the activations, dots only */
  uint8_t *tiles; /* [workers] of tile_bytes: int8 weights, starts, scales, zeros */
  size_t tile_bytes;
  uint32_t *made; /* [workers][EQ_ALIGN / 4] first output + 1 of what its tile holds */
} linear;

enum { FEW_ROWS = 1 }; /* up to here tiles cost more than they save */
enum { MADE_PITCH = EQ_ALIGN / sizeof(uint32_t) };

/* block_step given or not: planned for both where it is not known yet. */
static void plan(linear *l, eq_arena *arena, const eq_integer_kernels *kernels, const eq_linear *op,
                 const eq_weights_i4 *w, bool blocks, const eq_epilogue *e, const eq_threads *threads) {
  const unsigned workers = eq_workers(threads);
  *l = (linear){.kernels = kernels, .op = *op, .w = w};
  const uint32_t piece = blocks && w->group % EQ_CODES_BLOCK == 0 ? EQ_CODES_BLOCK : w->group;
  l->pieces = (op->k - 1) / piece + 1;
  l->steps = (uint32_t)(eq_round_up(op->k, 2 * EQ_STEP) / EQ_STEP);
  l->piece_steps = l->pieces == 1 ? l->steps : piece / EQ_STEP;
  l->rows.pitch = (size_t)l->steps * EQ_STEP;
  l->dots =
      op->m <= FEW_ROWS && piece == EQ_CODES_BLOCK && w->zero_kind != EQ_ZERO_F16 && (!kernels || kernels->dot_i4);
  const size_t x_pitch = l->dots ? (size_t)eq_round_up(op->k, EQ_CHUNK) : l->rows.pitch;
  eq_tiled_plan(&l->tiled, arena, eq_kernels_current(), e, op->m, 1, 1, op->o, EQ_BLOCK, 0, threads);
  l->tiled.lines_first = true;
  l->bytes = eq_take(arena, (uint64_t)op->m * x_pitch);
  if (l->dots) l->sums = eq_take(arena, (uint64_t)op->m * l->pieces * sizeof(int32_t));
  if (w->zero_kind == EQ_ZERO_F16) l->ones = eq_take(arena, (uint64_t)op->m * l->pieces * sizeof(float));
  const size_t arrays = w->zero_kind == EQ_ZERO_F16 ? 3 : 2;
  l->tile_bytes = (size_t)EQ_BLOCK * (l->rows.pitch + arrays * l->pieces * sizeof(float));
  l->tiles = eq_take(arena, (uint64_t)workers * l->tile_bytes);
  l->made = eq_take(arena, workers * EQ_ALIGN);
}

/* Each 128 inputs: 64 even ones, 64 odd ones. */
static void prepare_dots(const linear *l, size_t row) {
  const uint32_t k = l->op.k;
  const int8_t *x = l->x + row * k;
  int8_t *to = (int8_t *)l->bytes + row * (size_t)eq_round_up(k, EQ_CHUNK);
  __builtin_memset(to, 0, (size_t)eq_round_up(k, EQ_CHUNK));
  for (uint32_t i = 0; i < k; i++) to[i / EQ_CHUNK * EQ_CHUNK + i % 2 * (EQ_CHUNK / 2) + i % EQ_CHUNK / 2] = x[i];
  for (uint32_t p = 0; p < l->pieces; p++) {
    int32_t sum = 0;
    for (uint32_t i = p * EQ_CODES_BLOCK; i < k && i < (p + 1) * EQ_CODES_BLOCK; i++) sum += x[i];
    l->sums[row * l->pieces + p] = sum;
  }
}

/* The bytes of eight inputs in the order of a tile's steps: even ones, odd ones. */
static void prepare(void *arg, size_t begin, size_t end, unsigned worker) {
  const linear *l = arg;
  const uint32_t k = l->op.k, piece = l->piece_steps * EQ_STEP;
  (void)worker;
  for (size_t row = begin; row < end; row++) {
    if (l->dots) {
      prepare_dots(l, row);
      continue;
    }
    const int8_t *x = l->x + row * k;
    uint8_t *to = l->bytes + row * l->rows.pitch;
    const uint32_t whole = k / 8 * 8;
    l->kernels->split(x, whole, l->kernels->offset, to);
    if (whole < k) {
      int8_t last[8] = {0};
      __builtin_memcpy(last, x + whole, k - whole);
      l->kernels->split(last, 8, l->kernels->offset, to + whole);
    }
    for (uint32_t p = 0; l->ones && p < l->pieces; p++) {
      int32_t sum = 0;
      for (uint32_t i = p * piece; i < k && i < (p + 1) * piece; i++) sum += x[i];
      l->ones[row * l->pieces + p] = (float)sum;
    }
  }
}

/* A worker's tile, made if it holds something else. */
static eq_tile_i4 tile_for(const linear *l, const eq_tile *tile) {
  uint8_t *memory = l->tiles + tile->worker * l->tile_bytes;
  uint32_t *made = l->made + tile->worker * MADE_PITCH;
  eq_tile_i4 t = {.steps = l->steps, .pieces = l->pieces, .piece_steps = l->piece_steps};
  t.tile = (int8_t *)memory;
  t.start = (int32_t *)(void *)(memory + EQ_BLOCK * l->rows.pitch);
  t.scale = (float *)(void *)(t.start + (size_t)l->pieces * EQ_BLOCK);
  t.zero = l->w->zero_kind == EQ_ZERO_F16 ? t.scale + (size_t)l->pieces * EQ_BLOCK : (float *)0;
  if (l->dots) return t;
  if (*made != tile->first + 1) l->kernels->tile_i4(l->w, l->op.k, tile->first, tile->outputs, &t);
  *made = tile->first + 1;
  return t;
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc, size_t pitch) {
  const linear *l = operands;
  const eq_tile_i4 t = tile_for(l, tile);
  const size_t of = (size_t)tile->line * l->pieces;
  for (uint32_t i = 0; l->dots && i < tile->lines; i++)
    l->kernels->dot_i4((const int8_t *)l->bytes + (tile->line + i) * (size_t)eq_round_up(l->op.k, EQ_CHUNK),
                       l->block_step ? l->block_step + of + (size_t)i * l->pieces : (const float *)0,
                       l->sums + of + (size_t)i * l->pieces, l->w, l->op.k, tile->first, tile->outputs, &t,
                       (float *)acc + i * pitch);
  if (l->dots) return;
  const eq_rows_i4 rows = {.x = l->bytes + tile->line * l->rows.pitch,
                           .pitch = l->rows.pitch,
                           .step = l->block_step ? l->block_step + of : (const float *)0,
                           .ones = l->ones ? l->ones + of : (const float *)0};
  l->kernels->accumulate_i4(&rows, tile->lines, &t, tile->outputs, acc, pitch);
}

size_t eq_linear_i4i8_scratch(const eq_linear *op, const eq_weights_i4 *w, const eq_epilogue *e,
                              const eq_threads *threads) {
  if (check(op, w, e) != EQ_OK) return 0;
  linear l;
  eq_arena arena = {0};
  plan(&l, &arena, (const eq_integer_kernels *)0, op, w, true, e, threads);
  return eq_arena_bytes(&arena);
}

eq_status eq_linear_i4i8(const eq_linear *op, const int8_t *x, const float *block_step, const eq_weights_i4 *w,
                         const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(op, w, e);
  if (status != EQ_OK) return status;
  if (!x || !w->codes || !w->scale || (w->zero_kind != EQ_ZERO_EIGHT) != (w->zero != (const void *)0))
    return EQ_BAD_ARGUMENT;
  if (!eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (block_step && w->group % EQ_CODES_BLOCK) return EQ_BAD_SHAPE;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_linear_i4i8_scratch(op, w, e, threads))) return EQ_NO_SCRATCH;
  const eq_integer_kernels *kernels = eq_integer_current();
  if (!kernels) {
    eq_linear_i4i8_ref(op, x, block_step, w, e, scratch);
    return EQ_OK;
  }
  linear l;
  eq_arena arena = {.base = scratch};
  plan(&l, &arena, kernels, op, w, block_step != (const float *)0, e, threads);
  l.x = x;
  l.block_step = block_step;
  l.tiled.operands = &l;
  l.tiled.accumulate = accumulate;
  __builtin_memset(l.made, 0, eq_workers(threads) * EQ_ALIGN);
  eq_output_begin(&l.tiled.output);
  eq_share(threads, prepare, &l, op->m);
  eq_tiled_run(&l.tiled, threads);
  return EQ_OK;
}
