#include "linear_tiled.h"
#include "check.h"
#include "isa.h"
#include "kernels/ref/ref.h"

/* kernels NULL: the reference, which needs less. */
static void plan(eq_linear_tiled *l, eq_arena *arena, const eq_linear_format *format, const eq_integer_kernels *kernels,
                 const eq_linear *op, const void *tiles, const eq_epilogue *e, const eq_threads *threads) {
  const unsigned workers = eq_workers(threads);
  *l = (eq_linear_tiled){.format = format,
                         .kernels = kernels,
                         .op = *op,
                         .packed = tiles,
                         .pitch = (size_t)eq_round_up(op->k, format->word)};
  l->dots = kernels && format->dots && format->dots(l);
  const bool as_they_are = l->dots || !format->room;
  eq_tiled_plan(&l->tiled, arena, eq_kernels_current(), e, op->m, 1, 1, op->o,
                as_they_are && op->m <= EQ_FEW_ROWS ? EQ_CHANNELS : EQ_BLOCK, 0, threads);
  l->tiled.lines_first = true;
  if (l->tiled.lines_per_unit > format->unit_rows) l->tiled.lines_per_unit = format->unit_rows;
  l->tiled.own = workers > 1 && op->m * l->pitch <= EQ_OWN_BYTES;
  l->own = l->tiled.own ? op->m : 0;
  const uint64_t rows = (uint64_t)op->m * (l->tiled.own ? workers : 1);
  l->bytes = eq_take(arena, rows * l->pitch);
  if (l->dots) l->sums = eq_take(arena, rows * sizeof(int32_t));
  if (as_they_are || !kernels) return;
  l->room = format->room(l);
  l->memory = eq_take(arena, (uint64_t)workers * l->room);
  l->made = eq_take(arena, workers * EQ_ALIGN);
}

static void prepare(const void *operands, size_t begin, size_t end, unsigned worker) {
  const eq_linear_tiled *l = operands;
  const uint32_t k = l->op.k;
  const uint8_t offset = l->dots ? 0 : l->kernels->offset;
  const size_t own = worker * l->own;
  for (size_t row = begin; row < end; row++) {
    const int8_t *x = l->x + row * k;
    uint8_t *to = l->bytes + (own + row) * l->pitch;
    l->kernels->shift(x, k, offset, to);
    __builtin_memset(to + k, offset, l->pitch - k);
    if (l->dots) l->kernels->sums(x, k, k, &l->sums[own + row]);
  }
}

static eq_status check(const eq_linear_format *format, const eq_linear *op, const void *tiles, const eq_epilogue *e) {
  const eq_status status = eq_check_linear(op);
  if (status != EQ_OK) return status;
  if (!tiles || (uintptr_t)tiles % EQ_ALIGN || !format->fit(tiles, op)) return EQ_BAD_ARGUMENT;
  return eq_check_epilogue(e, op->m, 1, 1, op->o, true);
}

size_t eq_linear_tiled_scratch(const eq_linear_format *format, const eq_linear *op, const void *tiles,
                               const eq_epilogue *e, const eq_threads *threads) {
  if (check(format, op, tiles, e) != EQ_OK) return 0;
  eq_linear_tiled l;
  eq_arena arena = {0};
  plan(&l, &arena, format, eq_integer_current(), op, tiles, e, threads);
  return eq_arena_bytes(&arena);
}

static eq_conv2d pointwise(const eq_linear *op) {
  return (eq_conv2d){op->m, 1, 1, op->k, op->o, 1, 1, 1, 1, 0, 0, 1, 1, 1};
}

eq_status eq_linear_tiled_run(const eq_linear_format *format, const eq_linear *op, const int8_t *x, const void *tiles,
                              const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(format, op, tiles, e);
  if (status != EQ_OK) return status;
  if (!x || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_linear_tiled_scratch(format, op, tiles, e, threads)))
    return EQ_NO_SCRATCH;
  const eq_integer_kernels *kernels = eq_integer_current();
  if (!kernels) {
    const eq_conv2d as_conv = pointwise(op);
    const eq_weights weights = format->canonical(tiles);
    eq_conv2d_i8_ref(&as_conv, x, &weights, e, scratch);
    return EQ_OK;
  }
  eq_linear_tiled l;
  eq_arena arena = {.base = scratch};
  plan(&l, &arena, format, kernels, op, tiles, e, threads);
  l.x = x;
  l.tiled.integer = true;
  l.tiled.operands = &l;
  l.tiled.prepare = prepare;
  l.tiled.accumulate = format->accumulate;
  if (l.made) __builtin_memset(l.made, 0, eq_workers(threads) * EQ_ALIGN);
  eq_output_begin(&l.tiled.output);
  eq_tiled_run(&l.tiled, threads);
  return EQ_OK;
}
