/* Convolutions and linear layers over int8 activations with weights of 1 to 8 bits. */
#include "check.h"
#include "choices.h"
#include "integer.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "tiled.h"
#include "window.h"

enum { MOST_INPUTS_WIDE = (1 << 17) - 1, MOST_INPUTS = (1 << 20) - 1 }; /* of one output: the sum fits 31 bits */

static eq_status check(const eq_conv2d *op, eq_weight_type type, const eq_epilogue *e) {
  const eq_status status = eq_check_conv2d(op);
  if (status != EQ_OK) return status;
  const uint64_t inputs = (uint64_t)op->kh * op->kw * (op->c / op->groups);
  if (inputs > (eq_weight_bits(type) > 3 ? MOST_INPUTS_WIDE : MOST_INPUTS)) return EQ_BAD_SHAPE;
  return eq_check_epilogue(e, op->n, op->out_h, op->out_w, op->o, true);
}

/* A convolution on its way through the tiled driver. Blocks of weights are made into tiles when a worker comes to them.
 * Groups that are no depthwise convolution go through together: the one block of channels then holds all of them. */
typedef struct {
  eq_tiled tiled;
  const eq_integer_kernels *kernels;
  eq_conv2d op;
  eq_weights weights;
  const int8_t *x;
  bool depthwise, dots; /* dots: few rows against canonical weights */
  unsigned halves;      /* of a weight: tiles hold +-64 or +-127 */
  uint32_t groups, group_channels, group_outputs, group_blocks;
  uint32_t steps;                 /* of a patch */
  size_t tap, pixel, line, plane; /* bytes: channels of a group padded, pixel, line and image of `planes` */
  uint8_t *planes;                /* [n][padded h][padded w][groups][tap], offset */
  int32_t *sums;                  /* [m] of each row, dots only */
  int8_t *rows;                   /* [workers][EQ_BLOCK][steps][4], depthwise [workers][halves][taps][outputs] */
  uint8_t *tiles;                 /* [workers][groups or 1][group blocks or 1][halves] of tile_bytes */
  size_t row_pitch, rows_bytes, tile_bytes, tiles_bytes; /* of a depthwise row, of a worker, of a tile with its
                                                          * start, of a worker */
  uint32_t *made; /* [workers][EQ_ALIGN / 4] first output + 1 of what its tiles hold */
} conv;

enum { MADE_PITCH = EQ_ALIGN / sizeof(uint32_t) };

static uint32_t padded_h(const conv *c) { return eq_padded_extent(c->op.out_h, c->op.stride_h, c->op.kh); }
static uint32_t padded_w(const conv *c) { return eq_padded_extent(c->op.out_w, c->op.stride_w, c->op.kw); }
static uint32_t tap_count(const conv *c) { return c->op.kh * c->op.kw; }
static bool is_linear(const eq_conv2d *op) {
  return op->h == 1 && op->w == 1 && op->kh == 1 && op->kw == 1 && op->groups == 1;
}

/* Everything about the call but its data; with a measuring arena this is the scratch formula, the largest over the
 * sets. */
static void plan(conv *c, eq_arena *arena, const eq_integer_kernels *kernels, const eq_conv2d *op, eq_weight_type type,
                 const eq_epilogue *e, const eq_threads *threads) {
  const unsigned workers = eq_workers(threads);
  *c = (conv){.kernels = kernels, .op = *op, .depthwise = eq_depthwise(op)};
  c->dots = is_linear(op) && op->n <= eq_choice(EQ_CHOICE_I8_ROWS) && (!kernels || kernels->dot);
  c->halves = type == EQ_S4 || (type == EQ_I8 && !c->depthwise && (!kernels || kernels->narrow)) ? 2 : 1;
  c->groups = c->depthwise ? 1 : op->groups;
  c->group_channels = op->c / c->groups;
  c->group_outputs = op->o / c->groups;
  c->group_blocks = (c->group_outputs - 1) / EQ_BLOCK + 1;
  c->tap = (size_t)eq_round_up(c->group_channels, c->dots ? EQ_CHUNK : EQ_STEP);
  c->pixel = c->tap * c->groups;
  c->line = padded_w(c) * c->pixel;
  c->plane = padded_h(c) * c->line;
  c->steps = tap_count(c) * (uint32_t)(c->tap / EQ_STEP);
  const bool together = c->groups > 1;
  eq_tiled_plan(&c->tiled, arena, eq_kernels_current(), e, op->n, op->out_h, op->out_w, op->o,
                together  ? op->o
                : c->dots ? EQ_CHANNELS
                          : EQ_BLOCK,
                together ? EQ_BLOCK : 0, threads);
  c->tiled.lines_first = true;
  c->planes = eq_take(arena, op->n * (uint64_t)c->plane + EQ_CHUNK);
  if (c->dots) c->sums = eq_take(arena, op->n * sizeof(int32_t));
  if (c->dots && kernels) return;
  c->row_pitch = (size_t)eq_round_up(op->o, EQ_ALIGN) + EQ_ALIGN;
  c->rows_bytes =
      c->depthwise ? c->halves * tap_count(c) * c->row_pitch : (size_t)EQ_BLOCK * c->steps * EQ_STEP + EQ_ALIGN;
  c->rows = eq_take(arena, (uint64_t)workers * c->rows_bytes);
  c->made = eq_take(arena, workers * EQ_ALIGN);
  if (c->depthwise) return;
  c->tile_bytes = (size_t)EQ_BLOCK * (c->steps * EQ_STEP + sizeof(int32_t));
  c->tiles_bytes = c->tile_bytes * c->halves * (together ? (size_t)c->groups * c->group_blocks : 1);
  c->tiles = eq_take(arena, (uint64_t)workers * c->tiles_bytes);
}

/* ---- preparation: planes with the padding written out ---- */

static void prepare_line(const conv *c, size_t index) {
  const eq_conv2d *op = &c->op;
  const uint8_t offset = c->dots || c->depthwise ? 0 : c->kernels->offset;
  const size_t n = index / padded_h(c), y = index % padded_h(c);
  const eq_taps inside = eq_columns_inside(op);
  const bool empty = y < op->pad_top || y - op->pad_top >= op->h || inside.begin >= inside.end;
  const size_t begin = empty ? c->line : inside.begin * c->pixel, end = empty ? c->line : inside.end * c->pixel;
  uint8_t *to = c->planes + index * c->line;
  __builtin_memset(to, offset, begin);
  __builtin_memset(to + end, offset, c->line - end);
  if (empty) return;
  const int8_t *from = c->x + (n * op->h + (y - op->pad_top)) * op->w * op->c;
  if (c->pixel == op->c) {
    c->kernels->shift(from, end - begin, offset, to + begin);
    return;
  }
  const size_t pixels = inside.end - inside.begin;
  for (size_t i = 0; i < pixels * c->groups; i++, from += c->group_channels) {
    uint8_t *tap = to + begin + i * c->tap;
    c->kernels->shift(from, c->group_channels, offset, tap);
    __builtin_memset(tap + c->group_channels, offset, c->tap - c->group_channels);
  }
}

static void prepare(void *arg, size_t begin, size_t end, unsigned worker) {
  const conv *c = arg;
  (void)worker;
  for (size_t i = begin; i < end; i++) {
    prepare_line(c, i);
    if (!c->dots) continue;
    int32_t sum = 0;
    for (uint32_t k = 0; k < c->op.c; k++) sum += c->x[i * c->op.c + k];
    c->sums[i] = sum;
  }
}

/* ---- weights of a block ---- */

static int32_t *start_of(const conv *c, uint8_t *tile) {
  return (int32_t *)(void *)(tile + (size_t)EQ_BLOCK * c->steps * EQ_STEP);
}

/* All weights of `outputs` outputs as one long row, where nothing lies between their taps, neither in memory nor made
 * ready: one call then decodes them all. */
static bool dense(const conv *c, uint32_t outputs, eq_weights *all) {
  const uint32_t bits = c->weights.type == EQ_I8 ? 8 : 1;
  *all = c->weights;
  all->row *= (size_t)outputs * tap_count(c);
  return 8 * c->weights.row == c->tap * bits && c->group_channels == c->tap && all->row % sizeof(uint64_t) == 0;
}

static void decode_rows(const conv *c, uint32_t first, uint32_t outputs, unsigned half, int8_t *rows) {
  eq_weights all;
  if (dense(c, outputs, &all)) {
    all.data = (const uint8_t *)all.data + (size_t)first * tap_count(c) * c->weights.row;
    c->kernels->decode(&all, 0, outputs * c->steps * EQ_STEP, half, rows);
    return;
  }
  for (uint32_t o = 0; o < outputs; o++)
    for (uint32_t t = 0; t < tap_count(c); t++) {
      int8_t *tap = rows + (size_t)o * c->steps * EQ_STEP + t * c->tap;
      c->kernels->decode(&c->weights, (size_t)(first + o) * tap_count(c) + t, c->group_channels, half, tap);
      if (c->tap > c->group_channels) __builtin_memset(tap + c->group_channels, 0, c->tap - c->group_channels);
    }
}

static void make_tile(const conv *c, uint32_t first, uint32_t outputs, unsigned half, unsigned worker, uint8_t *tile) {
  int8_t *rows = c->rows + worker * c->rows_bytes;
  decode_rows(c, first, outputs, half, rows);
  c->kernels->tile(rows, outputs, c->steps, (int8_t *)tile, start_of(c, tile));
}

/* Depthwise: the rows [halves][taps][outputs] themselves. */
static void make_rows(const conv *c, unsigned worker) {
  int8_t *to = c->rows + worker * c->rows_bytes;
  for (unsigned half = 0; half < c->halves; half++)
    for (uint32_t t = 0; t < tap_count(c); t++, to += c->row_pitch)
      if (c->weights.type != EQ_I8)
        c->kernels->decode(&c->weights, t, c->op.o, c->halves == 1 ? 0 : half + 1, to);
      else
        for (uint32_t o = 0; o < c->op.o; o++) to[o] = ((const int8_t *)c->weights.data)[(size_t)o * tap_count(c) + t];
}

/* Makes what the tile needs, unless this worker has it already. */
static uint8_t *weights_for(const conv *c, const eq_tile *tile) {
  uint8_t *tiles = c->tiles + tile->worker * c->tiles_bytes;
  uint32_t *made = c->made + tile->worker * MADE_PITCH;
  const uint32_t wanted = c->depthwise ? 1 : tile->first + 1;
  if (*made == wanted) return tiles;
  *made = wanted;
  if (c->depthwise) {
    make_rows(c, tile->worker);
    return tiles;
  }
  uint8_t *to = tiles;
  for (uint32_t g = 0; g < c->groups; g++) {
    const uint32_t begin = c->groups > 1 ? g * c->group_outputs : tile->first;
    const uint32_t end = c->groups > 1 ? begin + c->group_outputs : tile->first + tile->outputs;
    for (uint32_t first = begin; first < end; first += EQ_BLOCK)
      for (unsigned half = 0; half < c->halves; half++, to += c->tile_bytes)
        make_tile(c, first, end - first < EQ_BLOCK ? end - first : EQ_BLOCK, c->halves == 1 ? 0 : half + 1,
                  tile->worker, to);
  }
  return tiles;
}

/* ---- accumulation ---- */

static eq_byte_patches patches(const conv *c, const eq_tile *tile, uint32_t line) {
  const bool single = c->op.out_h == 1 && c->op.out_w == 1, whole_taps = c->groups == 1 && !c->depthwise;
  const size_t image = single ? line : tile->image, y = single ? 0 : (size_t)line * c->op.stride_h;
  return (eq_byte_patches){.x =
                               c->planes + image * c->plane + y * c->line + (size_t)tile->x * c->op.stride_w * c->pixel,
                           .pixel = single ? c->plane : c->op.stride_w * c->pixel,
                           .row = c->line,
                           .tap = c->pixel,
                           .rows = c->op.kh,
                           .taps = whole_taps ? 1 : c->op.kw,
                           .steps = (uint32_t)(c->tap / EQ_STEP) * (whole_taps ? c->op.kw : 1)};
}

static void accumulate_line(const conv *c, const eq_tile *tile, eq_byte_patches p, uint32_t pixels, uint8_t *weights,
                            int32_t *acc, size_t pitch) {
  if (c->depthwise) {
    const int8_t *rows = c->rows + tile->worker * c->rows_bytes + tile->first;
    for (unsigned half = 0; half < c->halves; half++, rows += tap_count(c) * c->row_pitch)
      c->kernels->depthwise(&p, pixels, rows, c->row_pitch, tile->first, c->op.o / c->op.c, half > 0, tile->outputs,
                            acc, pitch);
    return;
  }
  const uint32_t outputs = c->groups > 1 ? c->group_outputs : tile->outputs;
  const bool ones = c->kernels->accumulate_ones && eq_weight_bits(c->weights.type) == 0;
  for (uint32_t g = 0; g < c->groups;
       g++, p.x += c->tap) /* rising: lanes behind a group's last output are overwritten */
    for (uint32_t done = 0; done < outputs; done += EQ_BLOCK)
      for (unsigned half = 0; half < c->halves; half++, weights += c->tile_bytes)
        (ones ? c->kernels->accumulate_ones : c->kernels->accumulate)(
            &p, pixels, (const int8_t *)weights, start_of(c, weights), half > 0,
            outputs - done < EQ_BLOCK ? outputs - done : EQ_BLOCK, acc + (size_t)g * c->group_outputs + done, pitch);
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc_memory, size_t pitch) {
  const conv *c = operands;
  int32_t *acc = acc_memory;
  if (c->dots) {
    c->kernels->dot((const int8_t *)c->planes + tile->line * c->plane, c->plane, c->sums + tile->line, tile->lines,
                    &c->weights, tile->first, tile->outputs, c->op.c, acc, pitch);
    return;
  }
  uint8_t *weights = weights_for(c, tile);
  const bool single = c->op.out_h == 1 && c->op.out_w == 1;
  if (single) {
    accumulate_line(c, tile, patches(c, tile, tile->line), tile->lines, weights, acc, pitch);
    return;
  }
  for (uint32_t i = 0; i < tile->lines; i++)
    accumulate_line(c, tile, patches(c, tile, tile->line + i), tile->pixels, weights,
                    acc + (size_t)i * tile->pixels * pitch, pitch);
}

static size_t scratch_size(const eq_conv2d *op, eq_weight_type type, const eq_epilogue *e, const eq_threads *threads) {
  if (check(op, type, e) != EQ_OK) return 0;
  conv c;
  eq_arena arena = {0};
  plan(&c, &arena, (const eq_integer_kernels *)0, op, type, e, threads);
  return eq_arena_bytes(&arena);
}

static eq_status run(const eq_conv2d *op, eq_weight_type type, const int8_t *x, const void *w, const eq_epilogue *e,
                     const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(op, type, e);
  if (status != EQ_OK) return status;
  if (!x || !w || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, scratch_size(op, type, e, threads))) return EQ_NO_SCRATCH;
  const eq_weights weights = eq_conv2d_weights(op, type, w);
  const eq_integer_kernels *kernels = eq_integer_current();
  if (!kernels) {
    eq_conv2d_i8_ref(op, x, &weights, e, scratch);
    return EQ_OK;
  }
  conv c;
  eq_arena arena = {.base = scratch};
  plan(&c, &arena, kernels, op, type, e, threads);
  c.x = x;
  c.weights = weights;
  c.tiled.integer = true;
  c.tiled.operands = &c;
  c.tiled.accumulate = accumulate;
  if (c.made) __builtin_memset(c.made, 0, eq_workers(threads) * EQ_ALIGN);
  eq_output_begin(&c.tiled.output);
  eq_share(threads, prepare, &c, (size_t)op->n * padded_h(&c));
  eq_tiled_run(&c.tiled, threads);
  return EQ_OK;
}

/* A linear layer is a 1x1 convolution over m images of one pixel. */
static eq_conv2d pointwise(const eq_linear *op) {
  return (eq_conv2d){op->m, 1, 1, op->k, op->o, 1, 1, 1, 1, 0, 0, 1, 1, 1};
}

#define EQ_INT8_PRODUCTS(type, TYPE)                                                                                   \
  size_t eq_conv2d_##type##i8_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads) {          \
    return scratch_size(op, TYPE, e, threads);                                                                         \
  }                                                                                                                    \
  eq_status eq_conv2d_##type##i8(const eq_conv2d *op, const int8_t *x, const void *w, const eq_epilogue *e,            \
                                 const eq_threads *threads, void *scratch, size_t scratch_bytes) {                     \
    return run(op, TYPE, x, w, e, threads, scratch, scratch_bytes);                                                    \
  }                                                                                                                    \
  size_t eq_linear_##type##i8_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads) {          \
    if (eq_check_linear(op) != EQ_OK) return 0;                                                                        \
    const eq_conv2d as_conv = pointwise(op);                                                                           \
    return scratch_size(&as_conv, TYPE, e, threads);                                                                   \
  }                                                                                                                    \
  eq_status eq_linear_##type##i8(const eq_linear *op, const int8_t *x, const void *w, const eq_epilogue *e,            \
                                 const eq_threads *threads, void *scratch, size_t scratch_bytes) {                     \
    const eq_status status = eq_check_linear(op);                                                                      \
    if (status != EQ_OK) return status;                                                                                \
    const eq_conv2d as_conv = pointwise(op);                                                                           \
    return run(&as_conv, TYPE, x, w, e, threads, scratch, scratch_bytes);                                              \
  }
EQ_INT8_PRODUCTS(b1, EQ_B1)
EQ_INT8_PRODUCTS(t2, EQ_T2)
EQ_INT8_PRODUCTS(s2, EQ_S2)
EQ_INT8_PRODUCTS(s3, EQ_S3)
EQ_INT8_PRODUCTS(s4, EQ_S4)
EQ_INT8_PRODUCTS(i8, EQ_I8)
