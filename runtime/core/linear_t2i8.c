/* Ternary weights tiled ahead against int8 activations; without tiles see conv2d_i8.c. */
#include "check.h"
#include "choices.h"
#include "integer.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "tiled.h"
#include "tiles_t2.h"

typedef struct {
  eq_tiled tiled;
  const eq_integer_kernels *kernels;
  eq_linear op;
  const void *packed;
  const int8_t *x;
  size_t pitch;          /* of the activations, whole words */
  uint8_t *bytes;        /* [m][pitch], offset unless dots */
  int32_t *sums;         /* [m] of the activations, dots only */
  bool dots;             /* few rows, no int8 tile */
  uint32_t words, chunk; /* of a row; those expanded at once */
  uint8_t *tiles;        /* [workers] of tile_bytes: int8 weights, then starts */
  size_t tile_bytes;
  uint32_t *made; /* [workers][EQ_ALIGN / 4] first output + 1 of what its tile holds, if that is all words */
} linear;

enum { MADE_PITCH = EQ_ALIGN / sizeof(uint32_t) };

static eq_conv2d pointwise(const eq_linear *op) {
  return (eq_conv2d){op->m, 1, 1, op->k, op->o, 1, 1, 1, 1, 0, 0, 1, 1, 1};
}

/* kernels NULL: the reference, which needs less. */
static void plan(linear *l, eq_arena *arena, const eq_integer_kernels *kernels, const eq_linear *op,
                 const eq_epilogue *e, const eq_threads *threads) {
  const unsigned workers = eq_workers(threads);
  *l = (linear){.kernels = kernels, .op = *op, .pitch = (size_t)eq_round_up(op->k, EQ_T2_WORD)};
  l->dots = op->m <= eq_choice(EQ_CHOICE_T2_ROWS) && op->k <= EQ_T2_MOST_DOTS && kernels && kernels->dot_packed_t2;
  eq_tiled_plan(&l->tiled, arena, eq_kernels_current(), e, op->m, 1, 1, op->o,
                l->dots && op->m <= EQ_FEW_ROWS ? EQ_CHANNELS : EQ_BLOCK, 0, threads);
  l->tiled.lines_first = true;
  l->bytes = eq_take(arena, (uint64_t)op->m * l->pitch);
  l->sums = eq_take(arena, op->m * sizeof(int32_t));
  l->words = (uint32_t)(l->pitch / EQ_T2_WORD);
  /* tiles of all words serve many units; where there is only one, parts of them are made and used up in turn */
  const uint32_t fitting = eq_choice(EQ_CHOICE_T2_WORDS);
  l->chunk = l->words > fitting && l->tiled.lines_per_unit >= op->m ? fitting : l->words;
  l->tile_bytes = EQ_BLOCK * ((size_t)l->chunk * EQ_T2_WORD + sizeof(int32_t));
  if (!l->dots) l->tiles = eq_take(arena, (uint64_t)workers * l->tile_bytes);
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

/* Expands `words` words of the outputs of `tile`, unless this worker's tile holds them; its starts lie behind it. */
static int8_t *tile_for(const linear *l, const eq_tile *tile, uint32_t first, uint32_t words, int32_t **start) {
  uint8_t *memory = l->tiles + tile->worker * l->tile_bytes;
  uint32_t *made = l->made + tile->worker * MADE_PITCH;
  *start = (int32_t *)(void *)(memory + (size_t)EQ_BLOCK * l->chunk * EQ_T2_WORD);
  if (words == l->words && *made == tile->first + 1) return (int8_t *)memory;
  eq_packed_t2 from = eq_tiles_t2_block(l->packed, tile->first / EQ_BLOCK);
  from.codes += (size_t)first * EQ_BLOCK * 4;
  from.words = words;
  l->kernels->expand_t2(&from, (int8_t *)memory);
  for (uint32_t i = 0; i < EQ_BLOCK; i++) (*start)[i] = first ? 0 : -from.sums[i] * l->kernels->offset;
  *made = tile->first + 1;
  return (int8_t *)memory;
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc_memory, size_t pitch) {
  const linear *l = operands;
  const uint8_t *x = l->bytes + tile->line * l->pitch;
  int32_t *acc = acc_memory;
  if (l->dots) {
    for (uint32_t done = 0; done < tile->outputs; done += EQ_BLOCK) {
      const eq_packed_t2 w = eq_tiles_t2_block(l->packed, (tile->first + done) / EQ_BLOCK);
      l->kernels->dot_packed_t2(x, l->pitch, l->sums + tile->line, tile->lines, &w, acc + done, pitch);
    }
    return;
  }
  for (uint32_t first = 0; first < l->words; first += l->chunk) {
    const uint32_t words = l->words - first < l->chunk ? l->words - first : l->chunk;
    int32_t *start;
    const int8_t *w = tile_for(l, tile, first, words, &start);
    const eq_byte_patches rows = {.x = x + (size_t)first * EQ_T2_WORD,
                                  .pixel = l->pitch,
                                  .rows = 1,
                                  .taps = 1,
                                  .steps = words * EQ_T2_WORD_STEPS};
    (l->kernels->accumulate_ones ? l->kernels->accumulate_ones : l->kernels->accumulate)(
        &rows, tile->lines, w, start, first > 0, tile->outputs, acc, pitch);
  }
}

static eq_status check(const eq_linear *op, const void *tiles, const eq_epilogue *e) {
  const eq_status status = eq_check_linear(op);
  if (status != EQ_OK) return status;
  if (!tiles || (uintptr_t)tiles % EQ_ALIGN || !eq_tiles_t2_fit(tiles, op)) return EQ_BAD_ARGUMENT;
  return eq_check_epilogue(e, op->m, 1, 1, op->o, true);
}

size_t eq_linear_t2i8_tiled_scratch(const eq_linear *op, const void *tiles, const eq_epilogue *e,
                                    const eq_threads *threads) {
  if (check(op, tiles, e) != EQ_OK) return 0;
  linear l;
  eq_arena arena = {0};
  plan(&l, &arena, eq_integer_current(), op, e, threads);
  return eq_arena_bytes(&arena);
}

eq_status eq_linear_t2i8_tiled(const eq_linear *op, const int8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(op, tiles, e);
  if (status != EQ_OK) return status;
  if (!x || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_linear_t2i8_tiled_scratch(op, tiles, e, threads))) return EQ_NO_SCRATCH;
  const eq_integer_kernels *kernels = eq_integer_current();
  if (!kernels) {
    const eq_conv2d as_conv = pointwise(op);
    const eq_weights weights = eq_tiles_t2_weights(tiles);
    eq_conv2d_i8_ref(&as_conv, x, &weights, e, scratch);
    return EQ_OK;
  }
  linear l;
  eq_arena arena = {.base = scratch};
  plan(&l, &arena, kernels, op, e, threads);
  l.packed = tiles;
  l.x = x;
  l.tiled.integer = true;
  l.tiled.operands = &l;
  l.tiled.accumulate = accumulate;
  __builtin_memset(l.made, 0, eq_workers(threads) * EQ_ALIGN);
  eq_output_begin(&l.tiled.output);
  eq_share(threads, prepare, &l, op->m);
  eq_tiled_run(&l.tiled, threads);
  return EQ_OK;
}
