/* Binary weights and activations. */
#include "operators.h"

/* pack_sign(Tensor x, Tensor? threshold): float [..., k] -> u8 [..., row_bytes(k)] */
static void pack_sign(eql_call *c) {
  const eql_tensor *x = eql_take(c, EQL_F32, "x must be float"),
                   *threshold = eql_take_optional(c, EQL_F32, "threshold must be float or None");
  const uint32_t k = eql_last(x);
  eql_require(c, eql_one_row(threshold, k), "threshold must be [k]");
  uint8_t *out = eql_out_like(c, EQL_U8, 0, x, 0, (uint32_t)eq_row_bytes(k));
  if (eql_ready_plain(c)) eql_finish(c, eq_pack_b1(eql_floats(x), eql_rows(x), k, eql_floats(threshold), out));
}

bool eql_take_bit_conv(eql_call *c, uint32_t x_planes, uint32_t w_planes, bool same, eql_bit_conv *v) {
  const uint32_t of_x = x_planes - 1, of_w = w_planes - 1; /* where their other extents begin */
  v->x = eql_take(c, EQL_U8, "x must be u8");
  v->w = eql_take(c, EQL_U8, "w must be u8");
  const uint32_t channels = eql_integer(c, EQL_MOST, "channels must be positive"),
                 stride = eql_integer(c, EQL_MOST_STRIDE, "stride must be positive"),
                 padding = same ? 0 : eql_integer(c, EQL_MOST_STRIDE, "padding must not be negative"),
                 groups = eql_integer(c, EQL_MOST, "groups must be positive");
  if (!eql_require(c,
                   v->x->rank == 4 + of_x && v->w->rank == 4 + of_w && (of_x == 0 || v->x->size[0] == 2) &&
                       (of_w == 0 || v->w->size[0] == 2),
                   "x must be [n][h][w][row], w [o][kh][kw][row]; a ternary operand has two planes in front") ||
      !eql_require(c, channels > 0 && stride > 0 && groups > 0 && channels % groups == 0,
                   "groups must divide channels") ||
      !eql_require(c, eql_last(v->x) == eq_row_bytes(channels) && eql_last(v->w) == eq_row_bytes(channels / groups),
                   "rows of x or w do not have row_bytes(channels) bytes"))
    return false;
  v->op = eql_geometry(v->x->size + of_x, v->w->size + of_w, channels, stride, groups);
  if (!same) return eql_padded(c, &v->op, padding);
  eq_conv2d_same(&v->op);
  return true;
}

static void run_conv(eql_call *c, const eql_bit_conv *v, const eq_epilogue *e) {
  const eq_conv2d *op = &v->op;
  if (c->fault) return;
  const eq_threads *threads = eql_threads(c, eql_taps(op) * op->c / 64);
  const size_t bytes = eq_conv2d_b1b1_scratch(op, e, threads);
  void *tiles = eql_tiles_to_make(c, v->w, eq_tiles_conv2d_b1b1_bytes(op));
  if (tiles) eql_finish(c, eq_tiles_conv2d_b1b1(op, eql_data(v->w), tiles));
  if (!eql_ready(c, bytes)) return;
  eql_finish(c, c->tiles ? eq_conv2d_b1b1_tiled(op, eql_data(v->x), c->tiles, e, threads, c->scratch, bytes)
                         : eq_conv2d_b1b1(op, eql_data(v->x), eql_data(v->w), e, threads, c->scratch, bytes));
}

/* conv2d_b1b1(Tensor x, Tensor w, int channels, int stride, int groups): int32 accumulators */
static void conv2d_b1b1(eql_call *c) {
  eql_bit_conv v;
  if (!eql_take_bit_conv(c, 1, 1, true, &v)) return;
  const eq_epilogue e = {.out_acc = eql_out(c, EQL_I32, 4, (const uint32_t[]){v.op.n, v.op.out_h, v.op.out_w, v.op.o})};
  run_conv(c, &v, &e);
}

/* conv2d_b1b1_fused(Tensor x, Tensor w, int channels, int stride, int groups, int act, Tensor params, Tensor? local,
 *   Tensor? block, Tensor? gain, int want): map, bits, mean; tuned: see eql_tuned, or NULL */
static void fused(eql_call *c, eql_tuned *tuned) {
  eql_bit_conv v;
  eq_epilogue e = {0};
  if (!eql_take_bit_conv(c, 1, 1, true, &v)) return;
  eql_take_activation(c, v.op.o, false, &e);
  eql_take_residuals(c, v.op.n, v.op.o, &e);
  const uint32_t most = EQL_MAP | EQL_BITS | EQL_MEAN | (tuned ? EQL_MOMENTS : 0u),
                 want = eql_integer(c, most, "want must be 1 to 7, or with moments to 39");
  eql_take_image_outs(c, &v.op, want, &e);
  if (tuned) eql_set_tuned(c, tuned, want, v.op.n, v.op.o, &e);
  run_conv(c, &v, &e);
}
static void conv2d_b1b1_fused(eql_call *c) { fused(c, NULL); }
static void conv2d_b1b1_tuned(eql_call *c) {
  eql_tuned tuned;
  eql_take_tuned(c, &tuned);
  fused(c, &tuned);
}

/* linear_b1b1(Tensor x, Tensor w, int k): u8 [..., row], u8 [o][row] -> int32 [..., o] */
static void linear_b1b1(eql_call *c) {
  const eql_tensor *x = eql_take(c, EQL_U8, "x must be u8"), *w = eql_take(c, EQL_U8, "w must be u8");
  const uint32_t k = eql_integer(c, EQL_MOST, "k must be positive");
  if (!eql_require(c, w->rank == 2 && k > 0 && eql_last(w) == eq_row_bytes(k) && eql_last(x) == eq_row_bytes(k),
                   "x must be [..., row_bytes(k)], w [o][row_bytes(k)]"))
    return;
  const eq_linear op = {eql_rows(x), k, w->size[0]};
  const eq_epilogue e = {.out_acc = eql_out_like(c, EQL_I32, 0, x, 0, op.o)};
  if (c->fault) return;
  const eq_threads *threads = eql_threads(c, (uint64_t)op.m * op.o * k / 64);
  const size_t bytes = eq_linear_b1b1_scratch(&op, &e, threads);
  void *tiles = eql_tiles_to_make(c, w, eq_tiles_b1b1_bytes(op.o, k));
  if (tiles) eql_finish(c, eq_tiles_b1b1(op.o, k, eql_data(w), tiles));
  if (!eql_ready(c, bytes)) return;
  eql_finish(c, c->tiles ? eq_linear_b1b1_tiled(&op, eql_data(x), c->tiles, &e, threads, c->scratch, bytes)
                         : eq_linear_b1b1(&op, eql_data(x), eql_data(w), &e, threads, c->scratch, bytes));
}

const eql_entry eql_binary_operators[] = {{"edgeq.pack_sign", pack_sign},
                                          {"edgeq.conv2d_b1b1", conv2d_b1b1},
                                          {"edgeq.conv2d_b1b1_fused", conv2d_b1b1_fused},
                                          {"edgeq.conv2d_b1b1_tuned", conv2d_b1b1_tuned},
                                          {"edgeq.linear_b1b1", linear_b1b1},
                                          {NULL, NULL}};
