/* Signed 8-bit activations: their quantiser, and convolutions with weights that are signed powers of two or int8. */
#include "core/weights.h"
#include "operators.h"

/* grid: float [3], inv_step, lowest and highest code. */
static eq_grid take_grid(eqm_call *c, const eqm_value *grid) {
  if (!eqm_require(c, grid->count == 3)) return (eq_grid){0};
  const float *g = eqm_floats(grid);
  /* Read again in every run, and in bounds then too: the values may lie in an arena. */
  const bool sound = g[1] >= -128.0f && g[1] <= g[2] && g[2] <= 127.0f;
  if (!eqm_require(c, sound || grid->writable) || !sound) return (eq_grid){0};
  return (eq_grid){g[0], (int32_t)g[1], (int32_t)g[2]};
}

#ifndef EQM_TUNED
/* quantise_i8(Tensor x, Tensor grid): float [..., k] -> int8 of the same extents */
void eqm_quantise_i8(eqm_call *c) {
  const eqm_value *x = eqm_tensor(c, EQM_F32);
  const eq_grid grid = take_grid(c, eqm_tensor(c, EQM_F32));
  if (!eqm_require(c, x->rank >= 1)) return;
  int8_t *out = eqm_out_like(c, EQM_I8, x, eqm_extent(x, x->rank - 1u));
  if (eqm_ready(c, 0)) eq_quantise_i8_mcu(eqm_floats(x), x->count, &grid, out);
}

#endif

/* skip: float or int8 of the output's extents, or None. */
static eq_residual take_skip(eqm_call *c, const uint32_t *extents) {
  eq_residual r = {0};
  const eqm_value *skip = eqm_next(c), *step = eqm_optional_tensor(c, EQM_F32);
  if (skip->kind == EQM_NULL) return r;
  bool fits = skip->kind == EQM_TENSOR && skip->rank == 4 &&
              (skip->type == EQM_F32 || (skip->type == EQM_I8 && step && step->count == 1));
  for (uint32_t d = 0; fits && d < 4; d++) fits = eqm_extent(skip, d) == extents[d];
  if (!eqm_require(c, fits)) return r;
  r.h = extents[1], r.w = extents[2], r.c = extents[3];
  if (skip->type == EQM_F32)
    r.data = eqm_floats(skip);
  else
    r.codes = (const int8_t *)skip->data, r.step = *eqm_floats(step);
  return r;
}

enum { MAP = 1, MEAN = 4, CODES = 8 };

/* conv2d_{s2,s3,s4,i8}i8(Tensor x, Tensor w, int stride, int padding, int groups, None, int act, Tensor params,
 *   Tensor? skip, Tensor? skip_step, Tensor? grid, int want): map, (no bits), mean, codes
 *   x int8 [n][h][w][c]; w u8 [planes][o][kh][kw][row of c / groups], int8 [o][kh][kw][c / groups]; no depthwise bits
 */
static void conv2d(eqm_call *c, eq_weight_type type) {
  EQM_TUNING(c);
  const bool planes = type != EQ_I8;
  const eqm_value *x = eqm_tensor(c, EQM_I8), *w = eqm_tensor(c, planes ? EQM_U8 : EQM_I8);
  const uint32_t stride = eqm_integer(c, EQM_MOST_STRIDE), padding = eqm_integer(c, EQM_MOST_STRIDE),
                 groups = eqm_integer(c, EQM_MOST);
  if (!eqm_require(c, x->rank == 4 && w->rank == (planes ? 5 : 4) && stride > 0 && groups > 0)) return;
  const uint32_t first = planes ? 1 : 0;
  eq_conv2d op = {.n = eqm_extent(x, 0),
                  .h = eqm_extent(x, 1),
                  .w = eqm_extent(x, 2),
                  .c = eqm_extent(x, 3),
                  .o = eqm_extent(w, first),
                  .kh = eqm_extent(w, first + 1),
                  .kw = eqm_extent(w, first + 2),
                  .stride_h = stride,
                  .stride_w = stride,
                  .pad_top = padding,
                  .pad_left = padding,
                  .groups = groups};
  if (!eqm_require(c, op.c % groups == 0 && op.o % groups == 0 && (uint64_t)op.h + 2 * padding >= op.kh &&
                          (uint64_t)op.w + 2 * padding >= op.kw))
    return;
  op.out_h = (op.h + 2 * padding - op.kh) / stride + 1;
  op.out_w = (op.w + 2 * padding - op.kw) / stride + 1;
  const uint32_t group = op.c / groups, widest = type == EQ_I8 || type == EQ_S4 ? (1u << 17) - 1 : (1u << 20) - 1;
  eqm_require(c, c->compute || eq_check_conv2d(&op) == EQ_OK);
  eqm_require(c, !planes || groups == 1 || group > 1);
  eqm_require(c, eqm_extent(w, first + 3) == eq_weight_row(type, group) &&
                     (!planes || eqm_extent(w, 0) == eq_weight_planes(type)) &&
                     (uint64_t)op.kh * op.kw * group <= widest);
  eqm_require(c, !eqm_optional_tensor(c, EQM_F32));

  eq_epilogue e = {0};
  eqm_take_activation(c, op.o, &e);
  eqm_require(c, (e.act == EQ_ACT_NONE || e.act == EQ_ACT_RELU) && !e.scale2);
  const uint32_t extents[] = {op.n, op.out_h, op.out_w, op.o}, mean[] = {op.n, op.o};
  e.residual[0] = take_skip(c, extents);
  const eqm_value *grid = eqm_optional_tensor(c, EQM_F32);
  if (grid) e.grid = take_grid(c, grid);
  const uint32_t want = eqm_integer(c, MAP | MEAN | CODES | EQM_MORE);
  eqm_require(c, want != 0 && !(want & 2) && (grid || !(want & CODES)));
  if (want & MAP)
    e.out = eqm_out(c, EQM_F32, 4, extents);
  else
    eqm_no_out(c);
  eqm_no_out(c);
  if (want & MEAN)
    e.out_mean = eqm_out(c, EQM_F32, 2, mean);
  else
    eqm_no_out(c);
  if (want & CODES)
    e.out_i8 = eqm_out(c, EQM_I8, 4, extents);
  else
    eqm_no_out(c);
  EQM_TAKE_MOMENTS(c, &op, want, &e);
  if (!EQM_READY(c, &e, EQM_SUMS(want & MEAN, want, op.o))) return;
  const eq_weights weights = eq_conv2d_weights(&op, type, w->data);
  eq_conv2d_i8_mcu(&op, (const int8_t *)x->data, &weights, &e, c->scratch);
}

void EQM_NAME(eqm_conv2d_s2i8)(eqm_call *c) { conv2d(c, EQ_S2); }
void EQM_NAME(eqm_conv2d_s3i8)(eqm_call *c) { conv2d(c, EQ_S3); }
void EQM_NAME(eqm_conv2d_s4i8)(eqm_call *c) { conv2d(c, EQ_S4); }
void EQM_NAME(eqm_conv2d_i8i8)(eqm_call *c) { conv2d(c, EQ_I8); }
