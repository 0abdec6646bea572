/* int8 weights tiled ahead against int8 activations; without tiles see conv2d_i8.c. */
#include "check.h"
#include "integer.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "tiled.h"
#include "tiles_i8.h"

typedef struct {
  eq_tiled tiled;
  const eq_integer_kernels *kernels;
  eq_linear op;
  const void *packed;
  const int8_t *x;
  size_t pitch;   /* of the activations, whole steps */
  uint8_t *bytes; /* [m][pitch], offset */
} linear;

enum { UNIT_ROWS = 24 }; /* so that sums, activations and a block of weights share the first-level cache */

static eq_conv2d pointwise(const eq_linear *op) {
  return (eq_conv2d){op->m, 1, 1, op->k, op->o, 1, 1, 1, 1, 0, 0, 1, 1, 1};
}

static void plan(linear *l, eq_arena *arena, const eq_linear *op, const eq_epilogue *e, const eq_threads *threads) {
  *l = (linear){.op = *op, .pitch = (size_t)eq_round_up(op->k, EQ_STEP)};
  const uint32_t channels = op->m <= EQ_FEW_ROWS ? EQ_CHANNELS : EQ_BLOCK;
  eq_tiled_plan(&l->tiled, arena, eq_kernels_current(), e, op->m, 1, 1, op->o, channels, 0, threads);
  l->tiled.lines_first = true;
  if (l->tiled.lines_per_unit > UNIT_ROWS) l->tiled.lines_per_unit = UNIT_ROWS;
  l->bytes = eq_take(arena, (uint64_t)op->m * l->pitch);
}

static void prepare(void *arg, size_t begin, size_t end, unsigned worker) {
  const linear *l = arg;
  const uint32_t k = l->op.k;
  const uint8_t offset = l->kernels->offset;
  (void)worker;
  for (size_t row = begin; row < end; row++) {
    uint8_t *to = l->bytes + row * l->pitch;
    l->kernels->shift(l->x + row * k, k, offset, to);
    __builtin_memset(to + k, offset, l->pitch - k);
  }
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc_memory, size_t pitch) {
  const linear *l = operands;
  int32_t *acc = acc_memory;
  for (uint32_t done = 0; done < tile->outputs; done += EQ_BLOCK) {
    const eq_packed_i8 w = eq_tiles_i8_block(l->packed, (tile->first + done) / EQ_BLOCK);
    const uint32_t left = tile->outputs - done;
    const eq_byte_patches rows = {
        .x = l->bytes + tile->line * l->pitch, .pixel = l->pitch, .rows = 1, .taps = 1, .steps = w.steps};
    const int8_t *at = w.tile;
    for (uint32_t half = 0; half < w.halves; half++, at += eq_tile_i8_bytes(w.steps)) {
      const int32_t *start = (const int32_t *)(const void *)(at + (size_t)EQ_BLOCK * w.steps * EQ_STEP);
      l->kernels->accumulate(&rows, tile->lines, at, start, half > 0, left < EQ_BLOCK ? left : EQ_BLOCK, acc + done,
                             pitch);
    }
  }
}

static eq_status check(const eq_linear *op, const void *tiles, const eq_epilogue *e) {
  const eq_status status = eq_check_linear(op);
  if (status != EQ_OK) return status;
  if (!tiles || (uintptr_t)tiles % EQ_ALIGN || !eq_tiles_i8_fit(tiles, op)) return EQ_BAD_ARGUMENT;
  return eq_check_epilogue(e, op->m, 1, 1, op->o, true);
}

size_t eq_linear_i8i8_tiled_scratch(const eq_linear *op, const void *tiles, const eq_epilogue *e,
                                    const eq_threads *threads) {
  if (check(op, tiles, e) != EQ_OK) return 0;
  linear l;
  eq_arena arena = {0};
  plan(&l, &arena, op, e, threads);
  return eq_arena_bytes(&arena);
}

eq_status eq_linear_i8i8_tiled(const eq_linear *op, const int8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(op, tiles, e);
  if (status != EQ_OK) return status;
  if (!x || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_linear_i8i8_tiled_scratch(op, tiles, e, threads))) return EQ_NO_SCRATCH;
  const eq_integer_kernels *kernels = eq_integer_current();
  if (!kernels) {
    const eq_conv2d as_conv = pointwise(op);
    const eq_weights weights = eq_tiles_i8_weights(tiles);
    eq_conv2d_i8_ref(&as_conv, x, &weights, e, scratch);
    return EQ_OK;
  }
  linear l;
  eq_arena arena = {.base = scratch};
  plan(&l, &arena, op, e, threads);
  l.kernels = kernels;
  l.packed = tiles;
  l.x = x;
  l.tiled.integer = true;
  l.tiled.operands = &l;
  l.tiled.accumulate = accumulate;
  eq_output_begin(&l.tiled.output);
  eq_share(threads, prepare, &l, op->m);
  eq_tiled_run(&l.tiled, threads);
  return EQ_OK;
}
