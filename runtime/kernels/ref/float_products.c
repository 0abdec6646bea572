/* Float activations against weights of every type. */
#include "ref.h"
#include "weights.h"

static float window(const eq_conv2d *op, const float *image, const eq_weights *w, uint32_t y, uint32_t x, uint32_t o) {
  const uint32_t cg = op->c / op->groups, first = o / (op->o / op->groups) * cg;
  const bool over_outputs = eq_weight_in_planes(w->type) && eq_depthwise(op);
  float acc = 0.0f;
  for (uint32_t ky = 0; ky < op->kh; ky++)
    for (uint32_t kx = 0; kx < op->kw; kx++) {
      const int64_t iy = (int64_t)y * op->stride_h + ky - op->pad_top,
                    ix = (int64_t)x * op->stride_w + kx - op->pad_left;
      if (iy < 0 || iy >= op->h || ix < 0 || ix >= op->w) continue;
      const float *pixel = image + ((size_t)iy * op->w + (size_t)ix) * op->c + first;
      const size_t tap = (size_t)ky * op->kw + kx;
      if (over_outputs) {
        acc += pixel[0] * eq_weight_value(w, tap, o);
        continue;
      }
      const size_t row = (size_t)o * op->kh * op->kw + tap;
      for (uint32_t i = 0; i < cg; i++) acc += pixel[i] * eq_weight_value(w, row, i);
    }
  return acc;
}

void eq_conv2d_f32_ref(const eq_conv2d *op, const float *x, const eq_weights *w, const eq_epilogue *e, float *row) {
  const eq_ref_sink sink = {e, op->n, op->out_h, op->out_w, op->o, row};
  for (uint32_t n = 0; n < op->n; n++) {
    const float *image = x + (size_t)n * op->h * op->w * op->c;
    for (uint32_t y = 0; y < op->out_h; y++)
      for (uint32_t px = 0; px < op->out_w; px++)
        for (uint32_t o = 0; o < op->o; o++) eq_ref_put(&sink, n, y, px, o, window(op, image, w, y, px, o));
  }
}

/* Sixteen interleaved partial sums, folded pairwise: 8, 4, 2, 1. */
static float dot(const float *x, const eq_weights *w, size_t o, uint32_t k) {
  float p[16] = {0.0f};
  for (uint32_t i = 0; i < k; i++) p[i % 16] += x[i] * eq_weight_value(w, o, i);
  for (uint32_t half = 8; half >= 1; half /= 2)
    for (uint32_t j = 0; j < half; j++) p[j] += p[j + half];
  return p[0];
}

void eq_linear_f32_ref(const eq_linear *op, const float *x, const eq_weights *w, const eq_epilogue *e, float *row) {
  const eq_ref_sink sink = {e, op->m, 1, 1, op->o, row};
  for (uint32_t m = 0; m < op->m; m++)
    for (uint32_t o = 0; o < op->o; o++) eq_ref_put(&sink, m, 0, 0, o, dot(x + (size_t)m * op->k, w, o, op->k));
}
