/* 4-bit weights in groups against int8 images: the windows of some pixels are written out as rows of a linear layer,
 * and the epilogue runs over the sums of all. */
#include "check.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "tiled.h"
#include "window.h"

enum { MOST_ROWS = 256 }; /* windows at once: the linear layer tiles its weights once for each so many */

typedef struct {
  eq_conv2d op;
  eq_linear layer; /* of most windows at once */
  uint32_t pixels; /* of the output */
  uint32_t first;  /* pixel of the windows at hand */
  const int8_t *x;
  int8_t *rows; /* [layer.m][k] */
  float *acc;   /* [pixels][o] */
  eq_output output;
  void *scratch; /* of the linear layer */
  size_t scratch_bytes;
} conv;

static size_t layer_scratch(const conv *c, uint32_t m, const eq_weights_i4 *w, const eq_threads *threads) {
  float unused;
  const eq_epilogue sums = {.out = &unused};
  const eq_linear layer = {m, c->layer.k, c->layer.o};
  return eq_linear_i4i8_scratch(&layer, w, &sums, threads);
}

static void plan(conv *c, eq_arena *arena, const eq_kernels *kernels, const eq_conv2d *op, const eq_weights_i4 *w,
                 const eq_epilogue *e, const eq_threads *threads) {
  *c = (conv){.op = *op, .pixels = op->n * op->out_h * op->out_w};
  c->layer = (eq_linear){.m = c->pixels < MOST_ROWS ? c->pixels : MOST_ROWS, .k = op->kh * op->kw * op->c, .o = op->o};
  const uint32_t last = (c->pixels - 1) % c->layer.m + 1; /* windows of the last turn */
  const size_t whole = layer_scratch(c, c->layer.m, w, threads), rest = layer_scratch(c, last, w, threads);
  c->scratch_bytes = whole > rest ? whole : rest;
  eq_output_plan(&c->output, arena, kernels, e, op->n, op->out_h, op->out_w, op->o, op->o, EQ_PIXELS, 1);
  c->rows = eq_take(arena, (uint64_t)c->layer.m * c->layer.k);
  c->acc = eq_take(arena, (uint64_t)c->pixels * op->o * sizeof(float));
  c->scratch = eq_take(arena, c->scratch_bytes);
}

/* The windows of the pixels [first + begin, first + end). */
static void write_out(void *arg, size_t begin, size_t end, unsigned worker) {
  const conv *c = arg;
  const eq_conv2d *op = &c->op;
  (void)worker;
  for (size_t i = begin; i < end; i++) {
    const uint32_t pixel = c->first + (uint32_t)i, x = pixel % op->out_w, y = pixel / op->out_w % op->out_h;
    const eq_taps v = eq_taps_inside(y, op->stride_h, op->kh, op->pad_top, op->h),
                  h = eq_taps_inside(x, op->stride_w, op->kw, op->pad_left, op->w);
    const int8_t *image = c->x + (size_t)(pixel / op->out_w / op->out_h) * op->h * op->w * op->c;
    int8_t *row = c->rows + i * c->layer.k;
    __builtin_memset(row, 0, c->layer.k);
    for (uint32_t ky = v.begin; ky < v.end; ky++) {
      const size_t line = (size_t)y * op->stride_h + ky - op->pad_top,
                   column = (size_t)x * op->stride_w + h.begin - op->pad_left;
      __builtin_memcpy(row + ((size_t)ky * op->kw + h.begin) * op->c, image + (line * op->w + column) * op->c,
                       (size_t)(h.end - h.begin) * op->c);
    }
  }
}

static eq_status check(const eq_conv2d *op, const eq_weights_i4 *w, const eq_epilogue *e) {
  eq_status status = eq_check_conv2d(op);
  if (status != EQ_OK) return status;
  if (op->groups != 1) return EQ_BAD_SHAPE;
  status = eq_check_weights_i4(w, op->kh * op->kw * op->c);
  return status == EQ_OK ? eq_check_epilogue(e, op->n, op->out_h, op->out_w, op->o, false) : status;
}

size_t eq_conv2d_i4i8_scratch(const eq_conv2d *op, const eq_weights_i4 *w, const eq_epilogue *e,
                              const eq_threads *threads) {
  if (check(op, w, e) != EQ_OK) return 0;
  conv c;
  eq_arena arena = {0};
  plan(&c, &arena, (const eq_kernels *)0, op, w, e, threads);
  return eq_arena_bytes(&arena);
}

eq_status eq_conv2d_i4i8(const eq_conv2d *op, const int8_t *x, const eq_weights_i4 *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  eq_status status = check(op, w, e);
  if (status != EQ_OK) return status;
  if (!x || !eq_weights_i4_given(w) || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_conv2d_i4i8_scratch(op, w, e, threads))) return EQ_NO_SCRATCH;
  const eq_kernels *kernels = eq_kernels_current();
  if (!kernels) {
    eq_conv2d_i4i8_ref(op, x, w, e, scratch);
    return EQ_OK;
  }
  conv c;
  eq_arena arena = {.base = scratch};
  plan(&c, &arena, kernels, op, w, e, threads);
  c.x = x;
  for (; c.first < c.pixels; c.first += c.layer.m) {
    const uint32_t left = c.pixels - c.first;
    const eq_linear layer = {left < c.layer.m ? left : c.layer.m, c.layer.k, c.layer.o};
    const eq_epilogue sums = {.out = c.acc + (size_t)c.first * op->o};
    eq_share(threads, write_out, &c, layer.m);
    status = eq_linear_i4i8(&layer, c.rows, (const float *)0, w, &sums, threads, c.scratch, c.scratch_bytes);
    if (status != EQ_OK) return status;
  }
  eq_output_all(&c.output, (const int32_t *)0, c.acc);
  return EQ_OK;
}
