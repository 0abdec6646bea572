/* Blocks of outputs, shared out to threads: accumulate some pixels x some channels, then run their epilogue. */
#ifndef EQ_CORE_TILED_H
#define EQ_CORE_TILED_H

#include "output.h"

enum { EQ_CHANNELS = 1024 }; /* outputs of a unit: whole pixels mostly, so that memory is written in order */

/* A block of output pixels: `lines` whole or partial rows of `pixels` each, from (image, line, x) on, against the
 * outputs [first, first + outputs). Images of one pixel are lines of one single image. */
typedef struct {
  uint32_t image, line, lines, x, pixels, first, outputs;
  unsigned worker;
  eq_hint hint[EQ_HINTS];
} eq_tile;

typedef struct {
  eq_output output;
  uint32_t images, lines, width;  /* the output, with images of one pixel turned into lines */
  uint32_t block, lines_per_unit; /* channels and lines of one unit of work */
  uint32_t pixels, piece;         /* accumulated at once, and of them in one line */
  void *acc;                      /* [workers][pixels][pitch] int32 or float */
  size_t pitch;
  bool integer;     /* type of acc */
  bool lines_first; /* a worker goes through all lines of a block of channels before the next: for blocks made on the
                       way */
  bool finished;    /* before eq_tiled_plan(): accumulate() writes the outputs itself, and has no acc */
  bool own; /* each worker prepares all lines for itself: they fit its cache, and lines that another core has just
               written take longer to read than to write again */
  const void *operands;
  /* Before lines are accumulated; NULL: nothing is to be done. */
  void (*prepare)(const void *operands, size_t begin, size_t end, unsigned worker);
  /* Fills acc [lines * pixels][pitch], of which `outputs` columns and whatever lies behind them may be written. */
  void (*accumulate)(const void *operands, const eq_tile *tile, void *acc, size_t pitch);
} eq_tiled;

static inline unsigned eq_workers(const eq_threads *threads) {
  return threads && threads->workers > 1 ? threads->workers : 1;
}
/* Of the lines that each of several workers prepares for itself: half of a second-level cache. */
enum { EQ_OWN_BYTES = 1 << 19 };
/* task over [0, count), by the caller's threads or here. */
void eq_share(const eq_threads *threads, eq_task task, void *arg, size_t count);

/* channels: those of a unit, a multiple of EQ_BLOCK or at least o; spill: columns past them that accumulate()
 * overwrites. */
void eq_tiled_plan(eq_tiled *t, eq_arena *arena, const eq_kernels *kernels, const eq_epilogue *e, uint32_t n,
                   uint32_t h, uint32_t w, uint32_t o, uint32_t channels, uint32_t spill, const eq_threads *threads);
void eq_tiled_run(eq_tiled *t, const eq_threads *threads);

#endif
