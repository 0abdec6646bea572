#include "arena.h"
#include "check.h"
#include "edgeq/ops.h"
#include "kernels/ref/ref.h"
#define TRY(x)                                                                                                         \
  do {                                                                                                                 \
    eq_status s_ = (x);                                                                                                \
    if (s_ != EQ_OK) return s_;                                                                                        \
  } while (0)
static eq_status scratch_ok(const void *p, size_t have, size_t need) {
  return need == 0 || (p && have >= need && (uintptr_t)p % EQ_ALIGN == 0) ? EQ_OK : EQ_NO_SCRATCH;
}
static size_t need(uint32_t o) { return (size_t)o * 4 + 64; }
eq_status eq_pack_b1(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  if (!x || !out) return EQ_BAD_ARGUMENT;
  if (!rows || !k) return EQ_BAD_SHAPE;
  eq_pack_b1_ref(x, rows, k, threshold, out);
  return EQ_OK;
}
eq_status eq_pack_t2(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  if (!x || !out) return EQ_BAD_ARGUMENT;
  if (!rows || !k) return EQ_BAD_SHAPE;
  eq_pack_t2_ref(x, rows, k, threshold, out);
  return EQ_OK;
}
size_t eq_conv2d_b1b1_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *t) {
  (void)e;
  (void)t;
  return need(op->o);
}
eq_status eq_conv2d_b1b1(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *t, void *s, size_t sb) {
  (void)t;
  if (!x || !w) return EQ_BAD_ARGUMENT;
  TRY(eq_check_conv2d(op));
  TRY(eq_check_epilogue(e, op->n, op->out_h, op->out_w, op->o, true));
  if (op->groups > 1 && op->groups != op->c && op->c / op->groups % 8) return EQ_BAD_SHAPE;
  TRY(scratch_ok(s, sb, need(op->o)));
  eq_conv2d_b1b1_ref(op, x, w, e, s);
  return EQ_OK;
}
size_t eq_linear_b1b1_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *t) {
  (void)e;
  (void)t;
  return need(op->o);
}
eq_status eq_linear_b1b1(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *t, void *s, size_t sb) {
  (void)t;
  if (!x || !w) return EQ_BAD_ARGUMENT;
  TRY(eq_check_linear(op));
  TRY(eq_check_epilogue(e, op->m, 1, 1, op->o, true));
  TRY(scratch_ok(s, sb, need(op->o)));
  eq_linear_b1b1_ref(op, x, w, e, s);
  return EQ_OK;
}
size_t eq_conv2d_i8f32_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *t) {
  (void)e;
  (void)t;
  return need(op->o);
}
eq_status eq_conv2d_i8f32(const eq_conv2d *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                          const eq_threads *t, void *s, size_t sb) {
  (void)t;
  if (!x || !w) return EQ_BAD_ARGUMENT;
  TRY(eq_check_conv2d(op));
  TRY(eq_check_quant(q));
  TRY(eq_check_epilogue(e, op->n, op->out_h, op->out_w, op->o, false));
  TRY(scratch_ok(s, sb, need(op->o)));
  eq_conv2d_i8f32_ref(op, x, q, w, e, s);
  return EQ_OK;
}
size_t eq_linear_i8f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *t) {
  (void)e;
  (void)t;
  return need(op->o);
}
eq_status eq_linear_i8f32(const eq_linear *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                          const eq_threads *t, void *s, size_t sb) {
  (void)t;
  if (!x || !w) return EQ_BAD_ARGUMENT;
  TRY(eq_check_linear(op));
  TRY(eq_check_quant(q));
  TRY(eq_check_epilogue(e, op->m, 1, 1, op->o, false));
  TRY(scratch_ok(s, sb, need(op->o)));
  eq_linear_i8f32_ref(op, x, q, w, e, s);
  return EQ_OK;
}
size_t eq_linear_i4f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *t) {
  (void)e;
  (void)t;
  return need(op->o);
}
eq_status eq_linear_i4f32(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w,
                          const eq_epilogue *e, const eq_threads *t, void *s, size_t sb) {
  (void)t;
  if (!x || !w) return EQ_BAD_ARGUMENT;
  TRY(eq_check_linear(op));
  TRY(eq_check_quant(q));
  TRY(eq_check_epilogue(e, op->m, 1, 1, op->o, false));
  TRY(scratch_ok(s, sb, need(op->o)));
  eq_linear_i4f32_ref(op, x, q, w, e, s);
  return EQ_OK;
}
size_t eq_epilogue_i32_scratch(uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e) {
  (void)n;
  (void)h;
  (void)w;
  (void)e;
  return need(o);
}
eq_status eq_epilogue_i32(const int32_t *acc, uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e,
                          void *s, size_t sb) {
  if (!acc) return EQ_BAD_ARGUMENT;
  if (!eq_extent_ok(n, h, w, o)) return EQ_BAD_SHAPE;
  TRY(eq_check_epilogue(e, n, h, w, o, true));
  TRY(scratch_ok(s, sb, need(o)));
  eq_epilogue_i32_ref(acc, n, h, w, o, e, s);
  return EQ_OK;
}
size_t eq_mean_hw_scratch(uint32_t n, uint32_t h, uint32_t w, uint32_t c) {
  (void)n;
  (void)h;
  (void)w;
  return need(c);
}
eq_status eq_mean_hw(const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c, float *out, void *s, size_t sb) {
  if (!x || !out) return EQ_BAD_ARGUMENT;
  if (!eq_extent_ok(n, h, w, c)) return EQ_BAD_SHAPE;
  TRY(scratch_ok(s, sb, need(c)));
  eq_mean_hw_ref(x, n, h, w, c, out, s);
  return EQ_OK;
}
