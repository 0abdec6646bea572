/* 8- and 4-bit weights against fake-quantised float activations. */
#include "operators.h"

/* conv2d_i8f32(Tensor x, Tensor w, Tensor? steps, int quant, int stride, int same, int groups, int act, Tensor params)
 *   and the same with int want: map, bits, mean; tuned: see eql_tuned, or NULL */
static void conv2d(eql_call *c, bool fused, eql_tuned *tuned) {
  const eql_tensor *x = eql_take(c, EQL_F32, "x must be float"), *w = eql_take(c, EQL_I8, "w must be int8");
  if (!eql_require(c, x->rank == 4 && w->rank == 4, "x must be [n][h][w][c], w [o][kh][kw][c / groups]")) return;
  const uint32_t channels = x->size[3];
  const eq_quant quant = eql_take_quant(c, channels);
  const uint32_t stride = eql_integer(c, EQL_MOST_STRIDE, "stride must be positive"),
                 same = eql_integer(c, 1, "same must be 0 or 1"),
                 groups = eql_integer(c, EQL_MOST, "groups must be positive");
  if (!eql_require(c, stride > 0 && groups > 0 && channels % groups == 0 && w->size[3] == channels / groups,
                   "groups must divide the channels, and w have c / groups of them"))
    return;
  eq_conv2d op = eql_geometry(x->size, w->size, channels, stride, groups);
  if (!eql_require(c, same || (op.kh <= op.h && op.kw <= op.w), "the kernel is larger than the image")) return;
  (same ? eq_conv2d_same : eq_conv2d_valid)(&op);
  eq_epilogue e = {0};
  eql_take_activation(c, op.o, false, &e);
  const uint32_t most = EQL_MAP | EQL_BITS | EQL_MEAN | (tuned ? EQL_MOMENTS : 0u),
                 want = fused ? eql_integer(c, most, "want must be 1 to 7, or with moments to 39") : EQL_MAP;
  eql_take_image_outs(c, &op, want, &e);
  if (tuned) eql_set_tuned(c, tuned, want, op.n, op.o, &e);
  if (c->fault) return;
  const eq_threads *threads = eql_threads(c, eql_taps(&op) * (channels / groups));
  const size_t bytes = eq_conv2d_i8f32_scratch(&op, &e, threads);
  if (eql_ready(c, bytes))
    eql_finish(c, eq_conv2d_i8f32(&op, eql_floats(x), &quant, eql_data(w), &e, threads, c->scratch, bytes));
}
static void conv2d_i8f32(eql_call *c) { conv2d(c, false, NULL); }
static void conv2d_i8f32_fused(eql_call *c) { conv2d(c, true, NULL); }
static void conv2d_i8f32_tuned(eql_call *c) {
  eql_tuned tuned;
  eql_take_tuned(c, &tuned);
  conv2d(c, true, &tuned);
}

/* linear_i8f32(Tensor x, Tensor w, Tensor? steps, int quant, int act, Tensor params): float [..., k], int8 [o][k] ->
 *   float [..., o]; linear_i4f32: the same with w u8 [o][row_bytes(4 k)] */
static void linear(eql_call *c, bool four_bits) {
  const eql_tensor *x = eql_take(c, EQL_F32, "x must be float"),
                   *w = eql_take(c, four_bits ? EQL_U8 : EQL_I8, "w must be int8, or u8 for 4 bits");
  const eq_linear op = {eql_rows(x), eql_last(x), eql_extent(w, 0)};
  eql_require(c,
              x->rank >= 1 && w->rank == 2 && op.k <= EQL_MOST / 4 &&
                  eql_last(w) == (four_bits ? eq_row_bytes(4 * op.k) : op.k),
              "the rows of w do not hold k weights");
  const eq_quant quant = eql_take_quant(c, op.k);
  eq_epilogue e = {0};
  eql_take_activation(c, op.o, false, &e);
  e.out = eql_out_like(c, EQL_F32, 0, x, 0, op.o);
  if (c->fault) return;
  const eq_threads *threads = eql_threads(c, (uint64_t)op.m * op.o * op.k);
  const size_t bytes = (four_bits ? eq_linear_i4f32_scratch : eq_linear_i8f32_scratch)(&op, &e, threads);
  if (!eql_ready(c, bytes)) return;
  eql_finish(c, four_bits ? eq_linear_i4f32(&op, eql_floats(x), &quant, eql_data(w), &e, threads, c->scratch, bytes)
                          : eq_linear_i8f32(&op, eql_floats(x), &quant, eql_data(w), &e, threads, c->scratch, bytes));
}
static void linear_i8f32(eql_call *c) { linear(c, false); }
static void linear_i4f32(eql_call *c) { linear(c, true); }

/* fake_quantise(Tensor x, Tensor? steps, int quant): float [..., k] -> the values of its grid */
static void fake_quantise(eql_call *c) {
  const eql_tensor *x = eql_take(c, EQL_F32, "x must be float");
  if (!eql_require(c, x->rank >= 1, "x must be [..., k]")) return;
  const eq_quant quant = eql_take_quant(c, eql_last(x));
  float *out = eql_out_like(c, EQL_F32, 0, x, 0, eql_last(x));
  if (eql_ready_plain(c)) eql_finish(c, eq_fake_quantise(&quant, eql_floats(x), eql_rows(x), eql_last(x), out));
}

/* squeeze_excite_i4f32(Tensor mean, Tensor codes, Tensor params, int hidden, int quant1, int quant2)
 *   mean    [n][c]; out = hsigmoid(fc2(relu(fc1(mean)))), [n][o]
 *   codes   fc1 [hidden][row_bytes(4 c)], then fc2 [o][row_bytes(4 hidden)]
 *   params  steps of fc1 [2][c], its scale and bias [2][hidden], steps of fc2 [2][hidden], its scale and bias [2][o] */
static void squeeze_excite_i4f32(eql_call *c) {
  const eql_tensor *mean = eql_take(c, EQL_F32, "mean must be float"), *codes = eql_take(c, EQL_U8, "codes must be u8"),
                   *params = eql_take(c, EQL_F32, "params must be float");
  const uint32_t hidden = eql_integer(c, EQL_MOST / 4, "hidden must be positive"),
                 quant1 = eql_integer(c, EQL_QUANTS - 1, "quant1 must be 0 to 3"),
                 quant2 = eql_integer(c, EQL_QUANTS - 1, "quant2 must be 0 to 3");
  if (!eql_require(c, mean->rank == 2 && hidden > 0, "mean must be [n][c], hidden positive")) return;
  const uint32_t n = mean->size[0], channels = mean->size[1];
  const uint64_t fixed = 2 * (uint64_t)channels + 4 * (uint64_t)hidden;
  if (!eql_require(c, channels <= EQL_MOST / 4 && params->count > fixed && (params->count - fixed) % 2 == 0,
                   "params do not fit c and hidden"))
    return;
  const uint32_t o = (uint32_t)((params->count - fixed) / 2);
  const uint64_t codes1 = hidden * (uint64_t)eq_row_bytes(4 * channels),
                 codes2 = o * (uint64_t)eq_row_bytes(4 * hidden);
  eql_require(c, codes->count == codes1 + codes2, "codes do not fit c, hidden and o");
  float *out = eql_out(c, EQL_F32, 2, (const uint32_t[]){n, o});
  if (c->fault) return;

  const eq_linear fc1 = {n, channels, hidden}, fc2 = {n, hidden, o};
  const bool there = params->known;
  const float *steps1 = eql_floats(params), *affine1 = there ? steps1 + 2 * (uint64_t)channels : steps1,
              *steps2 = there ? affine1 + 2 * (uint64_t)hidden : steps1,
              *affine2 = there ? steps2 + 2 * (uint64_t)hidden : steps1;
  const eq_quant q1 = eql_quant(quant1, steps1, there ? channels : 0),
                 q2 = eql_quant(quant2, steps2, there ? hidden : 0);
  eq_epilogue e1 = {.scale = affine1, .bias = there ? affine1 + hidden : affine1, .act = EQ_ACT_RELU, .out = out},
              e2 = {.scale = affine2, .bias = there ? affine2 + o : affine2, .act = EQ_ACT_HSIGMOID, .out = out};
  const size_t between = ((size_t)n * hidden * sizeof(float) + 63) / 64 * 64,
               first = eq_linear_i4f32_scratch(&fc1, &e1, NULL), second = eq_linear_i4f32_scratch(&fc2, &e2, NULL),
               bytes = first > second ? first : second;
  if (!eql_ready(c, first && second ? between + bytes : 0)) return;
  e1.out = c->scratch;
  uint8_t *scratch = (uint8_t *)c->scratch + between;
  const uint8_t *w = eql_data(codes);
  eql_finish(c, eq_linear_i4f32(&fc1, eql_floats(mean), &q1, w, &e1, NULL, scratch, bytes));
  if (!c->fault) eql_finish(c, eq_linear_i4f32(&fc2, e1.out, &q2, w + codes1, &e2, NULL, scratch, bytes));
}

const eql_entry eql_uniform_operators[] = {{"edgeq.conv2d_i8f32", conv2d_i8f32},
                                           {"edgeq.conv2d_i8f32_fused", conv2d_i8f32_fused},
                                           {"edgeq.conv2d_i8f32_tuned", conv2d_i8f32_tuned},
                                           {"edgeq.linear_i8f32", linear_i8f32},
                                           {"edgeq.linear_i4f32", linear_i4f32},
                                           {"edgeq.fake_quantise", fake_quantise},
                                           {"edgeq.squeeze_excite_i4f32", squeeze_excite_i4f32},
                                           {NULL, NULL}};
