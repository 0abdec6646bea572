/* Ternary weights tiled ahead against int8 activations; without tiles see conv2d_i8.c. */
#include "choices.h"
#include "linear_tiled.h"
#include "tiles_t2.h"

static bool dots(const eq_linear_tiled *l) {
  return l->op.m <= eq_choice(EQ_CHOICE_T2_ROWS) && l->op.k <= EQ_T2_MOST_DOTS && l->kernels->dot_packed_t2;
}

static uint32_t words_of(const eq_linear_tiled *l) { return (uint32_t)(l->pitch / EQ_T2_WORD); }

/* Of as many words: int8 weights, then starts. */
static size_t bytes_of(uint32_t words) { return EQ_BLOCK * ((size_t)words * EQ_T2_WORD + sizeof(int32_t)); }
static uint32_t words_in(size_t bytes) { return (uint32_t)((bytes / EQ_BLOCK - sizeof(int32_t)) / EQ_T2_WORD); }

/* Tiles of all words serve many units; where there is only one, parts of them are made and used up in turn. */
static size_t room(const eq_linear_tiled *l) {
  const uint32_t words = words_of(l), fitting = eq_choice(EQ_CHOICE_T2_WORDS);
  return bytes_of(words > fitting && l->tiled.lines_per_unit >= l->op.m ? fitting : words);
}

/* Expands `words` words of the outputs of `tile`, unless this worker's room holds them; their starts lie behind all. */
static int8_t *expanded(const eq_linear_tiled *l, const eq_tile *tile, uint32_t first, uint32_t words,
                        int32_t **start) {
  uint32_t *made;
  uint8_t *memory = eq_linear_room(l, tile->worker, &made);
  *start = (int32_t *)(void *)(memory + l->room - EQ_BLOCK * sizeof(int32_t));
  if (words == words_of(l) && *made == tile->first + 1) return (int8_t *)memory;
  eq_packed_t2 from = eq_tiles_t2_block(l->packed, tile->first / EQ_BLOCK);
  from.codes += (size_t)first * EQ_BLOCK * 4;
  from.words = words;
  l->kernels->expand_t2(&from, (int8_t *)memory);
  for (uint32_t i = 0; i < EQ_BLOCK; i++) (*start)[i] = first ? 0 : -from.sums[i] * l->kernels->offset;
  *made = tile->first + 1;
  return (int8_t *)memory;
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc_memory, size_t pitch) {
  const eq_linear_tiled *l = operands;
  const size_t row = eq_linear_row(l, tile);
  const uint8_t *x = l->bytes + row * l->pitch;
  int32_t *acc = acc_memory;
  if (l->dots) {
    for (uint32_t done = 0; done < tile->outputs; done += EQ_BLOCK) {
      const eq_packed_t2 w = eq_tiles_t2_block(l->packed, (tile->first + done) / EQ_BLOCK);
      l->kernels->dot_packed_t2(x, l->pitch, l->sums + row, tile->lines, &w, acc + done, pitch);
    }
    return;
  }
  const uint32_t all = words_of(l), most = words_in(l->room);
  for (uint32_t first = 0; first < all; first += most) {
    const uint32_t words = all - first < most ? all - first : most;
    int32_t *start;
    const int8_t *w = expanded(l, tile, first, words, &start);
    const eq_byte_patches rows = {.x = x + (size_t)first * EQ_T2_WORD,
                                  .pixel = l->pitch,
                                  .rows = 1,
                                  .taps = 1,
                                  .steps = words * EQ_T2_WORD_STEPS};
    (l->kernels->accumulate_ones ? l->kernels->accumulate_ones : l->kernels->accumulate)(
        &rows, tile->lines, w, start, first > 0, tile->outputs, acc, pitch);
  }
}

static const eq_linear_format format = {
    .word = EQ_T2_WORD,
    .unit_rows = UINT32_MAX,
    .fit = eq_tiles_t2_fit,
    .canonical = eq_tiles_t2_weights,
    .dots = dots,
    .room = room,
    .accumulate = accumulate,
};

size_t eq_linear_t2i8_tiled_scratch(const eq_linear *op, const void *tiles, const eq_epilogue *e,
                                    const eq_threads *threads) {
  return eq_linear_tiled_scratch(&format, op, tiles, e, threads);
}

eq_status eq_linear_t2i8_tiled(const eq_linear *op, const int8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  return eq_linear_tiled_run(&format, op, x, tiles, e, threads, scratch, scratch_bytes);
}
