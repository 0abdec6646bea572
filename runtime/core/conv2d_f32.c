/* Convolutions over float activations, with weights of every type. */
#include "check.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "kernels/ref/weights.h"
#include "tiled.h"
#include "window.h"

/* Sums start at +0 and can never become -0, so adding the +-0 of a padded tap leaves every bit as it was: the padding
 * may be written out, and every window treated alike. */
typedef struct {
  eq_tiled tiled;
  const eq_kernels *kernels;
  eq_conv2d op;
  const float *x;
  const eq_quant *q;
  eq_weights w;
  bool copied, depthwise; /* patches come from `planes`; one input channel a group */
  size_t line, plane;     /* floats of what patches are read from */
  uint32_t steps, group_outputs, group_blocks;
  float *planes;       /* [n][padded h][padded w][c], fake-quantised */
  float *tiles;        /* [groups][group_blocks][EQ_BLOCK / EQ_LANES][steps][EQ_LANES] */
  float *scale, *step; /* [w][c]: the channel's values once for every pixel of a line */
} conv;

static uint32_t padded_h(const conv *c) { return eq_padded_extent(c->op.out_h, c->op.stride_h, c->op.kh); }
static uint32_t padded_w(const conv *c) { return eq_padded_extent(c->op.out_w, c->op.stride_w, c->op.kw); }

static void plan(conv *c, eq_arena *arena, const eq_kernels *kernels, const eq_conv2d *op, const eq_quant *q,
                 const eq_epilogue *e, const eq_threads *threads) {
  *c = (conv){.kernels = kernels, .op = *op, .q = q};
  c->depthwise = op->groups > 1 && op->groups == op->c;
  c->copied = c->depthwise || q->kind != EQ_QUANT_NONE || !eq_windows_inside(op);
  c->line = (size_t)(c->copied ? padded_w(c) : op->w) * op->c;
  c->plane = (size_t)(c->copied ? padded_h(c) : op->h) * c->line;
  c->steps = op->kh * op->kw * (op->c / op->groups);
  /* In a depthwise convolution all outputs form one group: lanes may read different channels. */
  c->group_outputs = c->depthwise ? op->o : op->o / op->groups;
  c->group_blocks = (c->group_outputs - 1) / EQ_BLOCK + 1;
  const bool grouped = op->groups > 1 && !c->depthwise;
  const uint64_t blocks = (uint64_t)(op->o / c->group_outputs) * c->group_blocks;
  eq_tiled_plan(&c->tiled, arena, kernels, e, op->n, op->out_h, op->out_w, op->o, grouped ? op->o : EQ_CHANNELS,
                grouped ? EQ_BLOCK : 0, threads);
  c->tiles = eq_take(arena, blocks * EQ_BLOCK * c->steps * sizeof(float));
  if (!c->copied) return;
  c->planes = eq_take(arena, (uint64_t)op->n * c->plane * sizeof(float));
  if (q->kind == EQ_QUANT_NONE) return;
  c->scale = eq_take(arena, (uint64_t)op->w * op->c * sizeof(float));
  c->step = eq_take(arena, (uint64_t)op->w * op->c * sizeof(float));
}

/* ---- preparation: weight tiles and quantised, padded planes ---- */

/* Step i of a patch that belongs to output o; the bit types' depthwise rows run over the outputs. */
static float weight(const conv *c, size_t o, uint32_t i) {
  const uint32_t cg = c->op.c / c->op.groups, taps = c->op.kh * c->op.kw;
  switch (c->w.type) {
  case EQ_I8: return (float)((const int8_t *)c->w.data)[o * c->steps + i];
  case EQ_F32: return ((const float *)c->w.data)[o * c->steps + i];
  default:
    return c->depthwise ? eq_weight_value(&c->w, i, (uint32_t)o) : eq_weight_value(&c->w, o * taps + i / cg, i % cg);
  }
}

static void prepare_block(const conv *c, size_t index) {
  const uint32_t group = (uint32_t)(index / c->group_blocks), first = (uint32_t)(index % c->group_blocks) * EQ_BLOCK;
  const uint32_t outputs = c->group_outputs - first < EQ_BLOCK ? c->group_outputs - first : EQ_BLOCK;
  const size_t output = (size_t)group * c->group_outputs + first;
  float *tile = c->tiles + index * c->steps * EQ_BLOCK;
  for (uint32_t o = 0; o < EQ_BLOCK; o++) {
    float *lane = tile + (size_t)(o / EQ_LANES) * c->steps * EQ_LANES + o % EQ_LANES;
    for (uint32_t i = 0; i < c->steps; i++) lane[(size_t)i * EQ_LANES] = o < outputs ? weight(c, output + o, i) : 0.0f;
  }
}

static void fill(float *to, float value, size_t count) {
  for (size_t i = 0; i < count; i++) to[i] = value;
}

static void prepare_line(const conv *c, size_t index) {
  const eq_conv2d *op = &c->op;
  const size_t n = index / padded_h(c), y = index % padded_h(c);
  const eq_taps inside = eq_columns_inside(op);
  const bool empty = y < op->pad_top || y - op->pad_top >= op->h || inside.begin >= inside.end;
  const size_t begin = empty ? c->line : (size_t)inside.begin * op->c,
               end = empty ? c->line : (size_t)inside.end * op->c;
  float *to = c->planes + index * c->line;
  fill(to, 0.0f, begin);
  fill(to + end, 0.0f, c->line - end);
  if (empty) return;
  const float *from = c->x + (n * op->h + (y - op->pad_top)) * op->w * op->c;
  if (c->q->kind == EQ_QUANT_NONE)
    __builtin_memcpy(to + begin, from, (end - begin) * sizeof(float));
  else
    c->kernels->quantise(c->q, from, c->scale, c->step, end - begin, to + begin);
}

static void prepare(void *arg, size_t begin, size_t end, unsigned worker) {
  const conv *c = arg;
  const size_t blocks = (size_t)(c->op.o / c->group_outputs) * c->group_blocks;
  (void)worker;
  for (size_t i = begin; i < end; i++)
    if (i < blocks)
      prepare_block(c, i);
    else
      prepare_line(c, i - blocks);
}

/* ---- accumulation ---- */

static void accumulate_line(const conv *c, const eq_tile *tile, uint32_t group, uint32_t line, float *acc,
                            size_t pitch) {
  const eq_conv2d *op = &c->op;
  const bool single = op->out_h == 1 && op->out_w == 1;
  const size_t image = single ? line : tile->image, y = single ? 0 : (size_t)line * op->stride_h;
  const uint32_t cg = op->c / op->groups;
  const bool whole_taps = cg == op->c; /* neighbouring taps are then one run of memory */
  const eq_float_patches p = {.x = (c->copied ? c->planes : c->x) + image * c->plane + y * c->line +
                                   (size_t)tile->x * op->stride_w * op->c + (size_t)(c->depthwise ? 0 : group * cg),
                              .pixel = (size_t)op->stride_w * op->c,
                              .row = c->line,
                              .tap = op->c,
                              .rows = op->kh,
                              .taps = whole_taps ? 1 : op->kw,
                              .channels = whole_taps ? op->kw * cg : cg};
  const uint32_t first_block = tile->first / EQ_BLOCK;
  const uint32_t group_outputs = tile->outputs < c->group_outputs ? tile->outputs : c->group_outputs;
  for (uint32_t done = 0; done < group_outputs; done += EQ_BLOCK) {
    const uint32_t outputs = group_outputs - done < EQ_BLOCK ? group_outputs - done : EQ_BLOCK;
    const size_t index = (size_t)group * c->group_blocks + first_block + done / EQ_BLOCK;
    const float *weights = c->tiles + index * c->steps * EQ_BLOCK;
    float *to = acc + (size_t)group * c->group_outputs + done;
    if (c->depthwise)
      c->kernels->accumulate_depthwise(&p, tile->pixels, weights, tile->first + done, op->o / op->groups, outputs, to,
                                       pitch);
    else
      c->kernels->accumulate_f32(&p, tile->pixels, weights, outputs, to, pitch);
  }
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc, size_t pitch) {
  const conv *c = operands;
  for (uint32_t g = 0; g < c->op.o / c->group_outputs; g++) /* rising, as lanes behind a group are overwritten */
    for (uint32_t i = 0; i < tile->lines; i++)
      accumulate_line(c, tile, g, tile->line + i, (float *)acc + (size_t)i * tile->pixels * pitch, pitch);
}

static eq_status check(const eq_conv2d *op, const eq_epilogue *e) {
  const eq_status status = eq_check_conv2d(op);
  return status == EQ_OK ? eq_check_epilogue(e, op->n, op->out_h, op->out_w, op->o, false) : status;
}

static size_t scratch_size(const eq_conv2d *op, eq_quant_kind kind, const eq_epilogue *e, const eq_threads *threads) {
  const eq_quant any = {.kind = kind};
  if (check(op, e) != EQ_OK) return 0;
  conv c;
  eq_arena arena = {0};
  plan(&c, &arena, (const eq_kernels *)0, op, &any, e, threads);
  return eq_arena_bytes(&arena);
}

static void run(const eq_conv2d *op, const float *x, const eq_quant *q, eq_weights w, const eq_epilogue *e,
                const eq_kernels *kernels, const eq_threads *threads, void *scratch) {
  conv c;
  eq_arena arena = {.base = scratch};
  plan(&c, &arena, kernels, op, q, e, threads);
  c.x = x;
  c.w = w;
  c.tiled.operands = &c;
  c.tiled.accumulate = accumulate;
  if (c.scale)
    for (size_t i = 0; i < (size_t)op->w * op->c; i++) {
      c.scale[i] = q->scale[i % op->c];
      c.step[i] = q->step[i % op->c];
    }
  eq_output_begin(&c.tiled.output);
  const size_t blocks = (size_t)(op->o / c.group_outputs) * c.group_blocks;
  eq_share(threads, prepare, &c, blocks + (c.copied ? (size_t)op->n * padded_h(&c) : 0));
  eq_tiled_run(&c.tiled, threads);
}

size_t eq_conv2d_i8f32_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads) {
  return scratch_size(op, EQ_QUANT_SYM, e, threads);
}

eq_status eq_conv2d_i8f32(const eq_conv2d *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                          const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(op, e);
  if (status != EQ_OK) return status;
  if (!x || !w || !eq_threads_ok(threads) || eq_check_quant(q) != EQ_OK) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_conv2d_i8f32_scratch(op, e, threads))) return EQ_NO_SCRATCH;
  const eq_kernels *kernels = eq_kernels_current();
  if (kernels)
    run(op, x, q, eq_conv2d_weights(op, EQ_I8, w), e, kernels, threads, scratch);
  else
    eq_conv2d_i8f32_ref(op, x, q, w, e, scratch);
  return EQ_OK;
}

static eq_status plain(const eq_conv2d *op, eq_weight_type type, const float *x, const void *w, const eq_epilogue *e,
                       const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  static const eq_quant none = {.kind = EQ_QUANT_NONE};
  const eq_status status = check(op, e);
  if (status != EQ_OK) return status;
  if (!x || !w || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, scratch_size(op, EQ_QUANT_NONE, e, threads))) return EQ_NO_SCRATCH;
  const eq_kernels *kernels = eq_kernels_current();
  const eq_weights weights = eq_conv2d_weights(op, type, w);
  if (kernels)
    run(op, x, &none, weights, e, kernels, threads, scratch);
  else
    eq_conv2d_f32_ref(op, x, &weights, e, scratch);
  return EQ_OK;
}

#define CONV2D(name, type)                                                                                             \
  size_t eq_conv2d_##name##f32_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads) {         \
    return scratch_size(op, EQ_QUANT_NONE, e, threads);                                                                \
  }                                                                                                                    \
  eq_status eq_conv2d_##name##f32(const eq_conv2d *op, const float *x, const void *w, const eq_epilogue *e,            \
                                  const eq_threads *threads, void *scratch, size_t scratch_bytes) {                    \
    return plain(op, type, x, w, e, threads, scratch, scratch_bytes);                                                  \
  }
CONV2D(s2, EQ_S2)
CONV2D(s3, EQ_S3)
CONV2D(s4, EQ_S4)
CONV2D(f32, EQ_F32)
