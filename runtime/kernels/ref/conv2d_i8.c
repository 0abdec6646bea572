#include "ref.h"
#include "weights.h"

static int32_t accumulate(const eq_conv2d *op, const int8_t *image, const eq_weights *w, uint32_t y, uint32_t x,
                          uint32_t o) {
  const uint32_t cg = op->c / op->groups, first = o / (op->o / op->groups) * cg;
  const bool over_outputs = w->type != EQ_I8 && eq_depthwise(op);
  int32_t acc = 0;
  for (uint32_t ky = 0; ky < op->kh; ky++)
    for (uint32_t kx = 0; kx < op->kw; kx++) {
      const int64_t iy = (int64_t)y * op->stride_h + ky - op->pad_top,
                    ix = (int64_t)x * op->stride_w + kx - op->pad_left;
      if (iy < 0 || iy >= op->h || ix < 0 || ix >= op->w) continue;
      const int8_t *pixel = image + ((size_t)iy * op->w + (size_t)ix) * op->c + first;
      const size_t tap = (size_t)ky * op->kw + kx;
      if (over_outputs) {
        acc += pixel[0] * eq_weight(w, tap, o);
        continue;
      }
      const size_t row = (size_t)o * op->kh * op->kw + tap;
      for (uint32_t i = 0; i < cg; i++) acc += pixel[i] * eq_weight(w, row, i);
    }
  return acc;
}

void eq_conv2d_i8_ref(const eq_conv2d *op, const int8_t *x, const eq_weights *w, const eq_epilogue *e, float *row) {
  const eq_ref_sink sink = {e, op->n, op->out_h, op->out_w, op->o, row};
  for (uint32_t n = 0; n < op->n; n++) {
    const int8_t *image = x + (size_t)n * op->h * op->w * op->c;
    for (uint32_t y = 0; y < op->out_h; y++)
      for (uint32_t px = 0; px < op->out_w; px++)
        for (uint32_t o = 0; o < op->o; o++) eq_ref_put_i32(&sink, n, y, px, o, accumulate(op, image, w, y, px, o));
  }
}
