/* The six operators of the reader's fixtures (../shared/fixtures/micro), which are no part of the product. They use
 * every kind of value that the micro profile has: lists, booleans, doubles, state that is written in place. */
#include "micro/call.h"

static float *floats(const eqm_value *v) { return (float *)(void *)v->data; }
static const int32_t *ints(const eqm_value *v) { return (const int32_t *)(const void *)v->data; }
static int32_t clamp(int32_t x, int32_t low, int32_t high) { return x < low ? low : x > high ? high : x; }

/* quant_i8(Tensor x, float inv_scale, int zero_point): round half away from zero */
static void quant_i8(eqm_call *c) {
  const eqm_value *x = eqm_tensor(c, EQM_F32), *inverse = eqm_next(c), *zero = eqm_next(c);
  eqm_require(c, inverse->kind == EQM_DOUBLE && zero->kind == EQM_INT);
  eqm_require(c, zero->integer >= -128 && zero->integer <= 127);
  if (!eqm_require(c, x->rank > 0)) return;
  int8_t *out = eqm_out_like(c, EQM_I8, x, eqm_extent(x, x->rank - 1u));
  if (!eqm_ready(c, 0)) return;
  for (uint32_t i = 0; i < x->count; i++) {
    const float v = floats(x)[i] * inverse->number;
    const float bounded = v > -1e4f ? (v < 1e4f ? v : 1e4f) : -1e4f;
    out[i] = (int8_t)clamp((int32_t)(bounded + (bounded >= 0 ? 0.5f : -0.5f)) + zero->integer, -128, 127);
  }
}

static bool pair(const eqm_call *c, const eqm_value *list, int32_t low, int32_t high, int32_t out[2]) {
  if (list->count != 2) return false;
  for (uint32_t d = 0; d < 2; d++) out[d] = eqm_item(c, list, d)->integer;
  return out[0] >= low && out[1] >= low && out[0] <= high && out[1] <= high;
}

/* conv_i8(Tensor x, Tensor w, Tensor? bias, int[] stride, int[] padding, int shift, bool relu): NHWC, OHWI */
static void conv_i8(eqm_call *c) {
  const eqm_value *x = eqm_tensor(c, EQM_I8), *w = eqm_tensor(c, EQM_I8), *bias = eqm_optional_tensor(c, EQM_I32);
  const eqm_value *strides = eqm_list(c, EQM_INT_LIST), *paddings = eqm_list(c, EQM_INT_LIST);
  const uint32_t shift = eqm_integer(c, 30);
  const eqm_value *relu = eqm_next(c);
  int32_t stride[2], pad[2], out_size[2];
  eqm_require(c, relu->kind == EQM_BOOLEAN && x->rank == 4 && w->rank == 4);
  if (!eqm_require(c, c->status == EQM_OK && pair(c, strides, 1, 255, stride) && pair(c, paddings, 0, 255, pad)))
    return;
  const uint32_t taps = w->count / eqm_extent(w, 0);
  if (!eqm_require(c, x->size[0] == 1 && x->size[3] == w->size[3] && taps < 1 << 16)) return;
  if (!eqm_require(c, !bias || (!bias->writable && bias->count == eqm_extent(w, 0)))) return;
  for (uint32_t i = 0; bias && i < bias->count; i++)
    eqm_require(c, ints(bias)[i] > -(1 << 29) && ints(bias)[i] < 1 << 29);
  for (int d = 0; d < 2; d++) {
    const int32_t room = x->size[1 + d] + 2 * pad[d] - w->size[1 + d];
    if (!eqm_require(c, room >= 0)) return;
    out_size[d] = room / stride[d] + 1;
  }
  const uint32_t extents[] = {1, (uint32_t)out_size[0], (uint32_t)out_size[1], eqm_extent(w, 0)};
  int8_t *out = eqm_out(c, EQM_I8, 4, extents);
  if (!eqm_ready(c, 0)) return;
  const int32_t channels = x->size[3], kh = w->size[1], kw = w->size[2];
  for (int32_t y = 0; y < out_size[0]; y++)
    for (int32_t z = 0; z < out_size[1]; z++)
      for (int32_t o = 0; o < w->size[0]; o++) {
        int32_t sum = bias ? ints(bias)[o] : 0;
        for (int32_t i = 0; i < kh * kw; i++) {
          const int32_t iy = y * stride[0] - pad[0] + i / kw, ix = z * stride[1] - pad[1] + i % kw;
          if (iy < 0 || iy >= x->size[1] || ix < 0 || ix >= x->size[2]) continue;
          const int8_t *a = (const int8_t *)x->data + (iy * x->size[2] + ix) * channels;
          const int8_t *b = (const int8_t *)w->data + (o * kh * kw + i) * channels;
          for (int32_t k = 0; k < channels; k++) sum += a[k] * b[k];
        }
        sum = (sum + (shift ? 1 << (shift - 1) : 0)) >> shift;
        *out++ = (int8_t)clamp(sum, relu->integer ? 0 : -128, 127);
      }
}

/* cat_i8(Tensor[] xs, int dim) */
static void cat_i8(eqm_call *c) {
  const eqm_value *list = eqm_list(c, EQM_TENSOR_LIST);
  const uint32_t dim = eqm_integer(c, EQM_MOST_DIMS - 1);
  if (!eqm_require(c, list->count > 0)) return;
  const eqm_value *first = eqm_item(c, list, 0);
  if (!eqm_require(c, dim < first->rank)) return;
  uint32_t extents[EQM_MOST_DIMS], rows = 1, inner = 1;
  for (uint32_t d = 0; d < first->rank; d++) {
    extents[d] = eqm_extent(first, d);
    if (d < dim) rows *= extents[d];
    if (d > dim) inner *= extents[d];
  }
  extents[dim] = 0;
  for (uint32_t i = 0; i < list->count; i++) {
    const eqm_value *x = eqm_item(c, list, i);
    if (!eqm_require(c, x->type == EQM_I8 && x->rank == first->rank && x->count > 0)) return;
    for (uint32_t d = 0; d < x->rank; d++) eqm_require(c, d == dim || eqm_extent(x, d) == extents[d]);
    extents[dim] += eqm_extent(x, dim);
  }
  uint8_t *out = eqm_out(c, EQM_I8, first->rank, extents);
  if (!eqm_ready(c, 0)) return;
  for (uint32_t row = 0; row < rows; row++)
    for (uint32_t i = 0; i < list->count; i++) {
      const eqm_value *x = eqm_item(c, list, i);
      const uint32_t run = inner * eqm_extent(x, dim);
      for (uint32_t k = 0; k < run; k++) *out++ = x->data[row * run + k];
    }
}

/* binary_linear_i8(Tensor x, Tensor w, Tensor scale, int k): signs of x against packed signs */
static void binary_linear_i8(eqm_call *c) {
  const eqm_value *x = eqm_tensor(c, EQM_I8), *w = eqm_tensor(c, EQM_U8), *scale = eqm_tensor(c, EQM_F32);
  const uint32_t k = eqm_integer(c, INT32_MAX), row = (k + 7) / 8;
  if (!eqm_require(c, x->rank > 0 && w->rank == 2 && k > 0 && eqm_extent(x, x->rank - 1u) == k)) return;
  const uint32_t outputs = eqm_extent(w, 0);
  eqm_require(c, eqm_extent(w, 1) == row && scale->count == outputs);
  float *out = eqm_out_like(c, EQM_F32, x, outputs);
  if (!eqm_ready(c, row)) return;
  uint8_t *signs = c->scratch;
  for (uint32_t m = 0; m < eqm_rows(x); m++) {
    for (uint32_t i = 0; i < row; i++) signs[i] = 0;
    for (uint32_t i = 0; i < k; i++)
      if ((int8_t)x->data[m * k + i] >= 0) signs[i / 8] = (uint8_t)(signs[i / 8] | 1u << i % 8);
    for (uint32_t o = 0; o < outputs; o++) {
      int32_t dot = 0;
      for (uint32_t i = 0; i < k; i++) dot += ((signs[i / 8] ^ w->data[o * row + i / 8]) >> i % 8 & 1) ? -1 : 1;
      *out++ = (float)dot * floats(scale)[o];
    }
  }
}

static uint64_t mix(uint64_t z) { /* splitmix64 */
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* zo_perturb(Tensor(a!) w, Tensor seed, Tensor eps, int salt): w += eps * sign(noise(seed, salt)), returns eps */
static void zo_perturb(eqm_call *c) {
  const eqm_value *w = eqm_tensor(c, EQM_F32), *seed = eqm_tensor(c, EQM_I64), *eps = eqm_tensor(c, EQM_F32);
  const uint32_t salt = eqm_integer(c, INT32_MAX);
  if (!eqm_require(c, w->writable && seed->count == 1 && eps->count == 1)) return;
  const uint32_t one[EQM_MOST_DIMS] = {1, 1, 1, 1, 1, 1};
  float *out = eqm_out(c, EQM_F32, eps->rank, one);
  if (!eqm_ready(c, 0)) return;
  const float step = *floats(eps);
  const uint64_t base = mix(*(const uint64_t *)(const void *)seed->data * 1000003 + salt);
  for (uint32_t i = 0; i < w->count; i++) {
    const uint64_t bits = mix(base ^ (uint64_t)(i / 64) * 0xd1342543de82ef95u);
    floats(w)[i] += bits >> i % 64 & 1 ? step : -step;
  }
  *out = step;
}

/* scale_f32(Tensor x, Tensor w): x * w */
static void scale_f32(eqm_call *c) {
  const eqm_value *x = eqm_tensor(c, EQM_F32), *w = eqm_tensor(c, EQM_F32);
  if (!eqm_require(c, x->rank > 0 && w->count == x->count)) return;
  float *out = eqm_out_like(c, EQM_F32, x, eqm_extent(x, x->rank - 1u));
  if (!eqm_ready(c, 0)) return;
  for (uint32_t i = 0; i < x->count; i++) out[i] = floats(x)[i] * floats(w)[i];
}

const eqm_operator eqm_operators[] = {
    {"edgeq::quant_i8.out", quant_i8},     {"edgeq::conv_i8.out", conv_i8},
    {"edgeq::cat_i8.out", cat_i8},         {"edgeq::binary_linear_i8.out", binary_linear_i8},
    {"edgeq::zo_perturb.out", zo_perturb}, {"edgeq::scale_f32.out", scale_f32},
};
const uint32_t eqm_operator_count = sizeof eqm_operators / sizeof *eqm_operators;
