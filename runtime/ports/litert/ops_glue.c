/* What follows an accumulator, on its own. */
#include "operators.h"

/* epilogue(Tensor acc, int act, Tensor params, Tensor? local, Tensor? block, Tensor? gain): int32 [n][h][w][o] or
 *   [..., o] -> float of the same extents */
static void epilogue(eql_call *c) {
  const eql_tensor *acc = eql_take(c, EQL_I32, "acc must be int32");
  if (!eql_require(c, acc->rank >= 1, "acc must be [n][h][w][o] or [..., o]")) return;
  const bool image = acc->rank == 4;
  const uint32_t o = eql_last(acc), n = image ? acc->size[0] : eql_rows(acc), h = image ? acc->size[1] : 1,
                 w = image ? acc->size[2] : 1;
  eq_epilogue e = {0};
  eql_take_activation(c, o, false, &e);
  eql_take_residuals(c, n, o, &e);
  e.out = eql_out_like(c, EQL_F32, 0, acc, 0, o);
  if (c->fault) return;
  const size_t bytes = eq_epilogue_i32_scratch(n, h, w, o, &e);
  if (eql_ready(c, bytes)) eql_finish(c, eq_epilogue_i32(eql_data(acc), n, h, w, o, &e, c->scratch, bytes));
}

/* mean_hw(Tensor x): float [n][h][w][c] -> [n][c] */
static void mean_hw(eql_call *c) {
  const eql_tensor *x = eql_take(c, EQL_F32, "x must be float");
  if (!eql_require(c, x->rank == 4, "x must be [n][h][w][c]")) return;
  const uint32_t *s = x->size;
  float *out = eql_out(c, EQL_F32, 2, (const uint32_t[]){s[0], s[3]});
  if (c->fault) return;
  const size_t bytes = eq_mean_hw_scratch(s[0], s[1], s[2], s[3]);
  if (eql_ready(c, bytes)) eql_finish(c, eq_mean_hw(eql_floats(x), s[0], s[1], s[2], s[3], out, c->scratch, bytes));
}

/* mean_quarters(Tensor x, Tensor? grid): float, or int8 with a grid [n][h][w][c] -> [n][4 c] */
static void mean_quarters(eql_call *c) {
  const eql_tensor *x = eql_take_any(c, "x must be float or int8"),
                   *grid = eql_take_optional(c, EQL_F32, "grid must be float or None");
  if (!eql_require(c, x && x->rank == 4, "x must be [n][h][w][c]")) return;
  const bool codes = x->type == EQL_I8;
  const float inv_step = grid ? eql_grid(c, grid).inv_step : 0.0f;
  if (!eql_require(c, c->untyped || (codes ? inv_step > 0 : x->type == EQL_F32),
                   "x must be float, or int8 with a grid"))
    return;
  const uint32_t *s = x->size;
  const uint64_t width = (s[1] > 1 ? 2u : 1u) * (s[2] > 1 ? 2u : 1u) * (uint64_t)s[3];
  if (!eql_require(c, width <= EQL_MOST, "x has too many channels")) return;
  float *out = eql_out(c, EQL_F32, 2, (const uint32_t[]){s[0], (uint32_t)width});
  if (eql_ready_plain(c))
    eql_finish(c, eq_mean_quarters(codes ? NULL : eql_floats(x), codes ? eql_data(x) : NULL, inv_step, s[0], s[1], s[2],
                                   s[3], out));
}

/* latent_codes(Tensor x, int kind, int top): float [...] -> int8 of the same extents */
static void latent_codes(eql_call *c) {
  const eql_tensor *x = eql_take(c, EQL_F32, "x must be float");
  const uint32_t kind = eql_integer(c, EQ_LATENT_POWERS, "kind must be 0 to 2"),
                 top = eql_integer(c, 127, "top must be 1 to 127"), k = eql_last(x);
  int8_t *out = eql_out_like(c, EQL_I8, 0, x, 0, k);
  if (eql_ready_plain(c))
    eql_finish(c, eq_latent_codes((eq_latent_kind)kind, top, eql_floats(x), (size_t)eql_rows(x) * k, out));
}

/* mean_patches(Tensor x, int kh, int kw, int stride, int padding): int8 [n][h][w][c] -> float [n][kh * kw * c] */
static void mean_patches(eql_call *c) {
  const eql_tensor *x = eql_take(c, EQL_I8, "x must be int8");
  const uint32_t kh = eql_integer(c, EQL_MOST_STRIDE, "kh must be positive"),
                 kw = eql_integer(c, EQL_MOST_STRIDE, "kw must be positive"),
                 stride = eql_integer(c, EQL_MOST_STRIDE, "stride must be positive"),
                 padding = eql_integer(c, EQL_MOST_STRIDE, "padding must not be negative");
  if (!eql_require(c, x->rank == 4 && kh && kw && stride, "x must be [n][h][w][c], the rest positive")) return;
  const uint32_t *s = x->size;
  const uint64_t h = s[1] + 2ull * padding, w = s[2] + 2ull * padding, width = (uint64_t)kh * kw * s[3];
  if (!eql_require(c, h >= kh && w >= kw && width <= EQL_MOST, "the kernel must fit")) return;
  const eq_conv2d op = {.n = s[0],
                        .h = s[1],
                        .w = s[2],
                        .c = s[3],
                        .o = 1,
                        .kh = kh,
                        .kw = kw,
                        .stride_h = stride,
                        .stride_w = stride,
                        .pad_top = padding,
                        .pad_left = padding,
                        .out_h = (uint32_t)((h - kh) / stride + 1),
                        .out_w = (uint32_t)((w - kw) / stride + 1),
                        .groups = 1};
  float *out = eql_out(c, EQL_F32, 2, (const uint32_t[]){s[0], (uint32_t)width});
  if (eql_ready_plain(c)) eql_finish(c, eq_mean_patches(&op, eql_data(x), out));
}

const eql_entry eql_glue_operators[] = {{"edgeq.epilogue", epilogue},           {"edgeq.mean_hw", mean_hw},
                                        {"edgeq.mean_quarters", mean_quarters}, {"edgeq.latent_codes", latent_codes},
                                        {"edgeq.mean_patches", mean_patches},   {NULL, NULL}};
