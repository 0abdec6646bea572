/* What follows an accumulator, on its own. */
#include "operators.h"

/* epilogue(Tensor acc, int act, Tensor params, Tensor? local, Tensor? block, Tensor? gain):
 *   int32 [n][h][w][o] or [..., o] -> float of the same extents */
void eqm_epilogue(eqm_call *c) {
  const eqm_value *acc = eqm_tensor(c, EQM_I32);
  if (!eqm_require(c, acc->rank >= 1)) return;
  const bool image = acc->rank == 4;
  const uint32_t o = eqm_extent(acc, acc->rank - 1u), n = image ? eqm_extent(acc, 0) : eqm_rows(acc),
                 h = image ? eqm_extent(acc, 1) : 1, w = image ? eqm_extent(acc, 2) : 1;
  eq_epilogue e = {0};
  eqm_take_activation(c, o, &e);
  eqm_take_residuals(c, n, o, &e);
  e.out = eqm_out_like(c, EQM_F32, acc, o);
  eqm_require(c, c->compute || (eq_extent_ok(n, h, w, o) && eq_check_epilogue(&e, n, h, w, o, true) == EQ_OK));
  if (eqm_ready(c, eq_epilogue_mcu_scratch(&e, o)))
    eq_epilogue_i32_mcu((const int32_t *)(const void *)acc->data, n, h, w, o, &e, c->scratch);
}

/* mean_hw(Tensor x): float [n][h][w][c] -> [n][c] */
void eqm_mean_hw(eqm_call *c) {
  const eqm_value *x = eqm_tensor(c, EQM_F32);
  if (!eqm_require(c, x->rank == 4)) return;
  const uint32_t n = eqm_extent(x, 0), h = eqm_extent(x, 1), w = eqm_extent(x, 2), channels = eqm_extent(x, 3);
  const uint32_t extents[] = {n, channels};
  float *out = eqm_out(c, EQM_F32, 2, extents);
  if (eqm_ready(c, (uint64_t)channels * sizeof(float)))
    eq_mean_hw_mcu(eqm_floats(x), n, h, w, channels, out, c->scratch);
}
