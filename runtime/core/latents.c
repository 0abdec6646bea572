/* What programs need whose codes are learned: codes from latents, and what a layer read. */
#include "check.h"
#include "functions.h"

#include "edgeq/glue.h"

enum { MOST_PIXELS = 1 << 17 }; /* so many codes add up exactly in single precision */

static float limited(float x, float top) { return x >= -top ? x <= top ? x : top : -top; }

/* Of the powers 1, 2 ... 64 the nearest to m in proportion; beyond 1.41 times a power the next one. */
static int32_t nearest_power(int32_t m) {
  return 1 + (m >= 2) + 2 * (m >= 3) + 4 * (m >= 6) + 8 * (m >= 12) + 16 * (m >= 23) + 32 * (m >= 46);
}

static int8_t signed_power(int32_t code) { return (int8_t)(code < 0 ? -nearest_power(-code) : nearest_power(code)); }

eq_status eq_latent_codes(eq_latent_kind kind, uint32_t top, const float *x, size_t count, int8_t *out) {
  if (!x || !out || (unsigned)kind > EQ_LATENT_POWERS || top < 1 || top > 127) return EQ_BAD_ARGUMENT;
  if (!count) return EQ_BAD_SHAPE;
  const float most = (float)top;
  if (kind == EQ_LATENT_SIGNS)
    for (size_t i = 0; i < count; i++) out[i] = x[i] >= 0.0f ? 1 : -1;
  else if (kind == EQ_LATENT_POWERS)
    for (size_t i = 0; i < count; i++) out[i] = signed_power((int32_t)eq_round_even(limited(x[i], most)));
  else
    for (size_t i = 0; i < count; i++) out[i] = (int8_t)eq_round_even(limited(x[i], most));
  return EQ_OK;
}

/* Sum over the output's pixels of what tap (ky, kx) reads of one image. */
static void add_tap(const eq_conv2d *op, const int8_t *image, uint32_t ky, uint32_t kx, float *sum) {
  for (uint32_t i = 0; i < op->c; i++) sum[i] = 0.0f;
  for (uint32_t oy = 0; oy < op->out_h; oy++) {
    const uint32_t y = oy * op->stride_h + ky - op->pad_top; /* above the image: beyond its height */
    for (uint32_t ox = 0; y < op->h && ox < op->out_w; ox++) {
      const uint32_t x = ox * op->stride_w + kx - op->pad_left;
      if (x >= op->w) continue;
      const int8_t *pixel = image + ((size_t)y * op->w + x) * op->c;
      for (uint32_t i = 0; i < op->c; i++) sum[i] += (float)pixel[i];
    }
  }
}

eq_status eq_mean_patches(const eq_conv2d *op, const int8_t *x, float *out) {
  if (!op || !x || !out) return EQ_BAD_ARGUMENT;
  const eq_status status = eq_check_conv2d(op);
  if (status != EQ_OK) return status;
  if (op->groups != 1 || (uint64_t)op->out_h * op->out_w > MOST_PIXELS) return EQ_BAD_SHAPE;
  const float factor = 1.0f / (float)(op->out_h * op->out_w);
  for (uint32_t n = 0; n < op->n; n++, x += (size_t)op->h * op->w * op->c)
    for (uint32_t ky = 0; ky < op->kh; ky++)
      for (uint32_t kx = 0; kx < op->kw; kx++, out += op->c) {
        add_tap(op, x, ky, kx, out);
        for (uint32_t i = 0; i < op->c; i++) out[i] *= factor;
      }
  return EQ_OK;
}
