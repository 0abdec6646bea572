#include "check.h"
#include "integer.h"
#include "isa.h"
#include "kernels/ref/ref.h"

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

static void quantise(const eq_integer_kernels *kernels, const eq_codes *q, const float *x, size_t rows, uint32_t k,
                     int8_t *codes, float *step, float *shift) {
  if (q->kind == EQ_CODES_STATIC) {
    kernels->codes(x, rows * k, 0.0f, q->grid.inv_step, q->grid.low, q->grid.high, codes);
    return;
  }
  if (q->kind == EQ_CODES_BLOCK32_SYM && k % EQ_CODES_BLOCK == 0) {
    kernels->codes_of_blocks(x, rows * k / EQ_CODES_BLOCK, q->clip, codes, step);
    return;
  }
  const bool tensor = q->kind == EQ_CODES_TENSOR_SYM || q->kind == EQ_CODES_TENSOR_ASYM;
  const uint32_t piece = q->kind == EQ_CODES_BLOCK32_SYM ? EQ_CODES_BLOCK : k;
  const range all = tensor ? range_of(kernels, q, x, rows * k) : (range){0};
  for (size_t row = 0; row < rows; row++, x += k, codes += k)
    for (uint32_t begin = 0; begin < k; begin += piece) {
      const uint32_t count = k - begin < piece ? k - begin : piece;
      const range r = tensor ? all : range_of(kernels, q, x + begin, count);
      if (!gives_shift(q->kind)) {
        *step++ = symmetric(kernels, q, x + begin, count, r, codes + begin);
        continue;
      }
      const float width = (r.most - r.least) + 1e-8f;
      kernels->codes_between(x + begin, count, q->clip, r.least, width, codes + begin);
      *step = width / 255.0f;
      *shift++ = r.least + 128.0f * *step++;
    }
}

eq_status eq_quantise_i8(const eq_codes *q, const float *x, size_t rows, uint32_t k, int8_t *codes, float *step,
                         float *shift) {
  if (!q || !x || !codes || (unsigned)q->kind > EQ_CODES_BLOCK32_SYM) return EQ_BAD_ARGUMENT;
  if (q->kind == EQ_CODES_STATIC ? !eq_grid_ok(&q->grid) : !step || !(q->clip >= 0.0f)) return EQ_BAD_ARGUMENT;
  if (gives_shift(q->kind) && !shift) return EQ_BAD_ARGUMENT;
  if (rows == 0 || k == 0 || k > INT32_MAX || rows > SIZE_MAX / sizeof(float) / k) return EQ_BAD_SHAPE;
  const eq_integer_kernels *kernels = eq_integer_current();
  if (kernels)
    quantise(kernels, q, x, rows, k, codes, step, shift);
  else
    eq_quantise_i8_ref(q, x, rows, k, codes, step, shift);
  return EQ_OK;
}
