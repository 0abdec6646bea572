/* Powers of two tiled ahead against int8 activations; without tiles see conv2d_i8.c. */
#include "check.h"
#include "choices.h"
#include "integer.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "tiled.h"
#include "tiles_shift.h"

typedef struct {
  eq_tiled tiled;
  const eq_integer_kernels *kernels;
  eq_linear op;
  const void *packed;
  const int8_t *x;
  unsigned halves;
  size_t pitch;   /* of the activations, whole words */
  uint8_t *bytes; /* [m][pitch], offset unless dots */
  int32_t *sums;  /* [m] of the activations, dots only */
  bool dots;      /* few rows, no int8 tile */
  uint8_t *tiles; /* [workers] of tile_bytes: int8 weights by halves, then starts of the first and of the second */
  size_t half_bytes, tile_bytes;
  uint32_t *made; /* [workers][EQ_ALIGN / 4] first output + 1 of what its tile holds */
} linear;

enum { MADE_PITCH = EQ_ALIGN / sizeof(uint32_t) };
enum { UNIT_ROWS = 24 }; /* so that sums, activations and a block of weights share the first-level cache */

static eq_conv2d pointwise(const eq_linear *op) {
  return (eq_conv2d){op->m, 1, 1, op->k, op->o, 1, 1, 1, 1, 0, 0, 1, 1, 1};
}

/* kernels NULL: the reference, which needs less. */
static void plan(linear *l, eq_arena *arena, const eq_integer_kernels *kernels, const void *tiles, const eq_linear *op,
                 const eq_epilogue *e, const eq_threads *threads) {
  const unsigned workers = eq_workers(threads);
  *l = (linear){.kernels = kernels, .op = *op, .packed = tiles, .pitch = (size_t)eq_round_up(op->k, EQ_SHIFT_WORD)};
  l->dots = op->m <= eq_choice(EQ_CHOICE_SHIFT_ROWS);
  eq_tiled_plan(&l->tiled, arena, eq_kernels_current(), e, op->m, 1, 1, op->o,
                l->dots && op->m <= EQ_FEW_ROWS ? EQ_CHANNELS : EQ_BLOCK, 0, threads);
  l->tiled.lines_first = true;
  if (l->tiled.lines_per_unit > UNIT_ROWS) l->tiled.lines_per_unit = UNIT_ROWS;
  l->bytes = eq_take(arena, (uint64_t)op->m * l->pitch);
  l->sums = eq_take(arena, op->m * sizeof(int32_t));
  if (l->dots || !kernels) return;
  l->halves = eq_tiles_shift_block(tiles, 0).halves;
  l->half_bytes = EQ_BLOCK * l->pitch;
  l->tile_bytes = l->halves * l->half_bytes + 2 * EQ_BLOCK * sizeof(int32_t);
  l->tiles = eq_take(arena, (uint64_t)workers * l->tile_bytes);
  l->made = eq_take(arena, workers * EQ_ALIGN);
}

static void prepare(void *arg, size_t begin, size_t end, unsigned worker) {
  const linear *l = arg;
  const uint32_t k = l->op.k;
  const uint8_t offset = l->dots ? 0 : l->kernels->offset;
  (void)worker;
  for (size_t row = begin; row < end; row++) {
    const int8_t *x = l->x + row * k;
    uint8_t *to = l->bytes + row * l->pitch;
    l->kernels->shift(x, k, offset, to);
    __builtin_memset(to + k, offset, l->pitch - k);
    if (l->dots) l->kernels->sums(x, k, k, &l->sums[row]);
  }
}

/* Expands the outputs of `tile`, unless this worker's tiles hold them. */
static int8_t *tiles_for(const linear *l, const eq_tile *tile, int32_t **start) {
  uint8_t *memory = l->tiles + tile->worker * l->tile_bytes;
  uint32_t *made = l->made + tile->worker * MADE_PITCH;
  *start = (int32_t *)(void *)(memory + l->halves * l->half_bytes);
  if (*made == tile->first + 1) return (int8_t *)memory;
  const eq_packed_shift from = eq_tiles_shift_block(l->packed, tile->first / EQ_BLOCK);
  for (unsigned half = 0; half < l->halves; half++)
    l->kernels->expand_shift(&from, l->halves == 1 ? 0 : half + 1, (int8_t *)(memory + half * l->half_bytes));
  for (uint32_t i = 0; i < EQ_BLOCK; i++) (*start)[i] = -from.sums[i] * l->kernels->offset;
  __builtin_memset(*start + EQ_BLOCK, 0, EQ_BLOCK * sizeof **start);
  *made = tile->first + 1;
  return (int8_t *)memory;
}

static void add_ones(const linear *l, const eq_packed_shift *w, const uint8_t *x, uint32_t rows, int32_t *acc,
                     size_t pitch) {
  if (w->ones && w->halves == 1) l->kernels->add_ones(x, l->pitch, l->dots, rows, w, acc, pitch);
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc_memory, size_t pitch) {
  const linear *l = operands;
  const uint8_t *x = l->bytes + tile->line * l->pitch;
  int32_t *acc = acc_memory;
  if (l->dots) {
    for (uint32_t done = 0; done < tile->outputs; done += EQ_BLOCK) {
      const eq_packed_shift w = eq_tiles_shift_block(l->packed, (tile->first + done) / EQ_BLOCK);
      l->kernels->dot_packed_shift(x, l->pitch, l->sums + tile->line, tile->lines, &w, acc + done, pitch);
      add_ones(l, &w, x, tile->lines, acc + done, pitch);
    }
    return;
  }
  int32_t *start;
  const int8_t *w = tiles_for(l, tile, &start);
  const eq_byte_patches rows = {
      .x = x, .pixel = l->pitch, .rows = 1, .taps = 1, .steps = (uint32_t)(l->pitch / EQ_STEP)};
  for (unsigned half = 0; half < l->halves; half++)
    l->kernels->accumulate(&rows, tile->lines, w + half * l->half_bytes, start + half * EQ_BLOCK, half > 0,
                           tile->outputs, acc, pitch);
  const eq_packed_shift packed = eq_tiles_shift_block(l->packed, tile->first / EQ_BLOCK);
  add_ones(l, &packed, x, tile->lines, acc, pitch);
}

static eq_status check(eq_weight_type type, const eq_linear *op, const void *tiles, const eq_epilogue *e) {
  const eq_status status = eq_check_linear(op);
  if (status != EQ_OK) return status;
  if (!tiles || (uintptr_t)tiles % EQ_ALIGN || !eq_tiles_shift_fit(tiles, type, op)) return EQ_BAD_ARGUMENT;
  return eq_check_epilogue(e, op->m, 1, 1, op->o, true);
}

static size_t scratch_of(eq_weight_type type, const eq_linear *op, const void *tiles, const eq_epilogue *e,
                         const eq_threads *threads) {
  if (check(type, op, tiles, e) != EQ_OK) return 0;
  linear l;
  eq_arena arena = {0};
  plan(&l, &arena, eq_integer_current(), tiles, op, e, threads);
  return eq_arena_bytes(&arena);
}

static eq_status product(eq_weight_type type, const eq_linear *op, const int8_t *x, const void *tiles,
                         const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(type, op, tiles, e);
  if (status != EQ_OK) return status;
  if (!x || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, scratch_of(type, op, tiles, e, threads))) return EQ_NO_SCRATCH;
  const eq_integer_kernels *kernels = eq_integer_current();
  if (!kernels) {
    const eq_conv2d as_conv = pointwise(op);
    const eq_weights weights = eq_tiles_shift_weights(tiles);
    eq_conv2d_i8_ref(&as_conv, x, &weights, e, scratch);
    return EQ_OK;
  }
  linear l;
  eq_arena arena = {.base = scratch};
  plan(&l, &arena, kernels, tiles, op, e, threads);
  l.x = x;
  l.tiled.integer = true;
  l.tiled.operands = &l;
  l.tiled.accumulate = accumulate;
  if (l.made) __builtin_memset(l.made, 0, eq_workers(threads) * EQ_ALIGN);
  eq_output_begin(&l.tiled.output);
  eq_share(threads, prepare, &l, op->m);
  eq_tiled_run(&l.tiled, threads);
  return EQ_OK;
}

#define EQ_SHIFT_LINEAR(name, type)                                                                                    \
  size_t eq_linear_##name##i8_tiled_scratch(const eq_linear *op, const void *tiles, const eq_epilogue *e,              \
                                            const eq_threads *threads) {                                               \
    return scratch_of(type, op, tiles, e, threads);                                                                    \
  }                                                                                                                    \
  eq_status eq_linear_##name##i8_tiled(const eq_linear *op, const int8_t *x, const void *tiles, const eq_epilogue *e,  \
                                       const eq_threads *threads, void *scratch, size_t scratch_bytes) {               \
    return product(type, op, x, tiles, e, threads, scratch, scratch_bytes);                                            \
  }
EQ_SHIFT_LINEAR(s2, EQ_S2)
EQ_SHIFT_LINEAR(s3, EQ_S3)
EQ_SHIFT_LINEAR(s4, EQ_S4)
