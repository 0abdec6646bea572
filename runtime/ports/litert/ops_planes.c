/* Bit-planes other than signs: activations or weights with zeros, activations 0 and 1. */
#include "operators.h"

/* pack_t2(Tensor x, Tensor? threshold): float [..., k] -> u8 [2][..., row_bytes(k)] */
static void pack_t2(eql_call *c) {
  const eql_tensor *x = eql_take(c, EQL_F32, "x must be float"),
                   *threshold = eql_take_optional(c, EQL_F32, "threshold must be float or None");
  const uint32_t k = eql_last(x);
  eql_require(c, eql_one_row(threshold, k), "threshold must be [k]");
  uint8_t *out = eql_out_like(c, EQL_U8, 2, x, 0, (uint32_t)eq_row_bytes(k));
  if (eql_ready_plain(c)) eql_finish(c, eq_pack_t2(eql_floats(x), eql_rows(x), k, eql_floats(threshold), out));
}

/* act, params, skip, grid of n images of h x w pixels with o channels. */
static void take_epilogue(eql_call *c, uint32_t n, uint32_t h, uint32_t w, uint32_t o, eq_epilogue *e) {
  eql_take_activation(c, o, false, e);
  eql_set_skip(c, eql_take_optional(c, EQL_F32, "skip must be float or None"), NULL, false, n, h, w, o, e);
  const eql_tensor *grid = eql_take_optional(c, EQL_F32, "grid must be float or None");
  if (grid) e->grid = eql_grid(c, grid);
}

typedef struct {
  uint32_t x_planes, w_planes;
  size_t (*scratch)(const eq_linear *, const eq_epilogue *, const eq_threads *);
  eq_status (*run)(const eq_linear *, const uint8_t *, const uint8_t *, const eq_epilogue *, const eq_threads *, void *,
                   size_t);
  eq_status (*run_tiled)(const eq_linear *, const uint8_t *, const void *, const eq_epilogue *, const eq_threads *,
                         void *, size_t); /* NULL: its weights have no tiles */
} product;

/* linear_{b1t2,b1u1,t2b1}(Tensor x, Tensor w, int k, int act, Tensor params, Tensor? skip, Tensor? grid, int want):
 *   map, bits, codes; a ternary operand has two planes, [2][..., row] */
static void linear(eql_call *c, const product *p) {
  const eql_tensor *x = eql_take(c, EQL_U8, "x must be u8"), *w = eql_take(c, EQL_U8, "w must be u8");
  const uint32_t k = eql_integer(c, EQL_MOST, "k must be positive"), planes = p->x_planes;
  if (!eql_require(c,
                   k > 0 && x->rank >= planes && w->rank == p->w_planes + 1 && (planes == 1 || x->size[0] == 2) &&
                       (p->w_planes == 1 || w->size[0] == 2),
                   "x must be [..., row], w [o][row]; a ternary operand has two planes in front") ||
      !eql_require(c, eql_last(x) == eq_row_bytes(k) && eql_last(w) == eq_row_bytes(k),
                   "the rows of x and w must have row_bytes(k) bytes"))
    return;
  const eq_linear op = {eql_rows(x) / planes, k, w->size[p->w_planes - 1]};
  eq_epilogue e = {0};
  take_epilogue(c, op.m, 1, 1, op.o, &e);
  eql_take_row_outs(c, x, planes - 1, op.o, eql_integer(c, EQL_ALL, "want must be 1 to 31"), &e);
  if (c->fault) return;
  const eq_threads *threads = eql_threads(c, (uint64_t)op.m * op.o * k / 64);
  const size_t bytes = p->scratch(&op, &e, threads);
  void *tiles = p->run_tiled ? eql_tiles_to_make(c, w, eq_tiles_b1_bytes(op.o, k)) : NULL;
  if (tiles) eql_finish(c, eq_tiles_b1(op.o, k, eql_data(w), tiles));
  if (!eql_ready(c, bytes)) return;
  eql_finish(c, c->tiles && p->run_tiled ? p->run_tiled(&op, eql_data(x), c->tiles, &e, threads, c->scratch, bytes)
                                         : p->run(&op, eql_data(x), eql_data(w), &e, threads, c->scratch, bytes));
}

static void linear_b1t2(eql_call *c) {
  static const product p = {2, 1, eq_linear_b1t2_scratch, eq_linear_b1t2, eq_linear_b1t2_tiled};
  linear(c, &p);
}
static void linear_b1u1(eql_call *c) {
  static const product p = {1, 1, eq_linear_b1u1_scratch, eq_linear_b1u1, eq_linear_b1u1_tiled};
  linear(c, &p);
}
static void linear_t2b1(eql_call *c) {
  static const product p = {1, 2, eq_linear_t2b1_scratch, eq_linear_t2b1, NULL};
  linear(c, &p);
}

typedef struct {
  uint32_t x_planes, w_planes;
  size_t (*scratch)(const eq_conv2d *, const eq_epilogue *, const eq_threads *);
  eq_status (*run)(const eq_conv2d *, const uint8_t *, const uint8_t *, const eq_epilogue *, const eq_threads *, void *,
                   size_t);
} convolution;

/* conv2d_{b1t2,b1u1,t2b1}(Tensor x, Tensor w, int channels, int stride, int padding, int groups, int act, Tensor
 * params, Tensor? skip, Tensor? grid, int want): map, bits, mean, codes x u8 [n][h][w][row], w u8 [o][kh][kw][row]; a
 * ternary operand has two planes in front */
static void conv2d(eql_call *c, const convolution *p) {
  eql_bit_conv v;
  if (!eql_take_bit_conv(c, p->x_planes, p->w_planes, false, &v)) return;
  const eq_conv2d *op = &v.op;
  eq_epilogue e = {0};
  take_epilogue(c, op->n, op->out_h, op->out_w, op->o, &e);
  eql_take_image_outs(c, op, eql_integer(c, EQL_ALL, "want must be 1 to 31"), &e);
  if (c->fault) return;
  const eq_threads *threads = eql_threads(c, eql_taps(op) * op->c / 64);
  const size_t bytes = p->scratch(op, &e, threads);
  if (eql_ready(c, bytes)) eql_finish(c, p->run(op, eql_data(v.x), eql_data(v.w), &e, threads, c->scratch, bytes));
}

static void conv2d_b1t2(eql_call *c) {
  static const convolution p = {2, 1, eq_conv2d_b1t2_scratch, eq_conv2d_b1t2};
  conv2d(c, &p);
}
static void conv2d_b1u1(eql_call *c) {
  static const convolution p = {1, 1, eq_conv2d_b1u1_scratch, eq_conv2d_b1u1};
  conv2d(c, &p);
}
static void conv2d_t2b1(eql_call *c) {
  static const convolution p = {1, 2, eq_conv2d_t2b1_scratch, eq_conv2d_t2b1};
  conv2d(c, &p);
}

const eql_entry eql_plane_operators[] = {{"edgeq.pack_t2", pack_t2},         {"edgeq.linear_b1t2", linear_b1t2},
                                         {"edgeq.linear_b1u1", linear_b1u1}, {"edgeq.linear_t2b1", linear_t2b1},
                                         {"edgeq.conv2d_b1t2", conv2d_b1t2}, {"edgeq.conv2d_b1u1", conv2d_b1u1},
                                         {"edgeq.conv2d_t2b1", conv2d_t2b1}, {NULL, NULL}};
