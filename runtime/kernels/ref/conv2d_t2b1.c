#include "bits.h"

/* The channels of one group: whole bytes of the pixel, or the single bit of a depthwise convolution. */
static int32_t tap_dot(const eq_conv2d *op, const uint8_t *pixel, const uint8_t *sign, const uint8_t *nonzero,
                       uint32_t group) {
  const uint32_t cg = op->c / op->groups;
  if (op->groups == 1) return eq_masked_dot(sign, nonzero, pixel, eq_row_bytes(cg));
  if (cg == 1) return eq_bit(nonzero, 0) ? (eq_bit(sign, 0) == eq_bit(pixel, group) ? 1 : -1) : 0;
  return eq_masked_dot(sign, nonzero, pixel + (size_t)group * (cg / 8), cg / 8);
}

static int32_t accumulate(const eq_conv2d *op, const uint8_t *image, const uint8_t *w, uint32_t y, uint32_t x,
                          uint32_t o) {
  const uint32_t cg = op->c / op->groups, group = o / (op->o / op->groups);
  const size_t pixel_row = eq_row_bytes(op->c), tap_row = eq_row_bytes(cg);
  const size_t plane = (size_t)op->o * op->kh * op->kw * tap_row;
  int32_t acc = 0;
  for (uint32_t ky = 0; ky < op->kh; ky++)
    for (uint32_t kx = 0; kx < op->kw; kx++) {
      const int64_t iy = (int64_t)y * op->stride_h + ky - op->pad_top,
                    ix = (int64_t)x * op->stride_w + kx - op->pad_left;
      if (iy < 0 || iy >= op->h || ix < 0 || ix >= op->w) continue;
      const uint8_t *pixel = image + ((size_t)iy * op->w + (size_t)ix) * pixel_row;
      const uint8_t *tap = w + (((size_t)o * op->kh + ky) * op->kw + kx) * tap_row;
      acc += tap_dot(op, pixel, tap, tap + plane, group);
    }
  return acc;
}

void eq_conv2d_t2b1_ref(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row) {
  const eq_ref_sink sink = {e, op->n, op->out_h, op->out_w, op->o, row};
  const size_t image = (size_t)op->h * op->w * eq_row_bytes(op->c);
  for (uint32_t n = 0; n < op->n; n++)
    for (uint32_t y = 0; y < op->out_h; y++)
      for (uint32_t px = 0; px < op->out_w; px++)
        for (uint32_t o = 0; o < op->o; o++)
          eq_ref_put_i32(&sink, n, y, px, o, accumulate(op, x + n * image, w, y, px, o));
}
