/* What stands around the tuned convolutions in `forward_tune`: taps, the float head, and the joining of pieces. */
#define EQM_TUNED
#include "edgeq/glue.h"
#include "kernels/mcu/lanes.h"
#include "kernels/mcu/quantise.h"
#include "micro/operators.h"

/* mean_quarters(Tensor x, Tensor? grid): float, or int8 with a grid [n][h][w][c] -> [n][4 c] */
void eqm_mean_quarters(eqm_call *c) {
  const eqm_value *x = eqm_next(c), *grid = eqm_optional_tensor(c, EQM_F32);
  const bool codes = x->kind == EQM_TENSOR && x->type == EQM_I8;
  if (!eqm_require(c, x->kind == EQM_TENSOR && x->rank == 4 && x->count > 0 && (codes || x->type == EQM_F32))) return;
  if (!eqm_require(c, !codes || (grid && grid->count == 3))) return;
  const uint32_t n = eqm_extent(x, 0), h = eqm_extent(x, 1), w = eqm_extent(x, 2), channels = eqm_extent(x, 3);
  if (!eqm_require(c, eq_extent_ok(n, h, w, channels) && channels <= EQM_MOST / 4)) return;
  const uint32_t extents[] = {n, (h > 1 ? 2u : 1u) * (w > 1 ? 2u : 1u) * channels};
  float *out = eqm_out(c, EQM_F32, 2, extents);
  if (eqm_ready(c, 0))
    eq_mean_quarters(codes ? NULL : eqm_floats(x), codes ? (const int8_t *)x->data : NULL,
                     codes ? *eqm_floats(grid) : 0.0f, n, h, w, channels, out);
}

/* fake_quantise(Tensor x, Tensor? steps, int quant): float [..., k] -> the values of the grid, same extents */
void eqm_fake_quantise(eqm_call *c) {
  const eqm_value *x = eqm_tensor(c, EQM_F32);
  if (!eqm_require(c, x->rank >= 1)) return;
  const uint32_t k = eqm_extent(x, x->rank - 1u);
  const eq_quant quant = eqm_take_quant(c, k);
  float *out = eqm_out_like(c, EQM_F32, x, k);
  if (eqm_ready(c, 0)) eq_quantise_pixels(&quant, eqm_floats(x), eqm_rows(x), k, out);
}

/* Sixteen partial sums, folded pairwise (edgeq/floating.h). What lies past the end of a row counts as 0, which changes
 * no sum. */
static float dot(const float *x, const float *w, uint32_t k) {
  float last[2][16];
  EQ_LANES;
  EQ_LANES_U;
#define START(j) v##j = u##j = 0.0f;
  EQ_EIGHT(START)
#define PRODUCT(j) t##j *= w[j];
#define SECOND(j) u##j += t##j;
  for (uint32_t i = 0; i < k; i += 16, x += 16, w += 16) {
    if (k - i < 16) {
      for (uint32_t j = 0; j < 16; j++) last[0][j] = last[1][j] = 0.0f;
      for (uint32_t j = 0; j < k - i; j++) last[0][j] = x[j], last[1][j] = w[j];
      x = last[0], w = last[1];
    }
    EQ_LOAD_T(x);
    EQ_EIGHT(PRODUCT)
    EQ_EIGHT(EQ_ADD)
#define PRODUCT_OF_SECOND(j) t##j *= w[8 + j];
    EQ_LOAD_T(x + 8);
    EQ_EIGHT(PRODUCT_OF_SECOND)
    EQ_EIGHT(SECOND)
  }
#define FOLD(j) v##j += u##j;
  EQ_EIGHT(FOLD)
  v0 += v4, v1 += v5, v2 += v6, v3 += v7;
  v0 += v2, v1 += v3;
  return v0 + v1;
}

/* linear_f32f32(Tensor x, Tensor w, None, int act, Tensor params, None, None, None, int want): map, (no bits, no codes)
 *   x float [..., k], w float [o][k]; act 0, params [2][o], want 1 */
void eqm_linear_f32f32(eqm_call *c) {
  const eqm_value *x = eqm_tensor(c, EQM_F32), *w = eqm_tensor(c, EQM_F32);
  if (!eqm_require(c, x->rank >= 1 && w->rank == 2)) return;
  const eq_linear op = {eqm_rows(x), eqm_extent(x, x->rank - 1u), eqm_extent(w, 0)};
  eqm_require(c, (c->compute || eq_check_linear(&op) == EQ_OK) && eqm_extent(w, 1) == op.k);
  eqm_require(c, !eqm_optional_tensor(c, EQM_F32));
  eqm_integer(c, 0);
  const eqm_value *params = eqm_tensor(c, EQM_F32);
  eqm_require(c, params->rank == 2 && eqm_extent(params, 0) == 2 && eqm_extent(params, 1) == op.o);
  for (int i = 0; i < 3; i++) eqm_require(c, !eqm_optional_tensor(c, EQM_F32));
  eqm_require(c, eqm_integer(c, 1) == 1);
  float *out = eqm_out_like(c, EQM_F32, x, op.o);
  eqm_no_out(c);
  eqm_no_out(c);
  if (!eqm_ready(c, 0)) return;
  const float *row = eqm_floats(x), *scale = eqm_floats(params), *bias = scale + op.o;
  for (uint32_t m = 0; m < op.m; m++, row += op.k)
    for (uint32_t o = 0; o < op.o; o++) *out++ = dot(row, eqm_floats(w) + (size_t)o * op.k, op.k) * scale[o] + bias[o];
}

/* aten::full_like(Tensor x, Scalar value, int? memory_format): float, the value a whole number from 0 on */
void eqm_full_like(eqm_call *c) {
  const eqm_value *x = eqm_tensor(c, EQM_F32);
  const uint32_t value = eqm_integer(c, 1 << 16);
  eqm_next(c);
  if (!eqm_require(c, x->rank >= 1)) return;
  float *out = eqm_out_like(c, EQM_F32, x, eqm_extent(x, x->rank - 1u));
  if (!eqm_ready(c, 0)) return;
  for (uint32_t i = 0; i < x->count; i++) out[i] = (float)value;
}

static uint32_t product(const eqm_value *x, uint32_t from, uint32_t to) {
  uint32_t n = 1;
  for (; from < to; from++) n *= eqm_extent(x, from);
  return n;
}

/* aten::cat(Tensor[] pieces, int dim): float */
void eqm_cat(eqm_call *c) {
  const eqm_value *pieces = eqm_list(c, EQM_TENSOR_LIST);
  const uint32_t dim = eqm_integer(c, EQM_MOST_DIMS - 1);
  if (!eqm_require(c, pieces->count > 0)) return;
  const eqm_value *first = eqm_item(c, pieces, 0);
  if (!eqm_require(c, first->rank > dim && first->type == EQM_F32 && first->count > 0)) return;
  uint32_t extents[EQM_MOST_DIMS];
  for (uint32_t d = 0; d < first->rank; d++) extents[d] = eqm_extent(first, d);
  uint64_t length = 0;
  for (uint32_t i = 0; i < pieces->count; i++) {
    const eqm_value *x = eqm_item(c, pieces, i);
    bool fits = x->rank == first->rank && x->type == EQM_F32 && x->count > 0;
    for (uint32_t d = 0; fits && d < x->rank; d++) fits = d == dim || eqm_extent(x, d) == extents[d];
    if (!eqm_require(c, fits)) return;
    length += eqm_extent(x, dim);
  }
  if (!eqm_require(c, length <= EQM_MOST)) return;
  extents[dim] = (uint32_t)length;
  float *out = eqm_out(c, EQM_F32, first->rank, extents);
  if (!eqm_ready(c, 0)) return;
  const uint32_t outer = product(first, 0, dim), inner = product(first, dim + 1, first->rank);
  for (uint32_t n = 0; n < outer; n++)
    for (uint32_t i = 0; i < pieces->count; i++) {
      const eqm_value *x = eqm_item(c, pieces, i);
      const uint32_t count = eqm_extent(x, dim) * inner;
      const float *from = eqm_floats(x) + (size_t)n * count;
      for (uint32_t j = 0; j < count; j++) *out++ = from[j];
    }
}
