#include "check.h"

bool eq_extent_ok(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  const uint32_t extents[] = {a, b, c, d};
  uint32_t room = INT32_MAX; /* for the product of those that are left */
  for (int i = 0; i < 4; i++) {
    if (extents[i] == 0 || extents[i] > room) return false;
    room /= extents[i];
  }
  return true;
}

/* The first and the last window along one axis touch the image, so that no address beyond one kernel's reach arises. */
static bool axis_ok(uint32_t size, uint32_t kernel, uint32_t stride, uint32_t pad, uint32_t out) {
  return (uint64_t)size + 2 * (uint64_t)kernel <= INT32_MAX && size > 0 && kernel > 0 && stride > 0 && out > 0 &&
         pad < kernel && (uint64_t)(out - 1) * stride < (uint64_t)size + pad;
}

eq_status eq_check_conv2d(const eq_conv2d *op) {
  if (!op) return EQ_BAD_ARGUMENT;
  if (op->groups == 0 || op->c == 0 || op->o == 0 || op->c % op->groups || op->o % op->groups) return EQ_BAD_SHAPE;
  if (!axis_ok(op->h, op->kh, op->stride_h, op->pad_top, op->out_h)) return EQ_BAD_SHAPE;
  if (!axis_ok(op->w, op->kw, op->stride_w, op->pad_left, op->out_w)) return EQ_BAD_SHAPE;
  if (!eq_extent_ok(op->n, op->h, op->w, op->c) || !eq_extent_ok(op->n, op->out_h, op->out_w, op->o))
    return EQ_BAD_SHAPE;
  if (!eq_extent_ok(op->o, op->kh, op->kw, op->c / op->groups)) return EQ_BAD_SHAPE;
  return EQ_OK;
}

eq_status eq_check_linear(const eq_linear *op) {
  if (!op) return EQ_BAD_ARGUMENT;
  return eq_extent_ok(op->m, op->k, 1, 1) && eq_extent_ok(op->o, op->k, 1, 1) && eq_extent_ok(op->m, op->o, 1, 1)
             ? EQ_OK
             : EQ_BAD_SHAPE;
}

enum { MOST_INPUTS_I4 = (1 << 19) - 1 }; /* a group's sum, 15 * 128 * k and the same for its zero, stays below 2^31 */

eq_status eq_check_weights_i4(const eq_weights_i4 *w, uint32_t k) {
  if (!w || (unsigned)w->zero_kind > EQ_ZERO_F16) return EQ_BAD_ARGUMENT;
  return k > MOST_INPUTS_I4 || w->group == 0 || (w->group % 32 && w->group != k) ? EQ_BAD_SHAPE : EQ_OK;
}

bool eq_weights_i4_given(const eq_weights_i4 *w) {
  return w->codes && w->scale && (w->zero_kind != EQ_ZERO_EIGHT) == (w->zero != (const void *)0);
}

static eq_status check_residual(const eq_residual *r, uint32_t n, uint32_t h, uint32_t w, uint32_t o) {
  if (r->codes) {
    if (r->data) return EQ_BAD_ARGUMENT;
    return r->h == h && r->w == w && r->c == o ? EQ_OK : EQ_BAD_SHAPE;
  }
  if (!r->data) return EQ_OK;
  if (r->mode != EQ_RES_PAD && r->mode != EQ_RES_TILE) return EQ_BAD_ARGUMENT;
  if (!eq_extent_ok(n, r->h, r->w, r->c)) return EQ_BAD_SHAPE;
  const bool same = r->h == h && r->w == w, halved = r->h / 2 + r->h % 2 == h && r->w / 2 + r->w % 2 == w;
  if (!same && !halved) return EQ_BAD_SHAPE;
  return r->c < o && r->mode == EQ_RES_TILE && o % r->c ? EQ_BAD_SHAPE : EQ_OK;
}

eq_status eq_check_epilogue(const eq_epilogue *e, uint32_t n, uint32_t h, uint32_t w, uint32_t o, bool integer) {
  if (!e) return EQ_BAD_ARGUMENT;
  const bool moments = e->tuning && e->tuning->moments;
  if (!e->out && !e->out_bits && !e->out_t2 && !e->out_i8 && !e->out_mean && !e->out_acc && !moments)
    return EQ_BAD_ARGUMENT;
  if (e->out_i8 && !eq_grid_ok(&e->grid)) return EQ_BAD_ARGUMENT;
  if (e->row_shift && !e->shift_weight) return EQ_BAD_ARGUMENT;
  if (e->out_acc && !integer) return EQ_BAD_ARGUMENT;
  if (e->tuning && (!e->tuning->a || !e->tuning->c || !e->scale || !e->bias || e->row_scale || e->row_shift))
    return EQ_BAD_ARGUMENT;
  if (e->tuning && e->tuning->rows != 1 && e->tuning->rows != n) return EQ_BAD_SHAPE;
  switch (e->act) {
  case EQ_ACT_NONE:
  case EQ_ACT_RELU:
  case EQ_ACT_HSIGMOID:
  case EQ_ACT_GELU: break;
  case EQ_ACT_DPRELU:
    if (!e->pos || !e->neg || !e->shift) return EQ_BAD_ARGUMENT;
    break;
  default: return EQ_BAD_ARGUMENT;
  }
  for (int i = 0; i < 2; i++) {
    const eq_status status = check_residual(&e->residual[i], n, h, w, o);
    if (status != EQ_OK) return status;
  }
  return EQ_OK;
}

eq_status eq_check_quant(const eq_quant *q) {
  if (!q) return EQ_BAD_ARGUMENT;
  switch (q->kind) {
  case EQ_QUANT_NONE: return EQ_OK;
  case EQ_QUANT_SYM:
  case EQ_QUANT_POS: return q->scale && q->step && q->top >= 0.0f ? EQ_OK : EQ_BAD_ARGUMENT;
  default: return EQ_BAD_ARGUMENT;
  }
}

bool eq_grid_ok(const eq_grid *grid) { return grid->low >= -128 && grid->low <= grid->high && grid->high <= 127; }

bool eq_threads_ok(const eq_threads *threads) { return !threads || threads->workers <= 1 || threads->run; }

eq_status eq_check_bit_shape(const eq_conv2d *op) {
  const eq_status status = eq_check_conv2d(op);
  if (status != EQ_OK) return status;
  const uint32_t cg = op->c / op->groups;
  return op->groups > 1 && cg > 1 && cg % 8 ? EQ_BAD_SHAPE : EQ_OK;
}

eq_status eq_check_bit_conv2d(const eq_conv2d *op, const eq_epilogue *e) {
  const eq_status status = eq_check_bit_shape(op);
  return status == EQ_OK ? eq_check_epilogue(e, op->n, op->out_h, op->out_w, op->o, true) : status;
}
