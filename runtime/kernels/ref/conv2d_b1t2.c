#include "bits.h"

int32_t eq_masked_dot(const uint8_t *sign, const uint8_t *nonzero, const uint8_t *w, size_t bytes) {
  int32_t dot = 0;
  for (size_t i = 0; i < bytes; i++)
    for (unsigned b = 0; b < 8; b++)
      if (nonzero[i] >> b & 1) dot += ((sign[i] ^ w[i]) >> b & 1) ? -1 : 1;
  return dot;
}

/* The channels of one group: whole bytes of the pixel, or the single bit of a depthwise convolution. */
static int32_t tap_dot(const eq_conv2d *op, const uint8_t *sign, const uint8_t *nonzero, const uint8_t *w,
                       uint32_t group) {
  const uint32_t cg = op->c / op->groups;
  if (op->groups == 1) return eq_masked_dot(sign, nonzero, w, eq_row_bytes(cg));
  if (cg == 1) return eq_bit(nonzero, group) ? (eq_bit(sign, group) == eq_bit(w, 0) ? 1 : -1) : 0;
  const size_t at = (size_t)group * (cg / 8);
  return eq_masked_dot(sign + at, nonzero + at, w, cg / 8);
}

static int32_t accumulate(const eq_conv2d *op, const uint8_t *image, size_t plane, const uint8_t *w, uint32_t y,
                          uint32_t x, uint32_t o) {
  const uint32_t cg = op->c / op->groups, group = o / (op->o / op->groups);
  const size_t pixel_row = eq_row_bytes(op->c), tap_row = eq_row_bytes(cg);
  int32_t acc = 0;
  for (uint32_t ky = 0; ky < op->kh; ky++)
    for (uint32_t kx = 0; kx < op->kw; kx++) {
      const int64_t iy = (int64_t)y * op->stride_h + ky - op->pad_top,
                    ix = (int64_t)x * op->stride_w + kx - op->pad_left;
      if (iy < 0 || iy >= op->h || ix < 0 || ix >= op->w) continue;
      const uint8_t *pixel = image + ((size_t)iy * op->w + (size_t)ix) * pixel_row;
      acc += tap_dot(op, pixel, pixel + plane, w + (((size_t)o * op->kh + ky) * op->kw + kx) * tap_row, group);
    }
  return acc;
}

/* plane: bytes from the signs of x to which of them are not 0. */
static void convolve(const eq_conv2d *op, const uint8_t *x, size_t plane, const uint8_t *w, const eq_epilogue *e,
                     float *row) {
  const eq_ref_sink sink = {e, op->n, op->out_h, op->out_w, op->o, row};
  const size_t image = (size_t)op->h * op->w * eq_row_bytes(op->c);
  for (uint32_t n = 0; n < op->n; n++)
    for (uint32_t y = 0; y < op->out_h; y++)
      for (uint32_t px = 0; px < op->out_w; px++)
        for (uint32_t o = 0; o < op->o; o++)
          eq_ref_put_i32(&sink, n, y, px, o, accumulate(op, x + n * image, plane, w, y, px, o));
}

void eq_conv2d_b1t2_ref(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row) {
  convolve(op, x, (size_t)op->n * op->h * op->w * eq_row_bytes(op->c), w, e, row);
}

/* A one is positive and not zero: both planes at once. */
void eq_conv2d_b1u1_ref(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row) {
  convolve(op, x, 0, w, e, row);
}
