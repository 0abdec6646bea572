/* 8- and 4-bit weights against fake-quantised float activations. */
#include "operators.h"

/* The arguments that both convolutions have: x, w, steps, quant, stride, same, groups, act, params. */
typedef struct {
  const eqm_value *x, *w;
  eq_quant quant;
  eq_conv2d op;
  eq_epilogue e;
} conv;

static bool take_conv(eqm_call *c, conv *v) {
  v->x = eqm_tensor(c, EQM_F32);
  v->w = eqm_tensor(c, EQM_I8);
  if (!eqm_require(c, v->x->rank == 4 && v->w->rank == 4)) return false;
  const uint32_t channels = eqm_extent(v->x, 3);
  v->quant = eqm_take_quant(c, channels);
  const uint32_t stride = eqm_integer(c, EQM_MOST_STRIDE), same = eqm_integer(c, 1), groups = eqm_integer(c, EQM_MOST);
  if (!eqm_conv2d_geometry(c, v->x, v->w, channels, stride, same, groups, &v->op)) return false;
  v->e = (eq_epilogue){0};
  eqm_take_activation(c, v->op.o, &v->e);
  return eqm_require(c, eqm_extent(v->w, 3) == channels / groups);
}

static void run_conv(eqm_call *c, const conv *v) {
  eqm_require(c, c->compute || eq_check_epilogue(&v->e, v->op.n, v->op.out_h, v->op.out_w, v->op.o, false) == EQ_OK);
  if (EQM_READY(c, &v->e, eq_conv2d_i8f32_mcu_scratch(&v->op, &v->e)))
    eq_conv2d_i8f32_mcu(&v->op, eqm_floats(v->x), &v->quant, (const int8_t *)v->w->data, &v->e, c->scratch);
}

#ifdef EQM_TUNED
/* conv2d_i8f32_tuned(Tensor ac, int start, float sigma, as conv2d_i8f32_fused): map, bits, mean, moments */
void eqm_conv2d_i8f32_tuned(eqm_call *c) {
  EQM_TUNING(c);
  conv v;
  if (!take_conv(c, &v)) return;
  eqm_take_tuned_outs(c, &v.op, &tuning, &v.e);
  run_conv(c, &v);
}
#else
/* conv2d_i8f32(Tensor x, Tensor w, Tensor? steps, int quant, int stride, int same, int groups, int act, Tensor params):
 *   float [n][h][w][o] */
void eqm_conv2d_i8f32(eqm_call *c) {
  conv v;
  if (!take_conv(c, &v)) return;
  const uint32_t extents[] = {v.op.n, v.op.out_h, v.op.out_w, v.op.o};
  v.e.out = eqm_out(c, EQM_F32, 4, extents);
  run_conv(c, &v);
}

/* conv2d_i8f32_fused(as above, int want): map, bits, mean */
void eqm_conv2d_i8f32_fused(eqm_call *c) {
  conv v;
  if (!take_conv(c, &v)) return;
  eqm_take_outs(c, &v.op, &v.e);
  run_conv(c, &v);
}

/* linear_i8f32(Tensor x, Tensor w, Tensor? steps, int quant, int act, Tensor params): float [..., k], int8 [o][k] ->
 *   float [..., o]; linear_i4f32: the same with w u8 [o][row_bytes(4 k)] */
static void linear(eqm_call *c, bool four_bits) {
  const eqm_value *x = eqm_tensor(c, EQM_F32), *w = eqm_tensor(c, four_bits ? EQM_U8 : EQM_I8);
  if (!eqm_require(c, x->rank >= 1 && w->rank == 2)) return;
  const eq_linear op = {eqm_rows(x), eqm_extent(x, x->rank - 1u), eqm_extent(w, 0)};
  eqm_require(c, (c->compute || eq_check_linear(&op) == EQ_OK) && op.k <= EQM_MOST / 4 &&
                     eqm_extent(w, 1) == (four_bits ? eq_row_bytes(4 * op.k) : op.k));
  const eq_quant quant = eqm_take_quant(c, op.k);
  eq_epilogue e = {0};
  eqm_take_activation(c, op.o, &e);
  e.out = eqm_out_like(c, EQM_F32, x, op.o);
  if (!eqm_ready(c, eq_linear_f32_mcu_scratch(&op, &e))) return;
  if (four_bits)
    eq_linear_i4f32_mcu(&op, eqm_floats(x), &quant, w->data, &e, c->scratch);
  else
    eq_linear_i8f32_mcu(&op, eqm_floats(x), &quant, (const int8_t *)w->data, &e, c->scratch);
}

void eqm_linear_i8f32(eqm_call *c) { linear(c, false); }
void eqm_linear_i4f32(eqm_call *c) { linear(c, true); }

/* squeeze_excite_i4f32(Tensor mean, Tensor codes, Tensor params, int hidden, int quant1, int quant2):
 *   hsigmoid(fc2(relu(fc1(mean)))), [n][c] -> [n][o]
 *   codes   fc1 [hidden][row_bytes(4 c)], then fc2 [o][row_bytes(4 hidden)]
 *   params  steps of fc1 [2][c], its scale and bias [2][hidden], steps of fc2 [2][hidden], its scale and bias [2][o] */
void eqm_squeeze_excite_i4f32(eqm_call *c) {
  const eqm_value *mean = eqm_tensor(c, EQM_F32), *codes = eqm_tensor(c, EQM_U8), *params = eqm_tensor(c, EQM_F32);
  const uint32_t hidden = eqm_integer(c, EQM_MOST / 4), number1 = eqm_integer(c, EQM_QUANTS - 1),
                 number2 = eqm_integer(c, EQM_QUANTS - 1);
  if (!eqm_require(c, mean->rank == 2 && hidden > 0)) return;
  const uint32_t n = eqm_extent(mean, 0), channels = eqm_extent(mean, 1);
  const uint64_t fixed = 2 * (uint64_t)channels + 4 * (uint64_t)hidden;
  if (!eqm_require(c, channels <= EQM_MOST / 4 && params->count > fixed && (params->count - fixed) % 2 == 0)) return;
  const uint32_t o = (uint32_t)(params->count - fixed) / 2;
  const eq_linear fc1 = {n, channels, hidden}, fc2 = {n, hidden, o};
  const uint64_t codes1 = (uint64_t)hidden * eq_row_bytes(4 * channels),
                 codes2 = (uint64_t)o * eq_row_bytes(4 * hidden);
  eqm_require(c, codes->count == codes1 + codes2 &&
                     (c->compute || (eq_check_linear(&fc1) == EQ_OK && eq_check_linear(&fc2) == EQ_OK)));
  const uint32_t extents[] = {n, o};
  float *out = eqm_out(c, EQM_F32, 2, extents);
  const float *steps1 = eqm_floats(params), *affine1 = steps1 + 2 * (size_t)channels,
              *steps2 = affine1 + 2 * (size_t)hidden, *affine2 = steps2 + 2 * (size_t)hidden;
  const eq_quant quant1 = eqm_quant(number1, steps1, channels), quant2 = eqm_quant(number2, steps2, hidden);
  eq_epilogue e1 = {.scale = affine1, .bias = affine1 + hidden, .act = EQ_ACT_RELU};
  const eq_epilogue e2 = {.scale = affine2, .bias = affine2 + o, .act = EQ_ACT_HSIGMOID, .out = out};
  const uint64_t between = (uint64_t)n * hidden * sizeof(float), scratch1 = eq_linear_f32_mcu_scratch(&fc1, &e1),
                 scratch2 = eq_linear_f32_mcu_scratch(&fc2, &e2);
  if (!eqm_ready(c, between + (scratch1 > scratch2 ? scratch1 : scratch2))) return;

  e1.out = c->scratch;
  void *rest = e1.out + n * hidden;
  eq_linear_i4f32_mcu(&fc1, eqm_floats(mean), &quant1, codes->data, &e1, rest);
  eq_linear_i4f32_mcu(&fc2, e1.out, &quant2, codes->data + codes1, &e2, rest);
}
#endif
