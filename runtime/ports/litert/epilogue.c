/* From the arguments of an operator to the core's description of what happens to an accumulator. */
#include "operators.h"

void eql_take_activation(eql_call *c, uint32_t channels, bool shifted, eq_epilogue *e) {
  e->act = (eq_act)eql_integer(c, EQ_ACT_GELU, "act must be 0 none, 1 relu, 2 dprelu, 3 hsigmoid or 4 gelu");
  const eql_tensor *params = eql_take(c, EQL_F32, "params must be float");
  const uint32_t least = (e->act == EQ_ACT_DPRELU ? 5u : 2u) + shifted, rows = eql_extent(params, 0);
  if (!eql_require(c, params->rank == 2 && eql_extent(params, 1) == channels && (rows == least || rows == least + 2),
                   "params must be [2, 4 (or with dprelu 5, 7)][output channels], with a shift one row more"))
    return;
  const float *row = eql_floats(params);
  const float **const into[] = {&e->scale, &e->bias,   &e->pos,   &e->neg,
                                &e->shift, &e->scale2, &e->bias2, &e->shift_weight};
  const bool there[] = {
      true,         true,   e->act == EQ_ACT_DPRELU, e->act == EQ_ACT_DPRELU, e->act == EQ_ACT_DPRELU, rows > least,
      rows > least, shifted};
  for (size_t i = 0; i < sizeof into / sizeof *into; i++) {
    if (!there[i]) continue;
    *into[i] = row;
    if (params->known) row += channels;
  }
}

static eq_residual take_residual(eql_call *c, uint32_t images, eq_residual_mode mode) {
  const eql_tensor *r = eql_take_optional(c, EQL_F32, "a residual must be float or None");
  if (!r || !eql_require(c, (r->rank == 4 || r->rank == 2) && eql_extent(r, 0) == images,
                         "a residual must be [n][h][w][c] or [n][c], n as the output"))
    return (eq_residual){0};
  const bool image = r->rank == 4;
  return (eq_residual){
      .data = eql_floats(r), .h = image ? r->size[1] : 1, .w = image ? r->size[2] : 1, .c = eql_last(r), .mode = mode};
}

void eql_take_residuals(eql_call *c, uint32_t images, uint32_t channels, eq_epilogue *e) {
  e->residual[0] = take_residual(c, images, EQ_RES_PAD);
  e->residual[1] = take_residual(c, images, EQ_RES_TILE);
  const eql_tensor *gain = eql_take_optional(c, EQL_F32, "gain must be float or None");
  if (gain && eql_require(c, gain->rank >= 2 && gain->size[0] == images && gain->count == (uint64_t)images * channels,
                          "gain must be [n][output channels]"))
    e->gain = eql_floats(gain);
}

eq_grid eql_grid(eql_call *c, const eql_tensor *grid) {
  const eq_grid any = {1, -128, 127};
  if (!eql_require(c, grid->count == 3, "grid must be [3]: inv_step, low, high") || !grid->known) return any;
  const float *v = eql_floats(grid);
  return eql_require(c, v[1] >= -128.0f && v[1] <= v[2] && v[2] <= 127.0f, "grid must have -128 <= low <= high <= 127")
             ? (eq_grid){v[0], (int32_t)v[1], (int32_t)v[2]}
             : any;
}

void eql_set_skip(eql_call *c, const eql_tensor *skip, const eql_tensor *step, bool codes, uint32_t rows, uint32_t h,
                  uint32_t w, uint32_t channels, eq_epilogue *e) {
  eql_require(c, !step || step->count == 1, "skip_step must be [1]");
  if (!skip) return;
  const bool coded = codes && skip->type == EQL_I8;
  if (!eql_require(c, coded || skip->type == EQL_F32 || c->untyped,
                   codes ? "skip must be float, int8 or None" : "skip must be float") ||
      !eql_require(c, skip->count == (uint64_t)rows * h * w * channels, "skip must have the output's shape"))
    return;
  e->residual[0] = (eq_residual){.data = coded ? NULL : eql_floats(skip),
                                 .h = h,
                                 .w = w,
                                 .c = channels,
                                 .mode = EQ_RES_PAD,
                                 .codes = coded ? eql_data(skip) : NULL,
                                 .step = step && step->known && step->count == 1 ? *eql_floats(step) : 1.0f};
}

void eql_take_integer(eql_call *c, uint32_t rows, uint32_t h, uint32_t w, uint32_t channels, eq_epilogue *e) {
  const eql_tensor *scales = eql_take_optional(c, EQL_F32, "rows must be float or None");
  bool shifted = false;
  if (scales) {
    if (!eql_require(c, scales->rank == 2 && scales->size[0] <= 2 && scales->size[1] == rows,
                     "rows must be [1 or 2][rows of the output]"))
      return;
    shifted = scales->size[0] == 2;
    e->row_scale = eql_floats(scales);
    if (shifted) e->row_shift = scales->known ? e->row_scale + rows : e->row_scale;
  }
  eql_take_activation(c, channels, shifted, e);
  const eql_tensor *skip = eql_take_any(c, "skip must be float, int8 or None"),
                   *step = eql_take_optional(c, EQL_F32, "skip_step must be float or None");
  eql_set_skip(c, skip, step, true, rows, h, w, channels, e);
  const eql_tensor *grid = eql_take_optional(c, EQL_F32, "grid must be float or None");
  if (grid) e->grid = eql_grid(c, grid);
}

eq_quant eql_quant(uint32_t number, const float *steps, uint32_t channels) {
  static const struct {
    eq_quant_kind kind;
    float top;
  } grids[EQL_QUANTS] = {{EQ_QUANT_NONE, 0}, {EQ_QUANT_SYM, 7}, {EQ_QUANT_POS, 15}, {EQ_QUANT_SYM, 127}};
  return (eq_quant){grids[number].kind, grids[number].top, number ? steps : NULL, number ? steps + channels : NULL};
}

eq_quant eql_take_quant(eql_call *c, uint32_t channels) {
  const eql_tensor *steps = eql_take_optional(c, EQL_F32, "steps must be float or None");
  const uint32_t number = eql_integer(c, EQL_QUANTS - 1, "quant must be 0 to 3");
  const bool fits = steps && steps->rank == 2 && steps->size[0] == 2 && steps->size[1] == channels;
  eql_require(c, number == 0 || fits, "steps must be [2][input channels], or None when quant is 0");
  return eql_quant(c->fault ? 0 : number, eql_floats(steps), fits && steps->known ? channels : 0);
}

void eql_take_image_outs(eql_call *c, const eq_conv2d *op, uint32_t want, eq_epilogue *e) {
  const uint32_t row = (uint32_t)eq_row_bytes(op->o), map[] = {op->n, op->out_h, op->out_w, op->o},
                 planes[] = {2, op->n, op->out_h, op->out_w, row}, mean[] = {op->n, op->o};
  if (want & EQL_MAP) e->out = eql_out(c, EQL_F32, 4, map);
  if (want & EQL_T2)
    e->out_t2 = eql_out(c, EQL_U8, 5, planes);
  else if (want & EQL_BITS)
    e->out_bits = eql_out(c, EQL_U8, 4, (const uint32_t[]){op->n, op->out_h, op->out_w, row});
  if (want & EQL_MEAN) e->out_mean = eql_out(c, EQL_F32, 2, mean);
  if (want & EQL_CODES) e->out_i8 = eql_out(c, EQL_I8, 4, map);
}

void eql_take_tuned(eql_call *c, eql_tuned *t) {
  t->ac = eql_take(c, EQL_F32, "ac must be float");
  t->start = eql_integer(c, EQL_MOST, "start must not be negative");
  t->tuning = (eq_tuning){.sigma = eql_number(c, "sigma must be a float")};
}

void eql_set_tuned(eql_call *c, eql_tuned *t, uint32_t want, uint32_t n, uint32_t o, eq_epilogue *e) {
  const uint32_t rows = eql_extent(t->ac, 0), width = eql_extent(t->ac, 1);
  if (!eql_require(c, t->ac->rank == 2 && (rows == 1 || rows == n) && t->start + 2 * (uint64_t)o <= width,
                   "ac must be [1 or n][start + 2 * output channels or more]"))
    return;
  const float *a = eql_floats(t->ac);
  t->tuning.rows = rows;
  t->tuning.pitch = width;
  t->tuning.a = t->ac->known ? a + t->start : a;
  t->tuning.c = t->ac->known ? a + t->start + o : a;
  if (want & EQL_MOMENTS) t->tuning.moments = eql_out(c, EQL_F32, 3, (const uint32_t[]){n, 2, o});
  e->tuning = &t->tuning;
}

void eql_take_row_outs(eql_call *c, const eql_tensor *x, uint32_t from, uint32_t o, uint32_t want, eq_epilogue *e) {
  const uint32_t row = (uint32_t)eq_row_bytes(o);
  if (want & EQL_MAP) e->out = eql_out_like(c, EQL_F32, 0, x, from, o);
  if (want & EQL_T2)
    e->out_t2 = eql_out_like(c, EQL_U8, 2, x, from, row);
  else if (want & EQL_BITS)
    e->out_bits = eql_out_like(c, EQL_U8, 0, x, from, row);
  if (want & EQL_CODES) e->out_i8 = eql_out_like(c, EQL_I8, 0, x, from, o);
}

eq_conv2d eql_geometry(const uint32_t *image, const uint32_t *kernel, uint32_t channels, uint32_t stride,
                       uint32_t groups) {
  return (eq_conv2d){.n = image[0],
                     .h = image[1],
                     .w = image[2],
                     .c = channels,
                     .o = kernel[0],
                     .kh = kernel[1],
                     .kw = kernel[2],
                     .stride_h = stride,
                     .stride_w = stride,
                     .groups = groups};
}

bool eql_padded(eql_call *c, eq_conv2d *op, uint32_t padding) {
  const uint64_t h = (uint64_t)op->h + 2 * (uint64_t)padding, w = (uint64_t)op->w + 2 * (uint64_t)padding;
  if (!eql_require(c, h >= op->kh && w >= op->kw && h <= EQL_MOST && w <= EQL_MOST,
                   "the kernel is larger than the padded image"))
    return false;
  op->pad_top = op->pad_left = padding;
  op->out_h = ((uint32_t)h - op->kh) / op->stride_h + 1;
  op->out_w = ((uint32_t)w - op->kw) / op->stride_w + 1;
  return true;
}

uint32_t eql_peek_channels(const eql_call *c) {
  enum { BETWEEN = 2 }; /* rows and act stand before params */
  if (c->fault || c->next_argument + BETWEEN >= c->argument_count) return 0;
  uint32_t input = c->next_input;
  for (uint32_t i = 0; i < BETWEEN; i++) input += c->arguments[2 * (c->next_argument + i)] == EQL_TENSOR;
  const bool sound = c->arguments[2 * (c->next_argument + BETWEEN)] == EQL_TENSOR && input < c->input_count;
  return sound && c->inputs[input].rank == 2 ? c->inputs[input].size[1] : 0;
}
