#include "check.h"
#include "isa.h"
#include "kernels/ref/ref.h"

static bool gives_shift(eq_codes_kind kind) { return kind == EQ_CODES_ROW_ASYM || kind == EQ_CODES_TENSOR_ASYM; }

eq_status eq_quantise_i8(const eq_codes *q, const float *x, size_t rows, uint32_t k, int8_t *codes, float *step,
                         float *shift) {
  if (!q || !x || !codes || (unsigned)q->kind > EQ_CODES_BLOCK32_SYM) return EQ_BAD_ARGUMENT;
  if (q->kind == EQ_CODES_STATIC ? !eq_grid_ok(&q->grid) : !step || !(q->clip >= 0.0f)) return EQ_BAD_ARGUMENT;
  if (gives_shift(q->kind) && !shift) return EQ_BAD_ARGUMENT;
  if (rows == 0 || k == 0 || k > INT32_MAX || rows > SIZE_MAX / sizeof(float) / k) return EQ_BAD_SHAPE;
  eq_quantise_i8_ref(q, x, rows, k, codes, step, shift);
  return EQ_OK;
}
