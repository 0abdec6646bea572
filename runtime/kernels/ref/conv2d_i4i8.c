#include "ref.h"

/* Input i of the window of (y, x): tap after tap, 0 outside the image. */
static int32_t input(const eq_conv2d *op, const int8_t *image, uint32_t y, uint32_t x, uint32_t i) {
  const uint32_t tap = i / op->c;
  const int64_t iy = (int64_t)y * op->stride_h + tap / op->kw - op->pad_top,
                ix = (int64_t)x * op->stride_w + tap % op->kw - op->pad_left;
  if (iy < 0 || iy >= op->h || ix < 0 || ix >= op->w) return 0;
  return image[((size_t)iy * op->w + (size_t)ix) * op->c + i % op->c];
}

static float accumulate(const eq_conv2d *op, const int8_t *image, const eq_weights_i4 *w, uint32_t y, uint32_t x,
                        uint32_t o) {
  const uint32_t k = op->kh * op->kw * op->c, groups = (k - 1) / w->group + 1;
  const uint8_t *codes = w->codes + o * eq_row_bytes(4 * k);
  float acc = 0.0f;
  for (uint32_t g = 0, i = 0; g < groups; g++) {
    int32_t sum = 0, ones = 0;
    for (; i < k && i / w->group == g; i++) {
      const int32_t value = input(op, image, y, x, i);
      sum += (codes[i / 2] >> (4 * (i % 2)) & 15) * value;
      ones += value;
    }
    acc += eq_part_i4_ref(sum, ones, w, o, g, groups, 1.0f);
  }
  return acc;
}

void eq_conv2d_i4i8_ref(const eq_conv2d *op, const int8_t *x, const eq_weights_i4 *w, const eq_epilogue *e,
                        float *row) {
  const eq_ref_sink sink = {e, op->n, op->out_h, op->out_w, op->o, row};
  for (uint32_t n = 0; n < op->n; n++) {
    const int8_t *image = x + (size_t)n * op->h * op->w * op->c;
    for (uint32_t y = 0; y < op->out_h; y++)
      for (uint32_t px = 0; px < op->out_w; px++)
        for (uint32_t o = 0; o < op->o; o++) eq_ref_put(&sink, n, y, px, o, accumulate(op, image, w, y, px, o));
  }
}
