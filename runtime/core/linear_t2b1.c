/* Ternary weights against signs as two binary products: with lower = the weights whose zeros are stored as -1 and
 * upper = those whose zeros are stored as +1, w = (lower + upper) / 2. */
#include "check.h"
#include "isa.h"
#include "kernels/ref/bits.h"
#include "raise_zeros.h"
#include "tiled.h"

typedef struct {
  eq_tiled tiled;
  const eq_kernels *kernels;
  eq_linear op;
  const uint8_t *x, *w;
  size_t row, padded_row; /* bytes of k bits, and of whole words */
  uint8_t *padded;        /* [m][padded_row], where a row is shorter than a word */
  uint8_t *upper;         /* [workers][EQ_BLOCK][row] */
  uint8_t *tiles;         /* [blocks][2][steps][EQ_BLOCK] words */
  int32_t *acc;           /* [workers][pixels][EQ_BLOCK] */
} linear;

static uint32_t steps(const linear *l) { return (uint32_t)(l->padded_row / sizeof(uint32_t)); }
static size_t tile_bytes(const linear *l) { return l->padded_row * EQ_BLOCK; }
static uint32_t blocks(const linear *l) { return (l->op.o - 1) / EQ_BLOCK + 1; }

static void plan(linear *l, eq_arena *arena, const eq_kernels *kernels, const eq_linear *op, const eq_epilogue *e,
                 const eq_threads *threads) {
  const uint64_t workers = eq_workers(threads);
  *l = (linear){.kernels = kernels, .op = *op, .row = eq_row_bytes(op->k)};
  l->padded_row = l->row < sizeof(uint32_t) ? sizeof(uint32_t) : l->row;
  eq_tiled_plan(&l->tiled, arena, kernels, e, op->m, 1, 1, op->o, EQ_CHANNELS, 0, threads);
  if (l->row < l->padded_row) l->padded = eq_take(arena, (uint64_t)op->m * l->padded_row);
  l->upper = eq_take(arena, workers * EQ_BLOCK * l->row);
  l->tiles = eq_take(arena, (uint64_t)blocks(l) * 2 * tile_bytes(l));
  l->acc = eq_take(arena, workers * l->tiled.pixels * EQ_BLOCK * sizeof(int32_t));
}

static void prepare(void *arg, size_t begin, size_t end, unsigned worker) {
  const linear *l = arg;
  uint8_t *upper = l->upper + worker * EQ_BLOCK * l->row;
  for (size_t i = begin; i < end; i++) {
    const uint32_t first = (uint32_t)i * EQ_BLOCK;
    const uint32_t outputs = l->op.o - first < EQ_BLOCK ? l->op.o - first : EQ_BLOCK;
    const uint8_t *w = l->w + first * l->row;
    const uint8_t *nonzero = w + l->op.o * l->row;
    for (uint32_t o = 0; o < outputs; o++)
      eq_raise_zeros(w + o * l->row, nonzero + o * l->row, l->op.k, l->row, upper + o * l->row);
    l->kernels->tile_b1(w, l->row, outputs, steps(l), l->tiles + 2 * i * tile_bytes(l));
    l->kernels->tile_b1(upper, l->row, outputs, steps(l), l->tiles + (2 * i + 1) * tile_bytes(l));
  }
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc_memory, size_t pitch) {
  const linear *l = operands;
  int32_t *upper = l->acc + tile->worker * l->tiled.pixels * EQ_BLOCK;
  const eq_bit_patches p = {.x = (l->padded ? l->padded : l->x) + tile->line * l->padded_row,
                            .pixel = l->padded_row,
                            .rows = 1,
                            .words = steps(l),
                            .steps = steps(l),
                            .k = (int32_t)l->op.k};
  for (uint32_t o = 0; o < tile->outputs; o += EQ_BLOCK) {
    const uint32_t outputs = tile->outputs - o < EQ_BLOCK ? tile->outputs - o : EQ_BLOCK;
    const uint8_t *tiles = l->tiles + 2 * ((tile->first + o) / EQ_BLOCK) * tile_bytes(l);
    int32_t *acc = (int32_t *)acc_memory + o;
    l->kernels->accumulate_b1(&p, tile->lines, tiles, outputs, acc, pitch);
    l->kernels->accumulate_b1(&p, tile->lines, tiles + tile_bytes(l), outputs, upper, EQ_BLOCK);
    for (uint32_t i = 0; i < tile->lines; i++)
      for (uint32_t j = 0; j < outputs; j++) acc[i * pitch + j] = (acc[i * pitch + j] + upper[i * EQ_BLOCK + j]) / 2;
  }
}

static eq_status check(const eq_linear *op, const eq_epilogue *e) {
  const eq_status status = eq_check_linear(op);
  return status == EQ_OK ? eq_check_epilogue(e, op->m, 1, 1, op->o, true) : status;
}

size_t eq_linear_t2b1_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads) {
  if (check(op, e) != EQ_OK) return 0;
  linear l;
  eq_arena arena = {0};
  plan(&l, &arena, (const eq_kernels *)0, op, e, threads);
  return eq_arena_bytes(&arena);
}

eq_status eq_linear_t2b1(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(op, e);
  if (status != EQ_OK) return status;
  if (!x || !w || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_linear_t2b1_scratch(op, e, threads))) return EQ_NO_SCRATCH;
  const eq_kernels *kernels = eq_kernels_current();
  if (!kernels) {
    eq_linear_t2b1_ref(op, x, w, e, scratch);
    return EQ_OK;
  }
  linear l;
  eq_arena arena = {.base = scratch};
  plan(&l, &arena, kernels, op, e, threads);
  l.x = x;
  l.w = w;
  l.tiled.integer = true;
  l.tiled.operands = &l;
  l.tiled.accumulate = accumulate;
  for (uint32_t m = 0; l.padded && m < op->m; m++) {
    __builtin_memset(l.padded + m * l.padded_row, 0, l.padded_row);
    __builtin_memcpy(l.padded + m * l.padded_row, x + m * l.row, l.row);
  }
  eq_output_begin(&l.tiled.output);
  eq_share(threads, prepare, &l, blocks(&l));
  eq_tiled_run(&l.tiled, threads);
  return EQ_OK;
}
