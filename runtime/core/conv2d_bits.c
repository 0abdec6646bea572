#include "check.h"
#include "choices.h"
#include "isa.h"
#include "kernels/ref/bits.h"
#include "tiled.h"
#include "window.h"

typedef enum {
  SIGNS,   /* b1 */
  TERNARY, /* t2: signs, then which are not zero */
  ONES,    /* u1: both planes of a ternary operand at once, because a one is positive and not zero */
} activation;

/* Along one axis, windows [begin, end) lie inside the image. Their place is 0; each of the others has its own. */
typedef struct {
  uint32_t begin, end, windows;
} border;

static border border_of(uint32_t out, uint32_t stride, uint32_t kernel, uint32_t pad, uint32_t size) {
  const uint64_t stop = (uint64_t)size + pad, inside = stop < kernel ? 0 : (stop - kernel) / stride + 1;
  const uint64_t begin = eq_round_up(pad, stride) / stride, end = inside < out ? inside : out;
  return (border){(uint32_t)(begin < end ? begin : end), (uint32_t)end, out};
}
static uint32_t place_count(border b) { return 1 + b.begin + (b.windows - b.end); }
static uint32_t place_of(border b, uint32_t i) {
  return i < b.begin ? 1 + i : i < b.end ? 0 : 1 + b.begin + (i - b.end);
}
/* A window of this place; all of place 0 are alike. */
static uint32_t window_at(border b, uint32_t place) {
  return place == 0 ? b.begin : place <= b.begin ? place - 1 : place - 1 - b.begin + b.end;
}

/* A convolution on its way through the tiled driver. Groups become planes of their own. */
typedef struct {
  eq_tiled tiled;
  const eq_kernels *kernels;
  eq_conv2d op;
  activation kind;
  const uint8_t *x, *w;
  bool copied;  /* patches come from `planes`, not from x */
  bool narrow;  /* a tap is shorter than a word: patches are gathered first */
  bool direct;  /* canonical weights, no tiles */
  bool borders; /* some taps fall outside, where zeros that are stored as -1 must be taken back */
  bool folded;  /* operands take the other form of eq_kernels */
  border vertical, horizontal;
  size_t tap_bytes, pixel_bytes, line_bytes,
      plane_bytes;             /* of what patches are read from; plane: one image of one group */
  uint32_t rows, words, steps; /* of a patch */
  uint32_t group_outputs, group_blocks;
  size_t nonzero;       /* from the signs that patches are read from to their non-zero bits */
  uint8_t *planes;      /* [1, or 2 if TERNARY][groups][n][padded h][padded w][tap] */
  uint8_t *own_tiles;   /* of this call */
  const uint8_t *tiles; /* [groups][group_blocks][steps][EQ_BLOCK] words */
  int32_t *totals;      /* [groups][group_blocks][places][EQ_BLOCK]: of eq_bit_patches */
  int32_t *taps;        /* [workers][kh * kw][EQ_BLOCK]: the sum of a tap's signs, negated */
  uint8_t *zeros;       /* a tap of zero bits */
  uint8_t *gathered;    /* [workers][1 or 2][pixels][steps] words: patches of narrow taps, or folded */
  size_t gathered_bytes;
} conv;

static uint32_t padded_h(const conv *c) { return eq_padded_extent(c->op.out_h, c->op.stride_h, c->op.kh); }
static uint32_t padded_w(const conv *c) { return eq_padded_extent(c->op.out_w, c->op.stride_w, c->op.kw); }
static uint32_t tap_count(const conv *c) { return c->op.kh * c->op.kw; }
static uint32_t plane_count(const conv *c) { return c->kind == TERNARY ? 2 : 1; }
static size_t places(const conv *c) { return (size_t)place_count(c->vertical) * place_count(c->horizontal); }
static size_t tile_bytes(const conv *c) { return (size_t)c->steps * EQ_BLOCK * sizeof(uint32_t); }

enum { LEAST_FOLDED_STEPS = 8, LEAST_FOLDED_PIXELS = 4 }; /* from which folding the patches pays */

static bool folds(const eq_kernels *kernels, activation kind, uint32_t steps, uint32_t outputs) {
  return kind == SIGNS && kernels && kernels->fold_patches && steps >= LEAST_FOLDED_STEPS &&
         steps <= kernels->fold.most_steps && outputs >= kernels->fold.outputs;
}

/* Of a folded pixel. */
static size_t folded_words(const eq_kernels *kernels, uint32_t steps) {
  return (size_t)eq_round_up(steps, kernels->fold.multiple) * kernels->fold.words;
}

/* Nothing but accumulators, or floats and bits of them with a scale and a bias? */
static bool is_plain(const eq_epilogue *e) {
  return !e->row_scale && !e->row_shift && !e->residual[0].data && !e->residual[0].codes && !e->residual[1].data &&
         !e->residual[1].codes && e->act == EQ_ACT_NONE && !e->gain && !e->scale2 && !e->bias2 && !e->out_t2 &&
         !e->out_i8 && !e->out_mean && !e->tuning;
}

/* What is the same for every call with these weights. */
static void describe(conv *c, const eq_kernels *kernels, activation kind, const eq_conv2d *op) {
  *c = (conv){.kernels = kernels, .kind = kind, .op = *op};
  c->tap_bytes = eq_row_bytes(op->c / op->groups);
  c->narrow = c->tap_bytes < sizeof(uint32_t);
  c->borders = kind == SIGNS && !eq_windows_inside(op);
  c->rows = c->narrow ? 1 : op->kh;
  const size_t run = (c->narrow ? op->kh : 1) * op->kw * c->tap_bytes;
  c->words = (uint32_t)(eq_round_up(run, sizeof(uint32_t)) / sizeof(uint32_t));
  c->steps = c->rows * c->words;
  c->group_outputs = op->o / op->groups;
  c->group_blocks = (c->group_outputs - 1) / EQ_BLOCK + 1;
  c->folded = !c->narrow && folds(kernels, kind, c->steps, c->group_outputs);
  if (!c->borders) return;
  c->vertical = border_of(op->out_h, op->stride_h, op->kh, op->pad_top, op->h);
  c->horizontal = border_of(op->out_w, op->stride_w, op->kw, op->pad_left, op->w);
}

/* Memory for what prepare_block() makes of the weights, and for its own use. */
static void take_weights(conv *c, eq_arena *arena, unsigned workers) {
  const uint64_t blocks = (uint64_t)c->op.groups * c->group_blocks;
  c->own_tiles = eq_take(arena, blocks * tile_bytes(c));
  c->tiles = c->own_tiles;
  if (!c->borders) return;
  c->totals = eq_take(arena, blocks * places(c) * EQ_BLOCK * sizeof(int32_t));
  c->taps = eq_take(arena, (uint64_t)workers * tap_count(c) * EQ_BLOCK * sizeof(int32_t));
  c->zeros = eq_take(arena, c->tap_bytes);
}

/* Tiles made ahead of time: a header that says for what, then what take_weights() takes. */
typedef struct {
  uint32_t isa, signs; /* signs: for activations that are signs, too */
  eq_conv2d op;        /* n 0: any number of images */
} tiles_header;

static tiles_header header_for(activation kind, const eq_conv2d *op) {
  tiles_header h = {(uint32_t)eq_isa_current(), kind == SIGNS, *op};
  h.op.n = 0;
  return h;
}

static void find_weights(conv *c, const void *tiles) {
  eq_arena made = {.base = (uint8_t *)(uintptr_t)tiles};
  eq_take(&made, sizeof(tiles_header));
  take_weights(c, &made, 1);
  c->own_tiles = (uint8_t *)0;
}

/* Everything about the call but its data; with a measuring arena this is the scratch formula. */
static void plan(conv *c, eq_arena *arena, const eq_kernels *kernels, activation kind, const eq_conv2d *op,
                 const void *tiles, const eq_epilogue *e, const eq_threads *threads) {
  describe(c, kernels, kind, op);
  c->copied = c->narrow || !eq_windows_inside(op) || op->groups > 1;
  c->pixel_bytes = c->tap_bytes;
  c->line_bytes = (size_t)(c->copied ? padded_w(c) : op->w) * c->pixel_bytes;
  c->plane_bytes = (size_t)(c->copied ? padded_h(c) : op->h) * c->line_bytes;
  if (kind == TERNARY) c->nonzero = (c->copied ? op->groups : 1) * (op->n * c->plane_bytes);
  c->direct =
      !tiles && !c->copied && op->kh == 1 && (uint64_t)op->n * op->out_h * op->out_w <= eq_choice(EQ_CHOICE_B1_ROWS);

  const bool linear = op->out_h == 1 && op->out_w == 1;
  c->tiled.finished = kernels && kernels->output_b1 && c->steps >= kernels->output_steps && !c->direct &&
                      op->groups == 1 && is_plain(e) &&
                      (uint64_t)tap_count(c) * (op->c / op->groups) < EQ_MOST_OUTPUT_BITS;
  const bool whole = !linear || (c->tiled.finished && eq_workers(threads) == 1);
  const uint32_t channels = op->groups > 1 ? op->o : whole ? EQ_CHANNELS : eq_choice(EQ_CHOICE_B1_UNIT);
  const uint32_t spill = op->groups > 1 ? EQ_BLOCK : 0;
  eq_tiled_plan(&c->tiled, arena, kernels, e, op->n, op->out_h, op->out_w, op->o, channels, spill, threads);
  if (c->copied) c->planes = eq_take(arena, (uint64_t)plane_count(c) * op->groups * op->n * c->plane_bytes);
  if (tiles)
    find_weights(c, tiles);
  else if (!c->direct)
    take_weights(c, arena, eq_workers(threads));
  if (c->narrow || c->folded) {
    const uint64_t all = (uint64_t)op->n * op->out_h * op->out_w,
                   pixels = all < c->tiled.pixels ? all : c->tiled.pixels;
    const uint64_t words = c->folded ? folded_words(kernels, c->steps) : c->steps;
    const uint64_t room = c->folded ? eq_round_up(pixels, kernels->fold.pixels) : pixels;
    c->gathered_bytes = (size_t)eq_round_up(room * words * sizeof(uint32_t), EQ_ALIGN) + EQ_ALIGN;
    c->gathered = eq_take(arena, (uint64_t)eq_workers(threads) * plane_count(c) * c->gathered_bytes);
  }
}

/* ---- preparation: weight tiles and padded planes ---- */

/* The taps' own sums of signs: what a zero activation, read as -1, wrongly contributes outside the image. */
static void sum_taps(const conv *c, const uint8_t *w, const uint8_t *tile, uint32_t outputs, int32_t *taps) {
  const int32_t cg = (int32_t)(c->op.c / c->op.groups);
  for (uint32_t t = 0; t < tap_count(c); t++, taps += EQ_BLOCK) {
    if (c->narrow) {
      for (uint32_t o = 0; o < outputs; o++) {
        const uint8_t *tap = w + ((size_t)o * tap_count(c) + t) * c->tap_bytes;
        taps[o] = cg - 2 * (int32_t)eq_differing_bits(tap, c->zeros, c->tap_bytes);
      }
      continue;
    }
    const uint32_t words = (uint32_t)(c->tap_bytes / sizeof(uint32_t));
    const eq_bit_patches one = {
        .x = c->zeros, .rows = 1, .words = words, .first = t * words, .steps = c->steps, .k = cg};
    c->kernels->accumulate_b1(&one, 1, tile, outputs, taps, EQ_BLOCK);
  }
}

/* k without the taps outside, for each place; a tap is the sum of its signs, negated. */
static void sum_places(const conv *c, const int32_t *restrict taps, uint32_t outputs, int32_t *restrict totals) {
  const eq_conv2d *op = &c->op;
  const int32_t k = (int32_t)(tap_count(c) * (op->c / op->groups));
  for (uint32_t y = 0; y < place_count(c->vertical); y++) {
    const eq_taps v = eq_taps_inside(window_at(c->vertical, y), op->stride_h, op->kh, op->pad_top, op->h);
    for (uint32_t x = 0; x < place_count(c->horizontal); x++, totals += EQ_BLOCK) {
      const eq_taps h = eq_taps_inside(window_at(c->horizontal, x), op->stride_w, op->kw, op->pad_left, op->w);
      for (uint32_t o = 0; o < EQ_BLOCK; o++) totals[o] = k;
      for (uint32_t ky = 0; ky < op->kh; ky++)
        for (uint32_t kx = 0; kx < op->kw; kx++)
          if (ky < v.begin || ky >= v.end || kx < h.begin || kx >= h.end)
            for (uint32_t o = 0; o < outputs; o++) totals[o] -= taps[(size_t)(ky * op->kw + kx) * EQ_BLOCK + o];
    }
  }
}

static void prepare_block(const conv *c, size_t index, unsigned worker) {
  const uint32_t group = (uint32_t)(index / c->group_blocks), first = (uint32_t)(index % c->group_blocks) * EQ_BLOCK;
  const uint32_t outputs = c->group_outputs - first < EQ_BLOCK ? c->group_outputs - first : EQ_BLOCK;
  const size_t row = tap_count(c) * c->tap_bytes;
  const uint8_t *w = c->w + ((size_t)group * c->group_outputs + first) * row;
  uint8_t *tile = c->own_tiles + index * tile_bytes(c);
  c->kernels->tile_b1(w, row, outputs, c->steps, tile);
  if (c->borders) {
    int32_t *taps = c->taps + worker * tap_count(c) * EQ_BLOCK;
    sum_taps(c, w, tile, outputs, taps);
    sum_places(c, taps, outputs, c->totals + index * places(c) * EQ_BLOCK);
  }
  if (c->folded && c->kernels->fold_tile) c->kernels->fold_tile(tile, c->steps);
}

/* The bits of one group of a pixel, as a row of their own. */
static void copy_group(const conv *c, const uint8_t *pixel, uint32_t group, uint8_t *to) {
  const uint32_t cg = c->op.c / c->op.groups, bytes = cg / 8;
  if (cg == 1) {
    to[0] = (uint8_t)eq_bit(pixel, group);
    return;
  }
  for (uint32_t i = 0; i < c->tap_bytes; i++) to[i] = i < bytes ? pixel[(size_t)group * bytes + i] : 0;
}

static void copy_line(const conv *c, size_t index) {
  const eq_conv2d *op = &c->op;
  const size_t images = index / padded_h(c), y = index % padded_h(c), n = images % op->n;
  const uint32_t group = (uint32_t)(images / op->n % op->groups);
  const size_t plane = images / op->n / op->groups;
  uint8_t *to = c->planes + images * c->plane_bytes + y * c->line_bytes;
  const eq_taps inside = eq_columns_inside(op);
  const bool empty = y < op->pad_top || y - op->pad_top >= op->h || inside.begin >= inside.end;
  const size_t begin = empty ? c->line_bytes : inside.begin * c->pixel_bytes;
  const size_t end = empty ? c->line_bytes : inside.end * c->pixel_bytes;
  __builtin_memset(to, 0, begin);
  __builtin_memset(to + end, 0, c->line_bytes - end);
  if (empty) return;
  const size_t from_pixel = eq_row_bytes(op->c);
  const uint8_t *from = c->x + ((plane * op->n + n) * op->h + (y - op->pad_top)) * op->w * from_pixel;
  if (op->groups == 1) {
    __builtin_memcpy(to + begin, from, end - begin);
    return;
  }
  for (uint32_t x = 0; x < inside.end - inside.begin; x++)
    copy_group(c, from + x * from_pixel, group, to + begin + x * c->pixel_bytes);
}

static void prepare(void *arg, size_t begin, size_t end, unsigned worker) {
  const conv *c = arg;
  const size_t blocks = c->own_tiles ? (size_t)c->op.groups * c->group_blocks : 0;
  for (size_t i = begin; i < end; i++)
    if (i < blocks)
      prepare_block(c, i, worker);
    else
      copy_line(c, i - blocks);
}

/* ---- accumulation ---- */

static const uint8_t *patch(const conv *c, uint32_t group, const eq_tile *tile, uint32_t line, uint32_t x) {
  const bool single = c->op.out_h == 1 && c->op.out_w == 1;
  const size_t image = single ? line : tile->image, y = single ? 0 : (size_t)line * c->op.stride_h;
  const uint8_t *from = c->copied ? c->planes : c->x;
  return from + ((size_t)group * c->op.n + image) * c->plane_bytes + y * c->line_bytes +
         (size_t)x * c->op.stride_w * c->pixel_bytes;
}

/* Narrow taps: all taps of a patch, close together, so that several share a word. Copies go in steps of eight bytes and
 * may run into what is written next. */
static void gather_line(const conv *c, const uint8_t *from, uint32_t pixels, uint8_t *to) {
  const size_t run = c->op.kw * c->tap_bytes, step = c->op.stride_w * c->pixel_bytes;
  for (uint32_t i = 0; i < pixels; i++, from += step, to += c->steps * sizeof(uint32_t)) {
    uint8_t *end = to;
    for (uint32_t ky = 0; ky < c->op.kh; ky++, end += run)
      for (size_t b = 0; b < run; b += 8) __builtin_memcpy(end + b, from + ky * c->line_bytes + b, 8);
    __builtin_memset(end, 0, 8);
  }
}

/* The tile's hints for its pixels from `pixel` on and its `block`th block of outputs. */
static void set_hints(eq_bit_patches *p, const eq_tile *tile, uint32_t pixel, uint32_t block) {
  for (int i = 0; i < EQ_HINTS; i++) {
    p->hint[i] = tile->hint[i];
    p->hint[i].at += pixel * p->hint[i].pixel + block * p->hint[i].block;
    if (block >= p->hint[i].blocks) p->hint[i].lines = 0;
  }
}

/* The places of the tile's pixels. */
static void set_places(const conv *c, const eq_tile *tile, uint32_t *place) {
  const bool single = c->op.out_h == 1 && c->op.out_w == 1;
  for (uint32_t i = 0; i < tile->lines; i++)
    for (uint32_t x = 0; x < tile->pixels; x++)
      *place++ = place_of(c->vertical, single ? 0 : tile->line + i) * place_count(c->horizontal) +
                 place_of(c->horizontal, tile->x + x);
}

/* Where the outputs of the tile go, its pixels from `pixel` on and its channels from `done` on. */
static void set_output(const conv *c, const eq_tile *tile, uint32_t pixel, uint32_t done, eq_bit_output *to) {
  const eq_conv2d *op = &c->op;
  const eq_epilogue *e = c->tiled.output.e;
  const bool single = op->out_h == 1 && op->out_w == 1;
  const size_t line = single ? tile->line : (size_t)tile->image * op->out_h + tile->line;
  const size_t at = line * op->out_w + tile->x + pixel;
  const uint32_t o = tile->first + done;
  if (e->scale) to->scale = e->scale + o;
  if (e->bias) to->bias = e->bias + o;
  if (e->out_acc) to->acc = e->out_acc + at * op->o + o;
  if (e->out) to->out = e->out + at * op->o + o;
  if (e->out_bits) to->bits = e->out_bits + at * to->bits_pitch + o / 8;
  to->bits_zero = op->o - o <= EQ_BLOCK ? (uint32_t)(to->bits_pitch - (op->o + 7) / 8) : 0;
}

/* Runs of pixels whose patches and results lie one behind the other: lines, or all lines at once. */
typedef struct {
  uint32_t count, pixels;
  size_t step; /* bytes from the patches of one to the next's */
} runs;

static runs runs_of(const eq_tile *tile, const eq_bit_patches *p, size_t line_step) {
  const uint32_t all = tile->lines * tile->pixels;
  return line_step == tile->pixels * p->pixel ? (runs){1, all, 0} : (runs){tile->lines, tile->pixels, line_step};
}

/* The whole tile against its weights, of which the first block is `index`, to outputs. */
static void finish_tile(const conv *c, const eq_tile *tile, size_t index, eq_bit_patches p, runs r) {
  const uint8_t *x = p.x;
  const int32_t *ones = p.ones;
  const uint32_t *place = p.place;
  eq_bit_output to = {.out_pitch = c->op.o, .bits_pitch = eq_row_bytes(c->op.o)};
  for (uint32_t done = 0; done < tile->outputs; done += EQ_BLOCK, index++) {
    const uint32_t outputs = tile->outputs - done < EQ_BLOCK ? tile->outputs - done : EQ_BLOCK;
    const void *weights = c->tiles + index * tile_bytes(c);
    if (c->borders) p.totals = c->totals + index * places(c) * EQ_BLOCK;
    for (uint32_t i = 0; i < r.count; i++) {
      p.x = x + i * r.step;
      p.ones = ones + i * r.pixels;
      p.place = place + i * r.pixels;
      set_output(c, tile, i * r.pixels, done, &to);
      (c->kind == SIGNS ? c->kernels->output_b1 : c->kernels->output_t2)(&p, r.pixels, weights, outputs, &to);
    }
  }
}

/* One block of weights of one group against all lines of the tile. */
static void accumulate_block(const conv *c, const eq_tile *tile, uint32_t block, size_t index, uint32_t outputs,
                             eq_bit_patches p, runs r, int32_t *acc, size_t pitch) {
  const void *weights = c->tiles + index * tile_bytes(c);
  if (c->borders) p.totals = c->totals + index * places(c) * EQ_BLOCK;
  for (uint32_t i = 0; i < r.count; i++, p.x += r.step, p.ones += r.pixels, p.place += r.pixels) {
    set_hints(&p, tile, i * r.pixels, block);
    (c->kind == SIGNS ? c->kernels->accumulate_b1 : c->kernels->accumulate_t2)(
        &p, r.pixels, weights, outputs, acc + (size_t)i * r.pixels * pitch, pitch);
  }
}

/* Canonical weights against each pixel by itself. */
static void accumulate_direct(const conv *c, const eq_tile *tile, int32_t k, int32_t *acc, size_t pitch) {
  const size_t row = c->steps * sizeof(uint32_t);
  const uint8_t *w = c->w + tile->first * row;
  for (uint32_t i = 0; i < tile->lines * tile->pixels; i++, acc += pitch) {
    const uint8_t *x = patch(c, 0, tile, tile->line + i / tile->pixels, tile->x + i % tile->pixels);
    if (c->kind == SIGNS)
      c->kernels->dot_b1(x, w, row, tile->outputs, k, acc);
    else
      c->kernels->dot_t2(x, x + c->nonzero, w, row, tile->outputs, acc);
  }
}

/* Gathers the patches of narrow taps; `p` and the result's step from line to line then tell of the copy. */
static size_t gather(const conv *c, const eq_tile *tile, size_t line_step, eq_bit_patches *p) {
  uint8_t *gathered = c->gathered + tile->worker * plane_count(c) * c->gathered_bytes;
  const size_t pixel = c->steps * sizeof(uint32_t);
  for (uint32_t plane = 0; plane < plane_count(c); plane++)
    for (uint32_t i = 0; i < tile->lines; i++)
      gather_line(c, p->x + plane * c->nonzero + i * line_step, tile->pixels,
                  gathered + plane * c->gathered_bytes + i * tile->pixels * pixel);
  p->x = gathered;
  p->pixel = pixel;
  p->nonzero = c->kind == TERNARY ? c->gathered_bytes : 0;
  return tile->pixels * pixel;
}

/* Folds all patches; `p` and the step from line to line then tell of the result. */
static size_t fold(const conv *c, const eq_tile *tile, size_t line_step, eq_bit_patches *p) {
  uint8_t *folded = c->gathered + tile->worker * c->gathered_bytes;
  const size_t pixel = folded_words(c->kernels, c->steps) * sizeof(uint32_t);
  const runs r = runs_of(tile, p, line_step);
  for (uint32_t i = 0; i < r.count; i++, p->x += r.step)
    c->kernels->fold_patches(p, i * r.pixels, r.pixels, (uint32_t *)(void *)folded);
  p->x = folded;
  p->pixel = pixel;
  p->rows = 1;
  p->words = c->steps;
  p->folded = true;
  return tile->pixels * pixel;
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc_memory, size_t pitch) {
  const conv *c = operands;
  int32_t *acc = acc_memory;
  const int32_t k = (int32_t)(tap_count(c) * (c->op.c / c->op.groups));
  if (c->direct) {
    accumulate_direct(c, tile, k, acc, pitch);
    return;
  }
  const uint32_t first_block = c->op.groups == 1 ? tile->first / EQ_BLOCK : 0;
  const uint32_t group_outputs = c->op.groups == 1 ? tile->outputs : c->group_outputs;
  int32_t ones[EQ_PIXELS];
  uint32_t place[EQ_PIXELS];
  if (c->borders) set_places(c, tile, place);
  for (uint32_t g = 0; g < c->op.groups;
       g++) { /* rising: the lanes behind a group's last output are then overwritten */
    eq_bit_patches p = {.x = patch(c, g, tile, tile->line, tile->x),
                        .pixel = c->op.stride_w * c->pixel_bytes,
                        .row = c->line_bytes,
                        .rows = c->rows,
                        .words = c->words,
                        .steps = c->steps,
                        .k = k,
                        .place = place,
                        .nonzero = c->nonzero,
                        .ones = ones};
    size_t line_step = (size_t)(patch(c, g, tile, tile->line + 1, tile->x) - p.x);
    if (c->narrow) line_step = gather(c, tile, line_step, &p);
    if (c->folded && (c->kernels->fold_tile || tile->lines * tile->pixels >= LEAST_FOLDED_PIXELS))
      line_step = fold(c, tile, line_step, &p);
    eq_bit_patches line = p;
    for (uint32_t i = 0; c->kind != SIGNS && i < tile->lines; i++, line.x += line_step)
      c->kernels->count_ones(&line, tile->pixels, ones + i * tile->pixels);
    const runs r = runs_of(tile, &p, line_step);
    if (c->tiled.finished) {
      finish_tile(c, tile, first_block, p, r);
      return;
    }
    for (uint32_t done = 0; done < group_outputs; done += EQ_BLOCK) {
      const uint32_t outputs = group_outputs - done < EQ_BLOCK ? group_outputs - done : EQ_BLOCK;
      const size_t index = (size_t)g * c->group_blocks + first_block + done / EQ_BLOCK;
      accumulate_block(c, tile, done / EQ_BLOCK, index, outputs, p, r, acc + (size_t)g * c->group_outputs + done,
                       pitch);
    }
  }
}

/* ---- the operators ---- */

/* With tiles and without. */
static size_t scratch_size(activation kind, const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads) {
  if (eq_check_bit_conv2d(op, e) != EQ_OK) return 0;
  conv c;
  eq_arena here = {0}, ahead = {0};
  plan(&c, &here, eq_kernels_current(), kind, op, (void *)0, e, threads);
  plan(&c, &ahead, eq_kernels_current(), kind, op, op /* some tiles */, e, threads);
  return here.used > ahead.used ? eq_arena_bytes(&here) : eq_arena_bytes(&ahead);
}

/* Checks a call and plans it. Of w and tiles the second is used where it is given. */
static eq_status admit(conv *c, activation kind, const eq_conv2d *op, const uint8_t *x, const uint8_t *w,
                       const void *tiles, const eq_epilogue *e, const eq_threads *threads, void *scratch,
                       size_t scratch_bytes) {
  const eq_status status = eq_check_bit_conv2d(op, e);
  if (status != EQ_OK) return status;
  if (!x || (!w && !tiles) || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  eq_arena arena = {.base = scratch};
  plan(c, &arena, eq_kernels_current(), kind, op, tiles, e, threads);
  c->x = x;
  c->w = w;
  return eq_scratch_ok(scratch, scratch_bytes, eq_arena_bytes(&arena)) ? EQ_OK : EQ_NO_SCRATCH;
}

static void run(conv *c, const eq_threads *threads) {
  const eq_conv2d *op = &c->op;
  c->tiled.integer = true;
  c->tiled.operands = c;
  c->tiled.accumulate = accumulate;
  if (c->own_tiles && c->zeros) __builtin_memset(c->zeros, 0, c->tap_bytes);
  if (!c->tiled.finished) eq_output_begin(&c->tiled.output);
  const size_t blocks = c->own_tiles ? (size_t)op->groups * c->group_blocks : 0;
  const size_t lines = c->copied ? (size_t)plane_count(c) * op->groups * op->n * padded_h(c) : 0;
  if (blocks + lines) eq_share(threads, prepare, c, blocks + lines);
  eq_tiled_run(&c->tiled, threads);
}

#define CONVOLUTION(name, kind)                                                                                        \
  size_t eq_##name##_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads) {                   \
    return scratch_size(kind, op, e, threads);                                                                         \
  }                                                                                                                    \
  eq_status eq_##name(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,                   \
                      const eq_threads *threads, void *scratch, size_t scratch_bytes) {                                \
    conv c;                                                                                                            \
    const eq_status status = admit(&c, kind, op, x, w, (void *)0, e, threads, scratch, scratch_bytes);                 \
    if (status != EQ_OK) return status;                                                                                \
    if (c.kernels)                                                                                                     \
      run(&c, threads);                                                                                                \
    else                                                                                                               \
      eq_##name##_ref(op, x, w, e, scratch);                                                                           \
    return EQ_OK;                                                                                                      \
  }

/* A linear layer is a 1x1 convolution over m images of one pixel. */
static eq_conv2d as_conv2d(const eq_linear *op) {
  return (eq_conv2d){.n = op->m,
                     .h = 1,
                     .w = 1,
                     .c = op->k,
                     .o = op->o,
                     .kh = 1,
                     .kw = 1,
                     .stride_h = 1,
                     .stride_w = 1,
                     .out_h = 1,
                     .out_w = 1,
                     .groups = 1};
}

#define LINEAR(name, kind)                                                                                             \
  size_t eq_##name##_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads) {                   \
    if (!op) return 0;                                                                                                 \
    const eq_conv2d conv2d = as_conv2d(op);                                                                            \
    return scratch_size(kind, &conv2d, e, threads);                                                                    \
  }                                                                                                                    \
  eq_status eq_##name(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,                   \
                      const eq_threads *threads, void *scratch, size_t scratch_bytes) {                                \
    if (!op) return EQ_BAD_ARGUMENT;                                                                                   \
    const eq_conv2d conv2d = as_conv2d(op);                                                                            \
    conv c;                                                                                                            \
    const eq_status status = admit(&c, kind, &conv2d, x, w, (void *)0, e, threads, scratch, scratch_bytes);            \
    if (status != EQ_OK) return status;                                                                                \
    if (c.kernels)                                                                                                     \
      run(&c, threads);                                                                                                \
    else                                                                                                               \
      eq_##name##_ref(op, x, w, e, scratch);                                                                           \
    return EQ_OK;                                                                                                      \
  }

CONVOLUTION(conv2d_b1b1, SIGNS)
CONVOLUTION(conv2d_b1t2, TERNARY)
CONVOLUTION(conv2d_b1u1, ONES)
LINEAR(linear_b1b1, SIGNS)
LINEAR(linear_b1t2, TERNARY)
LINEAR(linear_b1u1, ONES)

/* ---- tiles made ahead of time ---- */

static size_t tiles_bytes(activation kind, const eq_conv2d *op) {
  conv c;
  eq_arena arena = {0};
  describe(&c, eq_kernels_current(), kind, op);
  eq_take(&arena, sizeof(tiles_header));
  take_weights(&c, &arena, 1);
  return arena.used > SIZE_MAX ? 0 : (size_t)arena.used;
}

static eq_status make_tiles(activation kind, const eq_conv2d *op, const uint8_t *w, void *tiles) {
  if (!w || !tiles || (uintptr_t)tiles % EQ_ALIGN) return EQ_BAD_ARGUMENT;
  conv c;
  describe(&c, eq_kernels_current(), kind, op);
  find_weights(&c, tiles);
  *(tiles_header *)tiles = header_for(kind, op);
  c.w = w;
  c.own_tiles = (uint8_t *)(uintptr_t)c.tiles;
  if (!c.kernels) { /* the reference takes weights as they are */
    __builtin_memcpy(c.own_tiles, w, (size_t)op->o * tap_count(&c) * c.tap_bytes);
    return EQ_OK;
  }
  if (c.borders) __builtin_memset(c.zeros, 0, c.tap_bytes);
  prepare(&c, 0, (size_t)op->groups * c.group_blocks, 0);
  return EQ_OK;
}

static bool same(const void *a, const void *b, size_t bytes) {
  const uint8_t *p = a, *q = b;
  while (bytes && *p == *q) p++, q++, bytes--;
  return bytes == 0;
}

/* EQ_OK: run it; *weights is what the reference takes. */
static eq_status admit_tiled(conv *c, activation kind, const eq_conv2d *op, const uint8_t *x, const void *tiles,
                             const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes,
                             const uint8_t **weights) {
  if (!op || !tiles || (uintptr_t)tiles % EQ_ALIGN) return EQ_BAD_ARGUMENT;
  const eq_status status = admit(c, kind, op, x, (uint8_t *)0, tiles, e, threads, scratch, scratch_bytes);
  if (status != EQ_OK) return status;
  const tiles_header wanted = header_for(kind, op);
  *weights = c->tiles;
  return same(tiles, &wanted, sizeof wanted) ? EQ_OK : EQ_BAD_ARGUMENT;
}

size_t eq_tiles_conv2d_b1b1_bytes(const eq_conv2d *op) {
  return eq_check_bit_shape(op) == EQ_OK ? tiles_bytes(SIGNS, op) : 0;
}

eq_status eq_tiles_conv2d_b1b1(const eq_conv2d *op, const uint8_t *w, void *tiles) {
  return eq_tiles_conv2d_b1b1_bytes(op) ? make_tiles(SIGNS, op, w, tiles) : EQ_BAD_SHAPE;
}

eq_status eq_conv2d_b1b1_tiled(const eq_conv2d *op, const uint8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  conv c;
  const uint8_t *w;
  const eq_status status = admit_tiled(&c, SIGNS, op, x, tiles, e, threads, scratch, scratch_bytes, &w);
  if (status != EQ_OK) return status;
  if (c.kernels)
    run(&c, threads);
  else
    eq_conv2d_b1b1_ref(op, x, w, e, scratch);
  return EQ_OK;
}

static size_t linear_tiles_bytes(activation kind, uint32_t o, uint32_t k) {
  if (!eq_extent_ok(o, k, 1, 1)) return 0;
  const eq_conv2d op = as_conv2d(&(eq_linear){.m = 1, .k = k, .o = o});
  return tiles_bytes(kind, &op);
}

static eq_status make_linear_tiles(activation kind, uint32_t o, uint32_t k, const uint8_t *w, void *tiles) {
  if (linear_tiles_bytes(kind, o, k) == 0) return EQ_BAD_SHAPE;
  const eq_conv2d op = as_conv2d(&(eq_linear){.m = 1, .k = k, .o = o});
  return make_tiles(kind, &op, w, tiles);
}

size_t eq_tiles_b1_bytes(uint32_t o, uint32_t k) { return linear_tiles_bytes(TERNARY, o, k); }
size_t eq_tiles_b1b1_bytes(uint32_t o, uint32_t k) { return linear_tiles_bytes(SIGNS, o, k); }

eq_status eq_tiles_b1(uint32_t o, uint32_t k, const uint8_t *w, void *tiles) {
  return make_linear_tiles(TERNARY, o, k, w, tiles);
}
eq_status eq_tiles_b1b1(uint32_t o, uint32_t k, const uint8_t *w, void *tiles) {
  return make_linear_tiles(SIGNS, o, k, w, tiles);
}

static eq_status run_tiled(activation kind,
                           void (*ref)(const eq_linear *, const uint8_t *, const uint8_t *, const eq_epilogue *,
                                       float *),
                           const eq_linear *op, const uint8_t *x, const void *tiles, const eq_epilogue *e,
                           const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  if (!op) return EQ_BAD_ARGUMENT;
  const eq_conv2d conv2d = as_conv2d(op);
  conv c;
  const uint8_t *w;
  const eq_status status = admit_tiled(&c, kind, &conv2d, x, tiles, e, threads, scratch, scratch_bytes, &w);
  if (status != EQ_OK) return status;
  if (c.kernels)
    run(&c, threads);
  else
    ref(op, x, w, e, scratch);
  return EQ_OK;
}

eq_status eq_linear_b1b1_tiled(const eq_linear *op, const uint8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  return run_tiled(SIGNS, eq_linear_b1b1_ref, op, x, tiles, e, threads, scratch, scratch_bytes);
}

eq_status eq_linear_b1t2_tiled(const eq_linear *op, const uint8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  return run_tiled(TERNARY, eq_linear_b1t2_ref, op, x, tiles, e, threads, scratch, scratch_bytes);
}

eq_status eq_linear_b1u1_tiled(const eq_linear *op, const uint8_t *x, const void *tiles, const eq_epilogue *e,
                               const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  return run_tiled(ONES, eq_linear_b1u1_ref, op, x, tiles, e, threads, scratch, scratch_bytes);
}
