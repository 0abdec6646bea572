/* Binary weights and activations. */
#include "operators.h"

#ifndef EQM_TUNED
/* pack_sign(Tensor x, Tensor? threshold): float [..., k] -> u8 [..., row_bytes(k)] */
void eqm_pack_sign(eqm_call *c) {
  const eqm_value *x = eqm_tensor(c, EQM_F32), *threshold = eqm_optional_tensor(c, EQM_F32);
  if (!eqm_require(c, x->rank >= 1)) return;
  const uint32_t k = eqm_extent(x, x->rank - 1u);
  eqm_require(c, !threshold || threshold->count == k);
  uint8_t *out = eqm_out_like(c, EQM_U8, x, (uint32_t)eq_row_bytes(k));
  if (eqm_ready(c, 0)) eq_pack_b1_mcu(eqm_floats(x), eqm_rows(x), k, eqm_floats(threshold), out);
}

#endif

/* What the convolutions have in common: x, w, channels, stride, groups. */
typedef struct {
  const eqm_value *x, *w;
  eq_conv2d op;
} conv;

static bool take_conv(eqm_call *c, conv *v) {
  v->x = eqm_tensor(c, EQM_U8);
  v->w = eqm_tensor(c, EQM_U8);
  const uint32_t channels = eqm_integer(c, EQM_MOST), stride = eqm_integer(c, EQM_MOST_STRIDE),
                 groups = eqm_integer(c, EQM_MOST);
  if (!eqm_conv2d_geometry(c, v->x, v->w, channels, stride, true, groups, &v->op)) return false;
  const uint32_t group = channels / groups;
  return eqm_require(c, groups == 1 || group == 1 || group % 8 == 0) &&
         eqm_require(c, eqm_extent(v->x, 3) == eq_row_bytes(channels) && eqm_extent(v->w, 3) == eq_row_bytes(group));
}

static void run_conv(eqm_call *c, const conv *v, const eq_epilogue *e) {
  eqm_require(c, c->compute || eq_check_epilogue(e, v->op.n, v->op.out_h, v->op.out_w, v->op.o, true) == EQ_OK);
  if (EQM_READY(c, e, eq_conv2d_b1b1_mcu_scratch(&v->op, e)))
    eq_conv2d_b1b1_mcu(&v->op, v->x->data, v->w->data, e, c->scratch);
}

#ifdef EQM_TUNED
/* conv2d_b1b1_tuned(Tensor ac, int start, float sigma, as conv2d_b1b1_fused): map, bits, mean, moments */
void eqm_conv2d_b1b1_tuned(eqm_call *c) {
  EQM_TUNING(c);
  conv v;
  eq_epilogue e = {0};
  if (!take_conv(c, &v)) return;
  eqm_take_activation(c, v.op.o, &e);
  eqm_take_residuals(c, v.op.n, v.op.o, &e);
  eqm_take_tuned_outs(c, &v.op, &tuning, &e);
  run_conv(c, &v, &e);
}
#else
/* conv2d_b1b1(Tensor x, Tensor w, int channels, int stride, int groups): int32 accumulators */
void eqm_conv2d_b1b1(eqm_call *c) {
  conv v;
  if (!take_conv(c, &v)) return;
  const uint32_t extents[] = {v.op.n, v.op.out_h, v.op.out_w, v.op.o};
  const eq_epilogue e = {.out_acc = eqm_out(c, EQM_I32, 4, extents)};
  run_conv(c, &v, &e);
}

/* conv2d_b1b1_fused(Tensor x, Tensor w, int channels, int stride, int groups, int act, Tensor params, Tensor? local,
 *   Tensor? block, Tensor? gain, int want): map, bits, mean */
void eqm_conv2d_b1b1_fused(eqm_call *c) {
  conv v;
  eq_epilogue e = {0};
  if (!take_conv(c, &v)) return;
  eqm_take_activation(c, v.op.o, &e);
  eqm_take_residuals(c, v.op.n, v.op.o, &e);
  eqm_take_outs(c, &v.op, &e);
  run_conv(c, &v, &e);
}

/* linear_b1b1(Tensor x, Tensor w, int k): u8 [..., row], u8 [o][row] -> int32 [..., o] */
void eqm_linear_b1b1(eqm_call *c) {
  const eqm_value *x = eqm_tensor(c, EQM_U8), *w = eqm_tensor(c, EQM_U8);
  const uint32_t k = eqm_integer(c, EQM_MOST);
  if (!eqm_require(c, x->rank >= 1 && w->rank == 2)) return;
  const uint32_t row = (uint32_t)eq_row_bytes(k);
  const eq_linear op = {eqm_rows(x), k, eqm_extent(w, 0)};
  eqm_require(c, eqm_extent(w, 1) == row && eqm_extent(x, x->rank - 1u) == row &&
                     (c->compute || eq_check_linear(&op) == EQ_OK));
  int32_t *out = eqm_out_like(c, EQM_I32, x, op.o);
  if (eqm_ready(c, eq_linear_b1b1_mcu_scratch(&op))) eq_linear_b1b1_mcu(&op, x->data, w->data, out, c->scratch);
}
#endif
