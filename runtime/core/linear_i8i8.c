/* int8 weights tiled ahead against int8 activations; without tiles see conv2d_i8.c. */
#include "linear_tiled.h"
#include "tiles_i8.h"

static void accumulate(const void *operands, const eq_tile *tile, void *acc_memory, size_t pitch) {
  const eq_linear_tiled *l = operands;
  int32_t *acc = acc_memory;
  for (uint32_t done = 0; done < tile->outputs; done += EQ_BLOCK) {
    const eq_packed_i8 w = eq_tiles_i8_block(l->packed, (tile->first + done) / EQ_BLOCK);
    const uint32_t left = tile->outputs - done;
    const eq_byte_patches rows = {
        .x = l->bytes + eq_linear_row(l, tile) * l->pitch, .pixel = l->pitch, .rows = 1, .taps = 1, .steps = w.steps};
    const int8_t *at = w.tile;
    for (uint32_t half = 0; half < w.halves; half++, at += eq_tile_i8_bytes(w.steps)) {
      const int32_t *start = (const int32_t *)(const void *)(at + (size_t)EQ_BLOCK * w.steps * EQ_STEP);
      l->kernels->accumulate(&rows, tile->lines, at, start, half > 0, left < EQ_BLOCK ? left : EQ_BLOCK, acc + done,
                             pitch);
    }
  }
}

static const eq_linear_format format = {
    .word = EQ_STEP,
    .unit_rows = 24,
    .fit = eq_tiles_i8_fit,
    .canonical = eq_tiles_i8_weights,
    .accumulate = accumulate,
};

size_t eq_linear_i8i8_tiled_scratch(const eq_linear *op, const void *tiles, const eq_epilogue *e,
                                    const eq_threads *threads) {
  return eq_linear_tiled_scratch(&format, op, tiles, e, threads);
}

eq_status eq_linear_i8i8_tiled(const eq_linear *op, const int8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  return eq_linear_tiled_run(&format, op, x, tiles, e, threads, scratch, scratch_bytes);
}
