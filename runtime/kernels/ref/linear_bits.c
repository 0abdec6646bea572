/* Linear layers over bit-planes: the planes say what a bit means, the sums are alike. */
#include "bits.h"

void eq_linear_b1t2_ref(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row) {
  const size_t bytes = eq_row_bytes(op->k);
  const uint8_t *nonzero = x + op->m * bytes;
  const eq_ref_sink sink = {e, op->m, 1, 1, op->o, row};
  for (uint32_t m = 0; m < op->m; m++)
    for (uint32_t o = 0; o < op->o; o++)
      eq_ref_put_i32(&sink, m, 0, 0, o, eq_masked_dot(x + m * bytes, nonzero + m * bytes, w + o * bytes, bytes));
}

/* A one meets +1 or -1, a zero counts nothing: as if x were both planes of a ternary operand. */
void eq_linear_b1u1_ref(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row) {
  const size_t bytes = eq_row_bytes(op->k);
  const eq_ref_sink sink = {e, op->m, 1, 1, op->o, row};
  for (uint32_t m = 0; m < op->m; m++)
    for (uint32_t o = 0; o < op->o; o++)
      eq_ref_put_i32(&sink, m, 0, 0, o, eq_masked_dot(x + m * bytes, x + m * bytes, w + o * bytes, bytes));
}

void eq_linear_t2b1_ref(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row) {
  const size_t bytes = eq_row_bytes(op->k);
  const uint8_t *nonzero = w + op->o * bytes;
  const eq_ref_sink sink = {e, op->m, 1, 1, op->o, row};
  for (uint32_t m = 0; m < op->m; m++)
    for (uint32_t o = 0; o < op->o; o++)
      eq_ref_put_i32(&sink, m, 0, 0, o, eq_masked_dot(w + o * bytes, nonzero + o * bytes, x + m * bytes, bytes));
}
