/* From the arguments of an operator to the core's descriptions. */
#include "operators.h"

void eqm_take_activation(eqm_call *c, uint32_t channels, eq_epilogue *e) {
  e->act = (eq_act)eqm_integer(c, EQ_ACT_HSIGMOID);
  const eqm_value *params = eqm_tensor(c, EQM_F32);
  const uint32_t least = e->act == EQ_ACT_DPRELU ? 5 : 2;
  if (!eqm_require(c, params->rank == 2 && eqm_extent(params, 1) == channels)) return;
  const uint32_t rows = eqm_extent(params, 0);
  if (!eqm_require(c, rows == least || rows == least + 2)) return;
  const float *row = eqm_floats(params);
  e->scale = row;
  e->bias = row += channels;
  if (e->act == EQ_ACT_DPRELU) {
    e->pos = row += channels;
    e->neg = row += channels;
    e->shift = row += channels;
  }
  if (rows > least) {
    e->scale2 = row += channels;
    e->bias2 = row + channels;
  }
}

static eq_residual take_residual(eqm_call *c, uint32_t images, eq_residual_mode mode) {
  const eqm_value *r = eqm_optional_tensor(c, EQM_F32);
  if (!r || !eqm_require(c, (r->rank == 4 || r->rank == 2) && eqm_extent(r, 0) == images)) return (eq_residual){0};
  const bool image = r->rank == 4;
  return (eq_residual){.data = eqm_floats(r),
                       .h = image ? eqm_extent(r, 1) : 1,
                       .w = image ? eqm_extent(r, 2) : 1,
                       .c = eqm_extent(r, image ? 3 : 1),
                       .mode = mode};
}

void eqm_take_residuals(eqm_call *c, uint32_t images, uint32_t channels, eq_epilogue *e) {
  e->residual[0] = take_residual(c, images, EQ_RES_PAD);
  e->residual[1] = take_residual(c, images, EQ_RES_TILE);
  const eqm_value *gain = eqm_optional_tensor(c, EQM_F32);
  if (gain) eqm_require(c, gain->rank >= 2 && eqm_extent(gain, 0) == images && gain->count / images == channels);
  e->gain = eqm_floats(gain);
}

void eqm_take_outs(eqm_call *c, const eq_conv2d *op, eq_epilogue *e) {
  enum { MAP = 1, BITS = 2, MEAN = 4, ALL = 7 };
  const uint32_t want = eqm_integer(c, ALL);
  const uint32_t map[] = {op->n, op->out_h, op->out_w, op->o}, mean[] = {op->n, op->o},
                 bits[] = {op->n, op->out_h, op->out_w, (uint32_t)eq_row_bytes(op->o)};
  if (want & MAP)
    e->out = eqm_out(c, EQM_F32, 4, map);
  else
    eqm_no_out(c);
  if (want & BITS)
    e->out_bits = eqm_out(c, EQM_U8, 4, bits);
  else
    eqm_no_out(c);
  if (want & MEAN)
    e->out_mean = eqm_out(c, EQM_F32, 2, mean);
  else
    eqm_no_out(c);
}

bool eqm_conv2d_geometry(eqm_call *c, const eqm_value *x, const eqm_value *w, uint32_t channels, uint32_t stride,
                         bool same, uint32_t groups, eq_conv2d *op) {
  if (!eqm_require(c, x->rank == 4 && w->rank == 4)) return false;
  *op = (eq_conv2d){.n = eqm_extent(x, 0),
                    .h = eqm_extent(x, 1),
                    .w = eqm_extent(x, 2),
                    .c = channels,
                    .o = eqm_extent(w, 0),
                    .kh = eqm_extent(w, 1),
                    .kw = eqm_extent(w, 2),
                    .stride_h = stride,
                    .stride_w = stride,
                    .groups = groups};
  (same ? eq_conv2d_same : eq_conv2d_valid)(op);
  return eqm_require(c, c->compute || eq_check_conv2d(op) == EQ_OK);
}

eq_quant eqm_quant(uint32_t number, const float *steps, uint32_t channels) {
  static const eq_quant grids[EQM_QUANTS] = {{.kind = EQ_QUANT_NONE},
                                             {.kind = EQ_QUANT_SYM, .top = 7},
                                             {.kind = EQ_QUANT_POS, .top = 15},
                                             {.kind = EQ_QUANT_SYM, .top = 127}};
  eq_quant q = grids[number];
  if (number) {
    q.scale = steps;
    q.step = steps + channels;
  }
  return q;
}

eq_quant eqm_take_quant(eqm_call *c, uint32_t channels) {
  const eqm_value *steps = eqm_optional_tensor(c, EQM_F32);
  const uint32_t number = eqm_integer(c, EQM_QUANTS - 1);
  const bool fits = steps && steps->rank == 2 && eqm_extent(steps, 0) == 2 && eqm_extent(steps, 1) == channels;
  return eqm_quant(eqm_require(c, number == 0 || fits) ? number : 0, eqm_floats(steps), channels);
}
