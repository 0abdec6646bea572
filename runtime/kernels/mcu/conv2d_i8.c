/* Signed powers of two and int8 weights against int8 activations. */
#include "core/functions.h"
#include "core/weights.h"
#include "mcu.h"
#ifdef __wasm_simd128__
#include "kernels/wasm_simd128/dots.h"
#endif
#ifdef __ARM_FEATURE_MVE
#include "helium.h"
#endif

/* acc = sum of x * +-2^S: an exclusive or, a subtraction and a shift each. w: a row of the sign plane. */
static int32_t dot_shift(const int8_t *x, const uint8_t *w, size_t plane, unsigned planes, uint32_t k) {
#ifdef __wasm_simd128__
  if (k % 8 == 0) return eq_dot_shift_wasm(x, w, plane, planes, k);
#endif
  int32_t acc = 0;
  for (uint32_t i = 0; i < k; i += 8, w++) {
    uint32_t sign = w[0], low = w[plane], middle = planes > 2 ? w[2 * plane] : 0, high = planes > 3 ? w[3 * plane] : 0;
    const uint32_t end = k - i < 8 ? k - i : 8;
    for (uint32_t bit = 0; bit < end; bit++) {
      const int32_t minus = (int32_t)(sign & 1) - 1, value = x[i + bit];
      acc += ((value ^ minus) - minus) * (1 << ((low & 1) | (middle & 1) << 1 | (high & 1) << 2));
      sign >>= 1, low >>= 1, middle >>= 1, high >>= 1;
    }
  }
  return acc;
}

static int32_t dot_i8(const int8_t *x, const int8_t *w, uint32_t k) {
#ifdef __wasm_simd128__
  if (k % 8 == 0) return eq_dot_i8_wasm(x, w, k);
#elif defined(__ARM_FEATURE_MVE)
  return eq_dot_i8_helium(x, w, k);
#endif
  int32_t acc = 0;
  for (uint32_t i = 0; i < k; i++) acc += x[i] * w[i];
  return acc;
}

static int32_t window(const eq_conv2d *op, const int8_t *image, const eq_weights *w, uint32_t y, uint32_t x,
                      uint32_t o) {
  const uint32_t group = op->c / op->groups, first = o / (op->o / op->groups) * group;
  const uint8_t *row = (const uint8_t *)w->data + (size_t)o * op->kh * op->kw * w->row;
  int32_t acc = 0;
  for (uint32_t ky = 0; ky < op->kh; ky++)
    for (uint32_t kx = 0; kx < op->kw; kx++, row += w->row) {
      const uint32_t iy = y * op->stride_h + ky - op->pad_top, ix = x * op->stride_w + kx - op->pad_left;
      if (iy >= op->h || ix >= op->w) continue; /* what lies before the image wraps far past its end */
      const int8_t *pixel = image + ((size_t)iy * op->w + ix) * op->c + first;
      acc += w->type == EQ_I8 ? dot_i8(pixel, (const int8_t *)row, group)
                              : dot_shift(pixel, row, w->plane, eq_weight_planes(w->type), group);
    }
  return acc;
}

static float residual_of(const eq_residual *r, size_t at) {
  return r->codes ? (float)r->codes[at] * r->step : r->data[at];
}

static int8_t code_of(float y, const eq_grid *grid) {
  float t = y * grid->inv_step;
  t = t > (float)grid->low ? t : (float)grid->low;
  t = t < (float)grid->high ? t : (float)grid->high;
  return (int8_t)eq_round_even(t);
}

/* Rows of pixels are summed first, then the sums of rows (types.h, out_mean). */
static void add_to_mean(const eq_conv2d *op, uint32_t y, uint32_t x, float value, float *row, float *mean) {
  *row = (x == 0 ? 0.0f : *row) + value;
  if (x + 1 < op->out_w) return;
  *mean = (y == 0 ? 0.0f : *mean) + *row;
  if (y + 1 == op->out_h) *mean *= (float)(1.0 / (double)((uint64_t)op->out_h * op->out_w));
}

#ifdef EQ_MOMENTS
/* t: what stands before the bias. row: sums of t, o floats further on of its squares, after those of out_mean. */
static void add_to_moments(const eq_conv2d *op, const eq_epilogue *e, uint32_t n, uint32_t y, uint32_t x, uint32_t o,
                           float t, float *row) {
  float *mean = e->tuning->moments + (size_t)n * 2 * op->o + o, *spread = mean + op->o;
  if (e->out_mean) row += op->o;
  add_to_mean(op, y, x, t, row, mean);
  add_to_mean(op, y, x, t * t, row + op->o, spread);
  if (x + 1 < op->out_w || y + 1 < op->out_h) return;
  const float away = *spread - *mean * *mean;
  *spread = away > 0.0f ? away : 0.0f;
  *mean += e->bias[o];
}
#endif

void eq_conv2d_i8_mcu(const eq_conv2d *op, const int8_t *x, const eq_weights *w, const eq_epilogue *e, float *row) {
  const eq_residual *r = &e->residual[0];
  size_t at = 0;
  for (uint32_t n = 0; n < op->n; n++, x += (size_t)op->h * op->w * op->c)
    for (uint32_t y = 0; y < op->out_h; y++)
      for (uint32_t px = 0; px < op->out_w; px++)
        for (uint32_t o = 0; o < op->o; o++, at++) {
          float v = (float)window(op, x, w, y, px, o) * e->scale[o];
#ifdef EQ_MOMENTS
          if (e->tuning && e->tuning->moments) add_to_moments(op, e, n, y, px, o, v, row + o);
#endif
          v += e->bias[o];
          if (r->data || r->codes) v += residual_of(r, at);
          if (e->act == EQ_ACT_RELU) v = v > 0.0f ? v : 0.0f;
          if (e->out) e->out[at] = v;
          if (e->out_i8) e->out_i8[at] = code_of(v, &e->grid);
          if (e->out_mean) add_to_mean(op, y, px, v, row + o, e->out_mean + (size_t)n * op->o + o);
        }
}

void eq_quantise_i8_mcu(const float *x, size_t count, const eq_grid *grid, int8_t *codes) {
  for (size_t i = 0; i < count; i++) codes[i] = code_of(x[i], grid);
}
