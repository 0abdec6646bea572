#include "tiled.h"

enum { ACC_ELEMENTS = 8192 + 512 }; /* of one block of accumulators: 34 KiB, most of a first-level cache */

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t divide_up(uint32_t a, uint32_t b) { return (a - 1) / b + 1; }

void eq_share(const eq_threads *threads, eq_task task, void *arg, size_t count) {
  if (eq_workers(threads) > 1 && count > 1)
    threads->run(threads->context, task, arg, count);
  else
    task(arg, 0, count, 0);
}

void eq_tiled_plan(eq_tiled *t, eq_arena *arena, const eq_kernels *kernels, const eq_epilogue *e, uint32_t n,
                   uint32_t h, uint32_t w, uint32_t o, uint32_t channels, uint32_t spill, const eq_threads *threads) {
  const bool single = h == 1 && w == 1;
  const unsigned workers = eq_workers(threads);
  t->images = single ? 1 : n;
  t->lines = single ? n : h;
  t->width = w;
  t->block = least(channels, o);
  t->pitch = (size_t)eq_round_up(t->block, EQ_BLOCK) + spill + EQ_LANES; /* odd, lest rows share cache sets */
  const uint32_t fitting = t->finished ? EQ_PIXELS : (uint32_t)(ACC_ELEMENTS / t->pitch) / EQ_STRIP * EQ_STRIP;
  t->pixels = fitting < EQ_STRIP ? EQ_STRIP : least(fitting, EQ_PIXELS);
  t->lines_per_unit = w >= t->pixels ? 1 : least(t->pixels / w, t->lines);
  if (single) t->lines_per_unit = divide_up(t->lines, divide_up(t->lines, t->lines_per_unit)); /* of one size */
  t->piece = least((uint32_t)eq_round_up(divide_up(w, divide_up(w, t->pixels)), EQ_STRIP), t->pixels);
  if (t->finished) {
    t->output = (eq_output){.e = e, .kernels = kernels, .n = n, .h = h, .w = w, .o = o};
    return;
  }
  eq_output_plan(&t->output, arena, kernels, e, n, h, w, o, t->block, t->pixels, workers);
  t->acc = eq_take(arena, (uint64_t)workers * t->pixels * t->pitch * sizeof(int32_t));
}

static eq_run run_of(const eq_tiled *t, const eq_tile *tile, const void *acc) {
  const bool single = t->output.h == 1 && t->output.w == 1;
  return (eq_run){.n = single ? tile->line : tile->image,
                  .y = single ? 0 : tile->line,
                  .x = tile->x,
                  .pixels = tile->lines * tile->pixels,
                  .first = tile->first,
                  .channels = tile->outputs,
                  .acc_i32 = t->integer ? acc : (const void *)0,
                  .acc_f32 = t->integer ? (const void *)0 : acc,
                  .acc_pitch = t->pitch};
}

/* Units count through channel blocks first, then lines, then images; with lines_first channel blocks come last. */
static void work(void *arg, size_t begin, size_t end, unsigned worker) {
  const eq_tiled *t = arg;
  const uint32_t o = t->output.o, blocks = divide_up(o, t->block), units = divide_up(t->lines, t->lines_per_unit);
  void *acc = t->finished ? (void *)0 : (uint8_t *)t->acc + (size_t)worker * t->pixels * t->pitch * sizeof(int32_t);
  const size_t per_block = (size_t)units * t->images;
  if (t->own) t->prepare(t->operands, 0, t->lines, worker);
  for (size_t i = begin; i < end; i++) {
    const size_t block = t->lines_first ? i / per_block : i % blocks,
                 place = t->lines_first ? i % per_block : i / blocks;
    const uint32_t line = (uint32_t)(place % units) * t->lines_per_unit, first = (uint32_t)block * t->block;
    eq_tile tile = {.image = (uint32_t)(place / units),
                    .line = line,
                    .lines = least(t->lines_per_unit, t->lines - line),
                    .first = first,
                    .outputs = least(t->block, o - first),
                    .worker = worker};
    for (; tile.x < t->width; tile.x += tile.pixels) {
      tile.pixels = least(t->piece, t->width - tile.x);
      if (t->finished) {
        t->accumulate(t->operands, &tile, acc, t->pitch);
        continue;
      }
      const eq_run run = run_of(t, &tile, acc);
      eq_output_hints(&t->output, &run, tile.hint);
      t->accumulate(t->operands, &tile, acc, t->pitch);
      eq_output_put(&t->output, &run, worker);
    }
  }
}

static void prepare(void *arg, size_t begin, size_t end, unsigned worker) {
  const eq_tiled *t = arg;
  t->prepare(t->operands, begin, end, worker);
}

void eq_tiled_run(eq_tiled *t, const eq_threads *threads) {
  const size_t blocks = divide_up(t->output.o, t->block), units = divide_up(t->lines, t->lines_per_unit);
  if (t->prepare && !t->own) eq_share(threads, prepare, t, t->lines);
  eq_share(threads, work, t, blocks * units * t->images);
  if (!t->finished) eq_output_end(&t->output);
}
