/* Powers of two tiled ahead against int8 activations; without tiles see conv2d_i8.c. */
#include "choices.h"
#include "linear_tiled.h"
#include "tiles_shift.h"

static bool dots(const eq_linear_tiled *l) { return l->op.m <= eq_choice(EQ_CHOICE_SHIFT_ROWS); }

/* Is one row held up by reading its weights rather than by products? Then two halves of codes are cheaper than one and
 * the places of its +128. */
static bool reads(const eq_linear_tiled *l) {
  enum { CACHED = 3 << 19 }; /* bytes of codes; with their places more than a second-level cache of 2 MiB */
  return l->op.m == 1 && (uint64_t)l->op.o * l->pitch / 2 > CACHED;
}

static size_t half_bytes(const eq_linear_tiled *l) { return EQ_BLOCK * l->pitch; }

/* int8 weights by halves, then starts of the first and of the second. */
static size_t room(const eq_linear_tiled *l) {
  return eq_tiles_shift_block(l->packed, 0).halves * half_bytes(l) + 2 * EQ_BLOCK * sizeof(int32_t);
}

/* Expands the outputs of `tile`, unless this worker's room holds them. */
static int8_t *expanded(const eq_linear_tiled *l, const eq_tile *tile, const eq_packed_shift *from, int32_t **start) {
  uint32_t *made;
  uint8_t *memory = eq_linear_room(l, tile->worker, &made);
  *start = (int32_t *)(void *)(memory + from->halves * half_bytes(l));
  if (*made == tile->first + 1) return (int8_t *)memory;
  for (unsigned half = 0; half < from->halves; half++)
    l->kernels->expand_shift(from, from->halves == 1 ? 0 : half + 1, (int8_t *)(memory + half * half_bytes(l)));
  for (uint32_t i = 0; i < EQ_BLOCK; i++) (*start)[i] = -from->sums[i] * l->kernels->offset;
  __builtin_memset(*start + EQ_BLOCK, 0, EQ_BLOCK * sizeof **start);
  *made = tile->first + 1;
  return (int8_t *)memory;
}

static void add_ones(const eq_linear_tiled *l, const eq_packed_shift *w, const uint8_t *x, uint32_t rows, int32_t *acc,
                     size_t pitch) {
  if (w->ones && w->halves == 1) l->kernels->add_ones(x, l->pitch, l->dots, rows, w, acc, pitch);
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc_memory, size_t pitch) {
  const eq_linear_tiled *l = operands;
  const size_t row = eq_linear_row(l, tile);
  const uint8_t *x = l->bytes + row * l->pitch;
  int32_t *acc = acc_memory;
  if (l->dots) {
    for (uint32_t done = 0; done < tile->outputs; done += EQ_BLOCK) {
      eq_packed_shift w = eq_tiles_shift_block(l->packed, (tile->first + done) / EQ_BLOCK);
      if (reads(l)) w.halves = 2;
      l->kernels->dot_packed_shift(x, l->pitch, l->sums + row, tile->lines, &w, acc + done, pitch);
      add_ones(l, &w, x, tile->lines, acc + done, pitch);
    }
    return;
  }
  const eq_packed_shift packed = eq_tiles_shift_block(l->packed, tile->first / EQ_BLOCK);
  int32_t *start;
  const int8_t *w = expanded(l, tile, &packed, &start);
  const eq_byte_patches rows = {
      .x = x, .pixel = l->pitch, .rows = 1, .taps = 1, .steps = (uint32_t)(l->pitch / EQ_STEP)};
  for (unsigned half = 0; half < packed.halves; half++)
    l->kernels->accumulate(&rows, tile->lines, w + half * half_bytes(l), start + half * EQ_BLOCK, half > 0,
                           tile->outputs, acc, pitch);
  add_ones(l, &packed, x, tile->lines, acc, pitch);
}

#define EQ_SHIFT_LINEAR(name, type)                                                                                    \
  static bool fit_##name(const void *tiles, const eq_linear *op) { return eq_tiles_shift_fit(tiles, type, op); }       \
  static const eq_linear_format name = {                                                                               \
      .word = EQ_SHIFT_WORD,                                                                                           \
      .unit_rows = 24,                                                                                                 \
      .fit = fit_##name,                                                                                               \
      .canonical = eq_tiles_shift_weights,                                                                             \
      .dots = dots,                                                                                                    \
      .room = room,                                                                                                    \
      .accumulate = accumulate,                                                                                        \
  };                                                                                                                   \
  size_t eq_linear_##name##i8_tiled_scratch(const eq_linear *op, const void *tiles, const eq_epilogue *e,              \
                                            const eq_threads *threads) {                                               \
    return eq_linear_tiled_scratch(&name, op, tiles, e, threads);                                                      \
  }                                                                                                                    \
  eq_status eq_linear_##name##i8_tiled(const eq_linear *op, const int8_t *x, const void *tiles, const eq_epilogue *e,  \
                                       const eq_threads *threads, void *scratch, size_t scratch_bytes) {               \
    return eq_linear_tiled_run(&name, op, x, tiles, e, threads, scratch, scratch_bytes);                               \
  }
EQ_SHIFT_LINEAR(s2, EQ_S2)
EQ_SHIFT_LINEAR(s3, EQ_S3)
EQ_SHIFT_LINEAR(s4, EQ_S4)
