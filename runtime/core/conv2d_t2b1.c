/* Ternary weights against signs as two convolutions of signs, whose sums are added up before the epilogue. */
#include "check.h"
#include "isa.h"
#include "kernels/ref/bits.h"
#include "raise_zeros.h"
#include "tiled.h"

typedef struct {
  eq_conv2d op;
  size_t rows, row, outputs; /* taps of all outputs, bytes of one, accumulators */
  const uint8_t *w;
  uint8_t *upper;      /* [o][kh][kw][row] */
  int32_t *acc, *more; /* [n][out_h][out_w][o] of the zeros as -1, and of them as +1 */
  void *scratch;       /* of the convolutions and the epilogue, one after the other */
  size_t scratch_bytes;
} conv;

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static void plan(conv *c, eq_arena *arena, const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads) {
  int32_t unused;
  const eq_epilogue sums = {.out_acc = &unused};
  *c = (conv){.op = *op,
              .rows = (size_t)op->o * op->kh * op->kw,
              .row = eq_row_bytes(op->c / op->groups),
              .outputs = (size_t)op->n * op->out_h * op->out_w * op->o,
              .scratch_bytes = larger(eq_conv2d_b1b1_scratch(op, &sums, threads),
                                      eq_epilogue_i32_scratch(op->n, op->out_h, op->out_w, op->o, e))};
  c->upper = eq_take(arena, (uint64_t)c->rows * c->row);
  c->acc = eq_take(arena, (uint64_t)c->outputs * sizeof(int32_t));
  c->more = eq_take(arena, (uint64_t)c->outputs * sizeof(int32_t));
  c->scratch = eq_take(arena, c->scratch_bytes);
}

static void prepare(void *arg, size_t begin, size_t end, unsigned worker) {
  const conv *c = arg;
  const uint8_t *nonzero = c->w + c->rows * c->row;
  (void)worker;
  for (size_t i = begin; i < end; i++) {
    const size_t at = i * c->row;
    eq_raise_zeros(c->w + at, nonzero + at, c->op.c / c->op.groups, c->row, c->upper + at);
  }
}

static void halve(void *arg, size_t begin, size_t end, unsigned worker) {
  const conv *c = arg;
  (void)worker;
  for (size_t i = begin; i < end; i++) c->acc[i] = (c->acc[i] + c->more[i]) / 2;
}

static eq_status convolve(const conv *c, const uint8_t *x, const uint8_t *w, int32_t *acc, const eq_threads *threads) {
  const eq_epilogue sums = {.out_acc = acc};
  return eq_conv2d_b1b1(&c->op, x, w, &sums, threads, c->scratch, c->scratch_bytes);
}

size_t eq_conv2d_t2b1_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads) {
  if (eq_check_bit_conv2d(op, e) != EQ_OK) return 0;
  conv c;
  eq_arena arena = {0};
  plan(&c, &arena, op, e, threads);
  return eq_arena_bytes(&arena);
}

eq_status eq_conv2d_t2b1(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  eq_status status = eq_check_bit_conv2d(op, e);
  if (status != EQ_OK) return status;
  if (!x || !w || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_conv2d_t2b1_scratch(op, e, threads))) return EQ_NO_SCRATCH;
  if (!eq_kernels_current()) {
    eq_conv2d_t2b1_ref(op, x, w, e, scratch);
    return EQ_OK;
  }
  conv c;
  eq_arena arena = {.base = scratch};
  plan(&c, &arena, op, e, threads);
  c.w = w;
  eq_share(threads, prepare, &c, c.rows);
  status = convolve(&c, x, w, c.acc, threads);
  if (status == EQ_OK) status = convolve(&c, x, c.upper, c.more, threads);
  if (status != EQ_OK) return status;
  eq_share(threads, halve, &c, c.outputs);
  return eq_epilogue_i32(c.acc, op->n, op->out_h, op->out_w, op->o, e, c.scratch, c.scratch_bytes);
}
