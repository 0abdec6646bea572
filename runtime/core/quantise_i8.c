#include "check.h"
#include "integer.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "tiled.h"

static bool gives_shift(eq_codes_kind kind) { return kind == EQ_CODES_ROW_ASYM || kind == EQ_CODES_TENSOR_ASYM; }

typedef struct {
  float least, most;
} range;

static range range_of(const eq_integer_kernels *kernels, const eq_codes *q, const float *x, size_t count) {
  range r;
  kernels->range(x, count, q->clip, &r.least, &r.most);
  return r;
}

static float symmetric(const eq_integer_kernels *kernels, const eq_codes *q, const float *x, size_t count, range r,
                       int8_t *codes) {
  const float most = -r.least > r.most ? -r.least : r.most;
  if (!(most >= EQ_LEAST_MAXIMUM)) {
    __builtin_memset(codes, 0, count);
    return 0.0f;
  }
  kernels->codes(x, count, q->clip, 127.0f * (1.0f / most), -127, 127, codes);
  return most / 127.0f;
}

static bool one_range(eq_codes_kind kind) { return kind == EQ_CODES_TENSOR_SYM || kind == EQ_CODES_TENSOR_ASYM; }

typedef struct {
  const eq_integer_kernels *kernels;
  const eq_codes *q;
  const float *x;
  uint32_t k, piece; /* values of a row, and those of them that have a step of their own */
  range all;         /* where all rows have one */
  int8_t *codes;
  float *step, *shift;
} quantiser;

static void quantise_piece(const quantiser *by, size_t first, uint32_t count, size_t number) {
  const float *x = by->x + first;
  int8_t *codes = by->codes + first;
  const range r = one_range(by->q->kind) ? by->all : range_of(by->kernels, by->q, x, count);
  if (!gives_shift(by->q->kind)) {
    by->step[number] = symmetric(by->kernels, by->q, x, count, r, codes);
    return;
  }
  const float width = (r.most - r.least) + 1e-8f, step = width / 255.0f;
  by->kernels->codes_between(x, count, by->q->clip, r.least, width, codes);
  by->step[number] = step;
  by->shift[number] = r.least + 128.0f * step;
}

/* Rows [begin, end). */
static void quantise(void *arg, size_t begin, size_t end, unsigned worker) {
  const quantiser *by = arg;
  const eq_codes *q = by->q;
  const uint32_t k = by->k, pieces = (k - 1) / by->piece + 1;
  const size_t first = begin * k, count = (end - begin) * k;
  (void)worker;
  if (q->kind == EQ_CODES_STATIC) {
    by->kernels->codes(by->x + first, count, 0.0f, q->grid.inv_step, q->grid.low, q->grid.high, by->codes + first);
    return;
  }
  if (q->kind == EQ_CODES_BLOCK32_SYM && k % EQ_CODES_BLOCK == 0) {
    by->kernels->codes_of_blocks(by->x + first, count / EQ_CODES_BLOCK, q->clip, by->codes + first,
                                 by->step + begin * pieces);
    return;
  }
  for (size_t row = begin; row < end; row++)
    for (uint32_t i = 0, at = 0; i < pieces; i++, at += by->piece)
      quantise_piece(by, row * k + at, k - at < by->piece ? k - at : by->piece, row * pieces + i);
}

eq_status eq_quantise_i8(const eq_codes *q, const float *x, size_t rows, uint32_t k, int8_t *codes, float *step,
                         float *shift, const eq_threads *threads) {
  if (!q || !x || !codes || (unsigned)q->kind > EQ_CODES_BLOCK32_SYM) return EQ_BAD_ARGUMENT;
  if (q->kind == EQ_CODES_STATIC ? !eq_grid_ok(&q->grid) : !step || !(q->clip >= 0.0f)) return EQ_BAD_ARGUMENT;
  if ((gives_shift(q->kind) && !shift) || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (rows == 0 || k == 0 || k > INT32_MAX || rows > SIZE_MAX / sizeof(float) / k) return EQ_BAD_SHAPE;
  const eq_integer_kernels *kernels = eq_integer_current();
  if (!kernels) {
    eq_quantise_i8_ref(q, x, rows, k, codes, step, shift);
    return EQ_OK;
  }
  quantiser by = {.kernels = kernels,
                  .q = q,
                  .x = x,
                  .k = k,
                  .piece = q->kind == EQ_CODES_BLOCK32_SYM ? EQ_CODES_BLOCK : k,
                  .codes = codes,
                  .step = step,
                  .shift = shift};
  if (one_range(q->kind)) by.all = range_of(kernels, q, x, rows * k);
  eq_share(threads, quantise, &by, rows);
  return EQ_OK;
}
