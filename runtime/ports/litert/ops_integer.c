/* Quantisers to signed 8 bits, and products of such and of float activations with weights of every type. */
#include "operators.h"

/* quantise_i8(Tensor x, Tensor grid): float [..., k] -> int8 of the same extents */
static void quantise_i8(eql_call *c) {
  const eql_tensor *x = eql_take(c, EQL_F32, "x must be float");
  const eq_codes q = {.kind = EQ_CODES_STATIC, .grid = eql_grid(c, eql_take(c, EQL_F32, "grid must be float"))};
  const uint32_t k = eql_last(x);
  int8_t *out = eql_out_like(c, EQL_I8, 0, x, 0, k);
  const eq_threads *threads = eql_threads(c, (uint64_t)eql_rows(x) * k * EQ_CODES_COST);
  if (eql_ready_plain(c)) eql_finish(c, eq_quantise_i8(&q, eql_floats(x), eql_rows(x), k, out, NULL, NULL, threads));
}

/* quantise_rows_i8(Tensor x, int kind, float clip): codes, and rows float [1 or 2][rows], BLOCK32 [rows][blocks] */
static void quantise_rows_i8(eql_call *c) {
  const eql_tensor *x = eql_take(c, EQL_F32, "x must be float");
  const uint32_t kind = eql_integer(c, EQ_CODES_BLOCK32_SYM, "kind must be 1 to 5");
  const eq_codes q = {.kind = (eq_codes_kind)kind, .clip = eql_number(c, "clip must be a float")};
  if (!eql_require(c, x->rank >= 1 && kind > 0, "x must be [..., k], kind 1 to 5")) return;
  const uint32_t k = eql_last(x), m = eql_rows(x), blocks = (k + EQ_CODES_BLOCK - 1) / EQ_CODES_BLOCK;
  const bool asymmetric = kind == EQ_CODES_ROW_ASYM || kind == EQ_CODES_TENSOR_ASYM,
             block = kind == EQ_CODES_BLOCK32_SYM;
  int8_t *out = eql_out_like(c, EQL_I8, 0, x, 0, k);
  const uint32_t extents[] = {block ? m : asymmetric ? 2 : 1, block ? blocks : m};
  float *steps = eql_out(c, EQL_F32, 2, extents);
  const eq_threads *threads = eql_threads(c, (uint64_t)m * k * EQ_CODES_COST);
  if (eql_ready_plain(c))
    eql_finish(c, eq_quantise_i8(&q, eql_floats(x), m, k, out, steps, asymmetric ? steps + m : NULL, threads));
}

/* An operator of one weight and one activation type; planes 0: weights are int8 or float; tiled: how constant ones
 * are, or NULL. */
struct eql_tiled;
#define EQL_PRODUCT(operation, geometry)                                                                               \
  typedef struct {                                                                                                     \
    int x_type, w_type;                                                                                                \
    uint32_t planes;                                                                                                   \
    const struct eql_tiled *tiled;                                                                                     \
    size_t (*scratch)(const geometry *, const eq_epilogue *, const eq_threads *);                                      \
    eq_status (*run)(const geometry *, const void *, const void *, const eq_epilogue *, const eq_threads *, void *,    \
                     size_t);                                                                                          \
  } operation##_product;
EQL_PRODUCT(conv2d, eq_conv2d)
EQL_PRODUCT(linear, eq_linear)

/* Products whose constant weights are tiled ahead. */
struct eql_tiled {
  size_t (*tile_bytes)(uint32_t, uint32_t);
  eq_status (*make)(uint32_t, uint32_t, const void *, void *);
  size_t (*scratch)(const eq_linear *, const void *, const eq_epilogue *, const eq_threads *);
  eq_status (*run)(const eq_linear *, const int8_t *, const void *, const eq_epilogue *, const eq_threads *, void *,
                   size_t);
};
#define EQL_TILED(type)                                                                                                \
  {eq_tiles_##type##_bytes, eq_tiles_##type, eq_linear_##type##i8_tiled_scratch, eq_linear_##type##i8_tiled}
static const struct eql_tiled t2_tiled = EQL_TILED(t2), s2_tiled = EQL_TILED(s2), s3_tiled = EQL_TILED(s3),
                              s4_tiled = EQL_TILED(s4), i8_tiled = EQL_TILED(i8);

/* The core's functions take their own type of activations; one that takes void * for each. */
#define EQL_RUN(operation, geometry, types, element)                                                                   \
  static eq_status operation##_##types##_any(const geometry *op, const void *x, const void *w, const eq_epilogue *e,   \
                                             const eq_threads *threads, void *scratch, size_t bytes) {                 \
    return eq_##operation##_##types(op, (const element *)x, w, e, threads, scratch, bytes);                            \
  }
#define EQL_CONV2D(types, element, x_type, w_type, planes)                                                             \
  EQL_RUN(conv2d, eq_conv2d, types, element)                                                                           \
  static const conv2d_product types##_product = {                                                                      \
      x_type, w_type, planes, NULL, eq_conv2d_##types##_scratch, conv2d_##types##_any};                                \
  static void conv2d_##types(eql_call *c) { conv2d(c, &types##_product, NULL); }
#define EQL_CONV2D_TUNED(types)                                                                                        \
  static void conv2d_##types##_tuned(eql_call *c) {                                                                    \
    eql_tuned tuned;                                                                                                   \
    eql_take_tuned(c, &tuned);                                                                                         \
    conv2d(c, &types##_product, &tuned);                                                                               \
  }
#define EQL_LINEAR(types, element, x_type, w_type, planes, tiled)                                                      \
  EQL_RUN(linear, eq_linear, types, element)                                                                           \
  static void linear_##types(eql_call *c) {                                                                            \
    static const linear_product product = {                                                                            \
        x_type, w_type, planes, tiled, eq_linear_##types##_scratch, linear_##types##_any};                             \
    linear(c, &product);                                                                                               \
  }

/* conv2d_{b1,t2,s2,s3,s4,i8}i8 and conv2d_{s2,s3,s4,f32}f32(Tensor x, Tensor w, int stride, int padding, int groups,
 *   Tensor? rows, int act, Tensor params, Tensor? skip, Tensor? skip_step, Tensor? grid, int want): map, bits, mean,
 *   codes
 *   x int8 or float [n][h][w][c]; w u8 [planes][o][kh][kw][row], depthwise [planes][kh][kw][row of o]; int8 or float
 *   [o][kh][kw][c / groups]; tuned: see eql_tuned, or NULL */
static void conv2d(eql_call *c, const conv2d_product *p, eql_tuned *tuned) {
  const eql_tensor *x = eql_take(c, p->x_type, "x must be int8, or float"),
                   *w = eql_take(c, p->w_type, "w must be u8 planes, int8 or float");
  const uint32_t stride = eql_integer(c, EQL_MOST_STRIDE, "stride must be positive"),
                 padding = eql_integer(c, EQL_MOST_STRIDE, "padding must not be negative"),
                 groups = eql_integer(c, EQL_MOST, "groups must be positive");
  if (!eql_require(c, x->rank == 4 && stride > 0 && groups > 0, "x must be [n][h][w][c], stride positive")) return;
  const uint32_t channels = x->size[3];
  const bool depthwise = p->planes && groups == channels && groups > 1;
  const uint32_t taps = p->planes && !depthwise ? 2 : 1; /* where the kernel's extents are */
  if (!eql_require(c, w->rank == taps + 3 && channels % groups == 0 && (!p->planes || w->size[0] == p->planes),
                   "w must be [planes][o][kh][kw][row], depthwise [planes][kh][kw][row], i8 [o][kh][kw][c / groups]"))
    return;
  eq_conv2d op = {.n = x->size[0],
                  .h = x->size[1],
                  .w = x->size[2],
                  .c = channels,
                  .o = 0,
                  .kh = w->size[taps],
                  .kw = w->size[taps + 1],
                  .stride_h = stride,
                  .stride_w = stride,
                  .groups = groups};
  op.o = depthwise ? eql_peek_channels(c) : w->size[taps - 1];
  const size_t row = p->planes ? eq_row_bytes(depthwise ? op.o : channels / groups) : channels / groups;
  if (!eql_require(c, op.o > 0 && eql_last(w) == row, "w does not fit the channels of x and params") ||
      !eql_padded(c, &op, padding))
    return;
  eq_epilogue e = {0};
  eql_take_integer(c, op.n, op.out_h, op.out_w, op.o, &e);
  const uint32_t want =
      eql_integer(c, tuned ? EQL_ALL | EQL_MOMENTS : EQL_ALL, "want must be 1 to 31, or with moments to 63");
  eql_take_image_outs(c, &op, want, &e);
  if (tuned) eql_set_tuned(c, tuned, want, op.n, op.o, &e);
  if (c->fault) return;
  const eq_threads *threads =
      eql_threads(c, (uint64_t)op.n * op.out_h * op.out_w * op.o * op.kh * op.kw * (channels / groups));
  const size_t bytes = p->scratch(&op, &e, threads);
  if (eql_ready(c, bytes)) eql_finish(c, p->run(&op, eql_data(x), eql_data(w), &e, threads, c->scratch, bytes));
}

/* linear_{b1,t2,s2,s3,s4,i8}i8 and linear_{b1,t2,s2,s3,s4,f32}f32(Tensor x, Tensor w, Tensor? rows, int act, Tensor
 * params, Tensor? skip, Tensor? skip_step, Tensor? grid, int want): map, bits, codes x int8 or float [..., k]; w u8
 * [planes][o][row]; int8 or float [o][k] */
static void linear(eql_call *c, const linear_product *p) {
  const eql_tensor *x = eql_take(c, p->x_type, "x must be int8, or float"),
                   *w = eql_take(c, p->w_type, "w must be u8 planes, int8 or float");
  const uint32_t rank = p->planes ? 3 : 2;
  if (!eql_require(c, x->rank >= 1 && w->rank == rank && (!p->planes || w->size[0] == p->planes),
                   "x must be [..., k], w [planes][o][row], i8 [o][k]"))
    return;
  const eq_linear op = {eql_rows(x), eql_last(x), w->size[rank - 2]};
  eql_require(c, eql_last(w) == (p->planes ? eq_row_bytes(op.k) : op.k), "w does not fit the rows of x");
  eq_epilogue e = {0};
  eql_take_integer(c, op.m, 1, 1, op.o, &e);
  eql_take_row_outs(c, x, 0, op.o, eql_integer(c, EQL_ALL, "want must be 1 to 31"), &e);
  if (c->fault) return;
  const eq_threads *threads = eql_threads(c, (uint64_t)op.m * op.o * op.k);
  void *made = p->tiled ? eql_tiles_to_make(c, w, p->tiled->tile_bytes(op.o, op.k)) : NULL;
  if (made) eql_finish(c, p->tiled->make(op.o, op.k, eql_data(w), made));
  const void *tiles = !p->tiled ? NULL : c->compute ? c->tiles : made;
  const size_t bytes = c->fault ? 0 : tiles ? p->tiled->scratch(&op, tiles, &e, threads) : p->scratch(&op, &e, threads);
  if (!eql_ready(c, bytes)) return;
  eql_finish(c, tiles ? p->tiled->run(&op, eql_data(x), tiles, &e, threads, c->scratch, bytes)
                      : p->run(&op, eql_data(x), eql_data(w), &e, threads, c->scratch, bytes));
}

EQL_CONV2D(b1i8, int8_t, EQL_I8, EQL_U8, 1)
EQL_CONV2D(t2i8, int8_t, EQL_I8, EQL_U8, 2)
EQL_CONV2D(s2i8, int8_t, EQL_I8, EQL_U8, 2)
EQL_CONV2D(s3i8, int8_t, EQL_I8, EQL_U8, 3)
EQL_CONV2D(s4i8, int8_t, EQL_I8, EQL_U8, 4)
EQL_CONV2D(i8i8, int8_t, EQL_I8, EQL_I8, 0)
EQL_CONV2D(s2f32, float, EQL_F32, EQL_U8, 2)
EQL_CONV2D(s3f32, float, EQL_F32, EQL_U8, 3)
EQL_CONV2D(s4f32, float, EQL_F32, EQL_U8, 4)
EQL_CONV2D(f32f32, float, EQL_F32, EQL_F32, 0)
EQL_CONV2D_TUNED(s2i8)
EQL_CONV2D_TUNED(s3i8)
EQL_CONV2D_TUNED(s4i8)
EQL_CONV2D_TUNED(i8i8)
EQL_CONV2D_TUNED(s2f32)
EQL_CONV2D_TUNED(s3f32)
EQL_CONV2D_TUNED(s4f32)
EQL_CONV2D_TUNED(f32f32)
EQL_LINEAR(b1i8, int8_t, EQL_I8, EQL_U8, 1, NULL)
EQL_LINEAR(t2i8, int8_t, EQL_I8, EQL_U8, 2, &t2_tiled)
EQL_LINEAR(s2i8, int8_t, EQL_I8, EQL_U8, 2, &s2_tiled)
EQL_LINEAR(s3i8, int8_t, EQL_I8, EQL_U8, 3, &s3_tiled)
EQL_LINEAR(s4i8, int8_t, EQL_I8, EQL_U8, 4, &s4_tiled)
EQL_LINEAR(i8i8, int8_t, EQL_I8, EQL_I8, 0, &i8_tiled)
EQL_LINEAR(b1f32, float, EQL_F32, EQL_U8, 1, NULL)
EQL_LINEAR(t2f32, float, EQL_F32, EQL_U8, 2, NULL)
EQL_LINEAR(s2f32, float, EQL_F32, EQL_U8, 2, NULL)
EQL_LINEAR(s3f32, float, EQL_F32, EQL_U8, 3, NULL)
EQL_LINEAR(s4f32, float, EQL_F32, EQL_U8, 4, NULL)
EQL_LINEAR(f32f32, float, EQL_F32, EQL_F32, 0, NULL)

/* linear_i4i8(Tensor x, Tensor w, Tensor scale, Tensor? zero, int group, Tensor? block_step, then as linear)
 *   w u8 [o][row_bytes(4 k)], scale half [o][G], zero u8 [o][(G + 1) / 2] or half [o][G], block_step float [m][k / 32]
 */
static void linear_i4i8(eql_call *c) {
  const eql_tensor *x = eql_take(c, EQL_I8, "x must be int8");
  eq_weights_i4 weights;
  uint32_t o;
  const eql_tensor *w = NULL;
  const bool known = eql_take_weights_i4(c, eql_last(x), &o, &weights, &w);
  if (c->fault) return;
  const eql_tensor *block_step = eql_take_optional(c, EQL_F32, "block_step must be float or None");
  const eq_linear op = {eql_rows(x), eql_last(x), o};
  const uint64_t blocks = ((uint64_t)op.k + EQ_CODES_BLOCK - 1) / EQ_CODES_BLOCK;
  eql_require(c, !block_step || block_step->count == op.m * blocks, "block_step must be [rows][ceil(k / 32)]");
  eq_epilogue e = {0};
  eql_take_integer(c, op.m, 1, 1, op.o, &e);
  eql_take_row_outs(c, x, 0, op.o, eql_integer(c, EQL_ALL, "want must be 1 to 31"), &e);
  if (c->fault) return;
  const eq_threads *threads = eql_threads(c, (uint64_t)op.m * op.o * op.k);
  void *made = known ? eql_tiles_to_make(c, w, eq_tiles_i4_bytes(op.o, op.k, &weights)) : NULL;
  if (made) eql_finish(c, eq_tiles_i4(op.o, op.k, &weights, made));
  const void *tiles = c->compute ? c->tiles : made;
  const size_t bytes = c->fault ? 0
                       : tiles  ? eq_linear_i4i8_tiled_scratch(&op, tiles, &e, threads)
                                : eq_linear_i4i8_scratch(&op, &weights, &e, threads);
  if (!eql_ready(c, bytes)) return;
  const int8_t *codes = eql_data(x);
  const float *steps = eql_floats(block_step);
  eql_finish(c, tiles ? eq_linear_i4i8_tiled(&op, codes, steps, tiles, &e, threads, c->scratch, bytes)
                      : eq_linear_i4i8(&op, codes, steps, &weights, &e, threads, c->scratch, bytes));
}

/* conv2d_i4i8(Tensor x, int kernel_h, int kernel_w, Tensor w, Tensor scale, Tensor? zero, int group, int stride, int
 *   padding, then rows and on as conv2d): x int8 [n][h][w][c], weights as above with k = kernel_h * kernel_w * c */
static void conv2d_i4i8(eql_call *c) {
  enum { MOST_KERNEL = 1 << 12 };
  const eql_tensor *x = eql_take(c, EQL_I8, "x must be int8");
  const uint32_t kernel_h = eql_integer(c, MOST_KERNEL, "kernel_h must be positive"),
                 kernel_w = eql_integer(c, MOST_KERNEL, "kernel_w must be positive");
  const uint64_t k = (uint64_t)kernel_h * kernel_w * eql_last(x);
  if (!eql_require(c, x->rank == 4 && k > 0 && k <= EQL_MOST / 4, "x must be [n][h][w][c], the kernel positive"))
    return;
  eq_weights_i4 weights;
  uint32_t o;
  const eql_tensor *w = NULL;
  eql_take_weights_i4(c, (uint32_t)k, &o, &weights, &w);
  const uint32_t stride = eql_integer(c, EQL_MOST_STRIDE, "stride must be positive"),
                 padding = eql_integer(c, EQL_MOST_STRIDE, "padding must not be negative");
  if (c->fault || !eql_require(c, stride > 0, "stride must be positive")) return;
  eq_conv2d op = eql_geometry(x->size, (const uint32_t[]){o, kernel_h, kernel_w}, x->size[3], stride, 1);
  if (!eql_padded(c, &op, padding)) return;
  eq_epilogue e = {0};
  eql_take_integer(c, op.n, op.out_h, op.out_w, op.o, &e);
  eql_take_image_outs(c, &op, eql_integer(c, EQL_ALL, "want must be 1 to 31"), &e);
  if (c->fault) return;
  const eq_threads *threads = eql_threads(c, eql_taps(&op) * op.c);
  const size_t bytes = eq_conv2d_i4i8_scratch(&op, &weights, &e, threads);
  if (eql_ready(c, bytes)) eql_finish(c, eq_conv2d_i4i8(&op, eql_data(x), &weights, &e, threads, c->scratch, bytes));
}

const eql_entry eql_integer_operators[] = {{"edgeq.quantise_i8", quantise_i8},
                                           {"edgeq.quantise_rows_i8", quantise_rows_i8},
                                           {"edgeq.conv2d_b1i8", conv2d_b1i8},
                                           {"edgeq.conv2d_t2i8", conv2d_t2i8},
                                           {"edgeq.conv2d_s2i8", conv2d_s2i8},
                                           {"edgeq.conv2d_s3i8", conv2d_s3i8},
                                           {"edgeq.conv2d_s4i8", conv2d_s4i8},
                                           {"edgeq.conv2d_i8i8", conv2d_i8i8},
                                           {"edgeq.conv2d_i4i8", conv2d_i4i8},
                                           {"edgeq.conv2d_s2f32", conv2d_s2f32},
                                           {"edgeq.conv2d_s3f32", conv2d_s3f32},
                                           {"edgeq.conv2d_s4f32", conv2d_s4f32},
                                           {"edgeq.conv2d_f32f32", conv2d_f32f32},
                                           {"edgeq.conv2d_s2i8_tuned", conv2d_s2i8_tuned},
                                           {"edgeq.conv2d_s3i8_tuned", conv2d_s3i8_tuned},
                                           {"edgeq.conv2d_s4i8_tuned", conv2d_s4i8_tuned},
                                           {"edgeq.conv2d_i8i8_tuned", conv2d_i8i8_tuned},
                                           {"edgeq.conv2d_s2f32_tuned", conv2d_s2f32_tuned},
                                           {"edgeq.conv2d_s3f32_tuned", conv2d_s3f32_tuned},
                                           {"edgeq.conv2d_s4f32_tuned", conv2d_s4f32_tuned},
                                           {"edgeq.conv2d_f32f32_tuned", conv2d_f32f32_tuned},
                                           {"edgeq.linear_b1i8", linear_b1i8},
                                           {"edgeq.linear_t2i8", linear_t2i8},
                                           {"edgeq.linear_s2i8", linear_s2i8},
                                           {"edgeq.linear_s3i8", linear_s3i8},
                                           {"edgeq.linear_s4i8", linear_s4i8},
                                           {"edgeq.linear_i8i8", linear_i8i8},
                                           {"edgeq.linear_i4i8", linear_i4i8},
                                           {"edgeq.linear_b1f32", linear_b1f32},
                                           {"edgeq.linear_t2f32", linear_t2f32},
                                           {"edgeq.linear_s2f32", linear_s2f32},
                                           {"edgeq.linear_s3f32", linear_s3f32},
                                           {"edgeq.linear_s4f32", linear_s4f32},
                                           {"edgeq.linear_f32f32", linear_f32f32},
                                           {NULL, NULL}};
