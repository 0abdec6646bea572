/* 4-bit weights in groups against int8 activations. */
#include "arena.h"
#include "check.h"
#include "isa.h"
#include "kernels/ref/ref.h"

enum { MOST_INPUTS = (1 << 19) - 1 }; /* a group's sum, 15 * 128 * k and the same for its zero, stays below 2^31 */

static eq_status check(const eq_linear *op, const eq_weights_i4 *w, const eq_epilogue *e) {
  const eq_status status = eq_check_linear(op);
  if (status != EQ_OK) return status;
  if (!w || (unsigned)w->zero_kind > EQ_ZERO_F16) return EQ_BAD_ARGUMENT;
  if (op->k > MOST_INPUTS || w->group == 0 || (w->group % 32 && w->group != op->k)) return EQ_BAD_SHAPE;
  return eq_check_epilogue(e, op->m, 1, 1, op->o, false);
}

size_t eq_linear_i4i8_scratch(const eq_linear *op, const eq_weights_i4 *w, const eq_epilogue *e,
                              const eq_threads *threads) {
  (void)threads;
  return check(op, w, e) == EQ_OK ? (size_t)op->o * sizeof(float) : 0;
}

eq_status eq_linear_i4i8(const eq_linear *op, const int8_t *x, const float *block_step, const eq_weights_i4 *w,
                         const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(op, w, e);
  if (status != EQ_OK) return status;
  if (!x || !w->codes || !w->scale || (w->zero_kind != EQ_ZERO_EIGHT) != (w->zero != (const void *)0))
    return EQ_BAD_ARGUMENT;
  if (!eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (block_step && w->group % 32) return EQ_BAD_SHAPE;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_linear_i4i8_scratch(op, w, e, threads))) return EQ_NO_SCRATCH;
  eq_linear_i4i8_ref(op, x, block_step, w, e, scratch);
  return EQ_OK;
}
