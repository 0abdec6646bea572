/* 4-bit weights in groups against int8 activations. */
#include "check.h"
#include "choices.h"
#include "integer.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "tiled.h"
#include "tiles_i4.h"

static eq_status check(const eq_linear *op, const eq_weights_i4 *w, const eq_epilogue *e) {
  const eq_status status = eq_check_linear(op);
  if (status != EQ_OK) return status;
  const eq_status described = eq_check_weights_i4(w, op->k);
  return described == EQ_OK ? eq_check_epilogue(e, op->m, 1, 1, op->o, false) : described;
}

typedef struct {
  eq_tiled tiled;
  const eq_integer_kernels *kernels;
  eq_linear op;
  const eq_weights_i4 *w; /* canonical, or what describes the tiles */
  const void *packed;     /* tiles made ahead, or NULL */
  const int8_t *x;
  const float *block_step;
  eq_rows_i4 rows; /* prepared activations */
  size_t own;      /* rows from one worker's to the next's; 0: all workers share them */
  uint8_t *bytes;  /* [workers or 1][m] rows.x, to be written */
  float *ones;     /* [workers or 1][m][pieces] rows.ones, to be written */
  uint32_t steps, pieces, piece_steps;
  bool dots;        /* few rows against canonical codes */
  bool packed_dots; /* few rows against packed ones */
  int32_t *sums;    /* [workers or 1][m][pieces] of the activations, dots only */
  uint8_t *tiles;   /* [workers] of tile_bytes: int8 weights, starts, scales, zeros */
  size_t tile_bytes;
  uint32_t *made; /* [workers][EQ_ALIGN / 4] first output + 1 of what its tile holds */
} linear;

enum { TOGETHER = 8 };
enum { MADE_PITCH = EQ_ALIGN / sizeof(uint32_t) };

/* Rows of a unit, made a multiple of what products like to take at once. */
static uint32_t together(uint32_t rows, uint32_t most) {
  const uint32_t whole = (rows + TOGETHER - 1) / TOGETHER * TOGETHER;
  return whole <= most ? whole : rows;
}

static void plan(linear *l, eq_arena *arena, const eq_integer_kernels *kernels, const eq_linear *op,
                 const eq_weights_i4 *w, const void *packed, bool blocks, const eq_epilogue *e,
                 const eq_threads *threads) {
  const unsigned workers = eq_workers(threads);
  *l = (linear){.kernels = kernels, .op = *op, .w = w, .packed = packed};
  const uint32_t piece = blocks && w->group % EQ_CODES_BLOCK == 0 ? EQ_CODES_BLOCK : w->group;
  l->pieces = (op->k - 1) / piece + 1;
  l->steps = (uint32_t)(eq_round_up(op->k, 2 * EQ_STEP) / EQ_STEP);
  l->piece_steps = l->pieces == 1 ? l->steps : piece / EQ_STEP;
  l->rows.pitch = (size_t)l->steps * EQ_STEP;
  l->dots = op->m <= eq_choice(EQ_CHOICE_I4_ROWS) && piece == EQ_CODES_BLOCK && w->zero_kind != EQ_ZERO_F16 &&
            kernels && kernels->dot_i4 && !packed;
  l->packed_dots = packed && op->m <= eq_choice(EQ_CHOICE_I4_TILED_ROWS) && l->piece_steps <= EQ_MOST_PIECE_STEPS &&
                   kernels && kernels->dot_packed_i4;
  const size_t x_pitch = l->dots ? (size_t)eq_round_up(op->k, EQ_CHUNK) : l->rows.pitch;
  eq_tiled_plan(&l->tiled, arena, eq_kernels_current(), e, op->m, 1, 1, op->o,
                l->packed_dots && op->m <= EQ_FEW_ROWS ? EQ_CHANNELS : EQ_BLOCK, 0, threads);
  l->tiled.lines_first = true;
  l->tiled.lines_per_unit = together(l->tiled.lines_per_unit, l->tiled.pixels);
  l->tiled.own = workers > 1 && op->m * x_pitch <= EQ_OWN_BYTES;
  l->own = l->tiled.own ? op->m : 0;
  const uint64_t rows = (uint64_t)op->m * (l->tiled.own ? workers : 1);
  l->bytes = eq_take(arena, rows * x_pitch);
  if (l->dots || l->packed_dots) l->sums = eq_take(arena, rows * l->pieces * sizeof(int32_t));
  if (w->zero_kind == EQ_ZERO_F16) l->ones = eq_take(arena, rows * l->pieces * sizeof(float));
  const size_t arrays = w->zero_kind == EQ_ZERO_F16 ? 3 : 2;
  l->tile_bytes = (size_t)EQ_BLOCK * (l->rows.pitch + arrays * l->pieces * sizeof(float));
  if (!l->packed_dots) l->tiles = eq_take(arena, (uint64_t)workers * l->tile_bytes);
  l->made = eq_take(arena, workers * EQ_ALIGN);
}

/* Each 128 inputs: 64 even ones, 64 odd ones. */
static void prepare_dots(const linear *l, size_t row, size_t own) {
  const uint32_t k = l->op.k;
  const int8_t *x = l->x + row * k;
  int8_t *to = (int8_t *)l->bytes + (own + row) * (size_t)eq_round_up(k, EQ_CHUNK);
  __builtin_memset(to, 0, (size_t)eq_round_up(k, EQ_CHUNK));
  for (uint32_t i = 0; i < k; i++) to[i / EQ_CHUNK * EQ_CHUNK + i % 2 * (EQ_CHUNK / 2) + i % EQ_CHUNK / 2] = x[i];
}

/* Of the activations of each piece. */
static void sum_up(const linear *l, size_t row, size_t own) {
  enum { MOST = 64 }; /* pieces at once */
  const uint32_t k = l->op.k, piece = l->piece_steps * EQ_STEP;
  for (uint32_t p = 0; p < l->pieces; p += MOST) {
    const uint32_t begin = p * piece, count = l->pieces - p < MOST ? l->pieces - p : MOST;
    int32_t sums[MOST];
    l->kernels->sums(l->x + row * k + begin, count < MOST ? k - begin : MOST * piece, piece, sums);
    const size_t at = (own + row) * l->pieces + p;
    if (l->sums) __builtin_memcpy(l->sums + at, sums, count * sizeof *sums);
    for (uint32_t i = 0; l->ones && i < count; i++) l->ones[at + i] = (float)sums[i];
  }
}

/* The bytes of eight inputs in the order of a tile's steps: even ones, odd ones. */
static void prepare(const void *operands, size_t begin, size_t end, unsigned worker) {
  const linear *l = operands;
  const uint32_t k = l->op.k;
  const uint8_t offset = l->packed_dots ? 0 : l->kernels->offset;
  const size_t own = worker * l->own;
  for (size_t row = begin; row < end; row++) {
    if (l->sums || l->ones) sum_up(l, row, own);
    if (l->dots) {
      prepare_dots(l, row, own);
      continue;
    }
    const int8_t *x = l->x + row * k;
    uint8_t *to = l->bytes + (own + row) * l->rows.pitch;
    const uint32_t whole = k / 8 * 8;
    l->kernels->split(x, whole, offset, to);
    if (whole < k) {
      int8_t last[8] = {0};
      __builtin_memcpy(last, x + whole, k - whole);
      l->kernels->split(last, 8, offset, to + whole);
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
  if (*made == tile->first + 1) return t;
  if (l->packed) {
    const eq_packed_i4 from = eq_tiles_i4_block(l->packed, tile->first / EQ_BLOCK);
    l->kernels->expand_i4(&from, &t);
  } else {
    l->kernels->tile_i4(l->w, l->op.k, tile->first, tile->outputs, &t);
  }
  *made = tile->first + 1;
  return t;
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc, size_t pitch) {
  const linear *l = operands;
  const size_t row = tile->worker * l->own + tile->line, prepared = row * l->pieces,
               of = (size_t)tile->line * l->pieces;
  if (l->packed_dots) {
    const eq_rows_i4 rows = {.x = l->bytes + row * l->rows.pitch,
                             .pitch = l->rows.pitch,
                             .step = l->block_step ? l->block_step + of : (const float *)0,
                             .sums = l->sums + prepared};
    for (uint32_t done = 0; done < tile->outputs; done += EQ_BLOCK) {
      const eq_packed_i4 weights = eq_tiles_i4_block(l->packed, (tile->first + done) / EQ_BLOCK);
      l->kernels->dot_packed_i4(&rows, tile->lines, &weights, l->pieces, l->piece_steps, (float *)acc + done, pitch);
    }
    return;
  }
  const eq_tile_i4 t = tile_for(l, tile);
  for (uint32_t i = 0; l->dots && i < tile->lines; i++)
    l->kernels->dot_i4((const int8_t *)l->bytes + (row + i) * (size_t)eq_round_up(l->op.k, EQ_CHUNK),
                       l->block_step ? l->block_step + of + (size_t)i * l->pieces : (const float *)0,
                       l->sums + prepared + (size_t)i * l->pieces, l->w, l->op.k, tile->first, tile->outputs, &t,
                       (float *)acc + i * pitch);
  if (l->dots) return;
  const float *out = l->tiled.output.e->out;
  eq_rows_i4 rows = {.x = l->bytes + row * l->rows.pitch,
                     .pitch = l->rows.pitch,
                     .step = l->block_step ? l->block_step + of : (const float *)0,
                     .ones = l->ones ? l->ones + prepared : (const float *)0,
                     .out = out ? out + (size_t)tile->line * l->op.o + tile->first : (const float *)0,
                     .out_pitch = l->op.o};
  if (l->packed && l->op.o - tile->first > EQ_BLOCK) {
    const eq_packed_i4 next = eq_tiles_i4_block(l->packed, tile->first / EQ_BLOCK + 1);
    rows.ahead = next.codes;
    rows.ahead_bytes = next.bytes;
  }
  l->kernels->accumulate_i4(&rows, tile->lines, &t, tile->outputs, acc, pitch);
}

static size_t scratch_for(const eq_linear *op, const eq_weights_i4 *w, const void *packed, const eq_epilogue *e,
                          const eq_threads *threads) {
  size_t most = 0;
  for (int blocks = w->group == EQ_CODES_BLOCK; blocks < 2; blocks++) { /* without steps of blocks, and with them */
    linear l;
    eq_arena arena = {0};
    plan(&l, &arena, eq_integer_current(), op, w, packed, blocks, e, threads);
    const size_t bytes = eq_arena_bytes(&arena);
    most = bytes > most ? bytes : most;
  }
  return most;
}

/* Of w and packed the second is used where it is given. */
static eq_status run(const eq_linear *op, const int8_t *x, const float *block_step, const eq_weights_i4 *w,
                     const void *packed, const eq_epilogue *e, const eq_threads *threads, void *scratch,
                     size_t scratch_bytes) {
  if (!x || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (block_step && w->group % EQ_CODES_BLOCK) return EQ_BAD_SHAPE;
  if (!eq_scratch_ok(scratch, scratch_bytes, scratch_for(op, w, packed, e, threads))) return EQ_NO_SCRATCH;
  const eq_integer_kernels *kernels = eq_integer_current();
  if (!kernels) {
    eq_linear_i4i8_ref(op, x, block_step, w, e, scratch);
    return EQ_OK;
  }
  linear l;
  eq_arena arena = {.base = scratch};
  plan(&l, &arena, kernels, op, w, packed, block_step != (const float *)0, e, threads);
  l.x = x;
  l.block_step = block_step;
  l.tiled.operands = &l;
  l.tiled.prepare = prepare;
  l.tiled.accumulate = accumulate;
  __builtin_memset(l.made, 0, eq_workers(threads) * EQ_ALIGN);
  eq_output_begin(&l.tiled.output);
  eq_tiled_run(&l.tiled, threads);
  return EQ_OK;
}

size_t eq_linear_i4i8_scratch(const eq_linear *op, const eq_weights_i4 *w, const eq_epilogue *e,
                              const eq_threads *threads) {
  return check(op, w, e) == EQ_OK ? scratch_for(op, w, (const void *)0, e, threads) : 0;
}

eq_status eq_linear_i4i8(const eq_linear *op, const int8_t *x, const float *block_step, const eq_weights_i4 *w,
                         const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(op, w, e);
  if (status != EQ_OK) return status;
  if (!eq_weights_i4_given(w)) return EQ_BAD_ARGUMENT;
  return run(op, x, block_step, w, (const void *)0, e, threads, scratch, scratch_bytes);
}

static eq_status check_tiled(const eq_linear *op, const void *tiles, const eq_weights_i4 *w, const eq_epilogue *e) {
  const eq_status status = check(op, w, e);
  return status != EQ_OK || eq_tiles_i4_fit(tiles, op) ? status : EQ_BAD_ARGUMENT;
}

static bool tiles_ok(const void *tiles) { return tiles && (uintptr_t)tiles % EQ_ALIGN == 0; }

size_t eq_linear_i4i8_tiled_scratch(const eq_linear *op, const void *tiles, const eq_epilogue *e,
                                    const eq_threads *threads) {
  if (!tiles_ok(tiles)) return 0;
  const eq_weights_i4 w = eq_tiles_i4_weights(tiles);
  return check_tiled(op, tiles, &w, e) == EQ_OK ? scratch_for(op, &w, tiles, e, threads) : 0;
}

eq_status eq_linear_i4i8_tiled(const eq_linear *op, const int8_t *x, const float *block_step, const void *tiles,
                               const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  if (!tiles_ok(tiles)) return EQ_BAD_ARGUMENT;
  const eq_weights_i4 w = eq_tiles_i4_weights(tiles);
  const eq_status status = check_tiled(op, tiles, &w, e);
  return status == EQ_OK ? run(op, x, block_step, &w, tiles, e, threads, scratch, scratch_bytes) : status;
}
