#include "ref.h"

static float round_down(float x) {
  if (!(x > -8388608.0f && x < 8388608.0f)) return x; /* from 2^23 on every float is whole */
  const float whole = (float)(int32_t)x;
  return whole > x ? whole - 1.0f : whole;
}

/* NaN becomes lo. */
static float clip(float x, float lo, float hi) {
  x = x > lo ? x : lo;
  return x < hi ? x : hi;
}

float eq_quantise_ref(const eq_quant *q, uint32_t channel, float x) {
  switch (q->kind) {
  case EQ_QUANT_SYM: return round_down(clip(x * q->scale[channel], -q->top, q->top) + 0.5f) * q->step[channel];
  case EQ_QUANT_POS: return clip(round_down(x * q->scale[channel]), 0.0f, q->top) * q->step[channel];
  case EQ_QUANT_NONE: break;
  }
  return x;
}

static float accumulate(const eq_conv2d *op, const float *image, const eq_quant *q, const int8_t *w, uint32_t y,
                        uint32_t x, uint32_t o) {
  const uint32_t cg = op->c / op->groups, first = o / (op->o / op->groups) * cg;
  float acc = 0.0f;
  for (uint32_t ky = 0; ky < op->kh; ky++)
    for (uint32_t kx = 0; kx < op->kw; kx++) {
      const int64_t iy = (int64_t)y * op->stride_h + ky - op->pad_top,
                    ix = (int64_t)x * op->stride_w + kx - op->pad_left;
      if (iy < 0 || iy >= op->h || ix < 0 || ix >= op->w) continue;
      const float *pixel = image + ((size_t)iy * op->w + (size_t)ix) * op->c;
      const int8_t *tap = w + (((size_t)o * op->kh + ky) * op->kw + kx) * cg;
      for (uint32_t i = 0; i < cg; i++) acc += eq_quantise_ref(q, first + i, pixel[first + i]) * (float)tap[i];
    }
  return acc;
}

void eq_conv2d_i8f32_ref(const eq_conv2d *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                         float *row) {
  const eq_ref_sink sink = {e, op->n, op->out_h, op->out_w, op->o, row};
  for (uint32_t n = 0; n < op->n; n++) {
    const float *image = x + (size_t)n * op->h * op->w * op->c;
    for (uint32_t y = 0; y < op->out_h; y++)
      for (uint32_t px = 0; px < op->out_w; px++)
        for (uint32_t o = 0; o < op->o; o++) eq_ref_put(&sink, n, y, px, o, accumulate(op, image, q, w, y, px, o));
  }
}
