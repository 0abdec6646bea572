/* 8-bit weights against fake-quantised floats. Activations are quantised once; eight outputs are summed side by side,
 * their weights made floats once per row of pixels. Every sum has the order of the definition, so it cannot be taken in
 * integers. */
#include "inline.h"
#include "mcu.h"
#include "pixel.h"
#include "quantise.h"

enum { LANES = 8 };

typedef struct {
  const eq_conv2d *op;
  float *ring; /* [kh][w][c] quantised rows of x; row iy lies at iy % kh */
  float *taps; /* [kh][kw][c / groups][LANES] weights of some outputs, 0 where there is none */
} work;

/* Sums of eight outputs at pixel (y, x); `per` of them share a channel, the first is `channel`. */
static inline EQ_INLINE void eight(const work *v, uint32_t y, uint32_t x, size_t channel, unsigned per, float *sums) {
  const eq_conv2d *op = v->op;
  const uint32_t cg = op->c / op->groups;
  const int64_t top = (int64_t)y * op->stride_h - op->pad_top, left = (int64_t)x * op->stride_w - op->pad_left;
  const uint32_t ky0 = top < 0 ? (uint32_t)-top : 0, kx0 = left < 0 ? (uint32_t)-left : 0,
                 ky1 = top + op->kh > op->h ? (uint32_t)((int64_t)op->h - top) : op->kh,
                 kx1 = left + op->kw > op->w ? (uint32_t)((int64_t)op->w - left) : op->kw;
#define START(j) float s##j = 0.0f;
  EQ_EIGHT(START)
  for (uint32_t ky = ky0; ky < ky1; ky++) {
    const uint32_t line = (uint32_t)(top + ky) % op->kh;
    const float *pixel = v->ring + ((size_t)line * op->w + (size_t)(left + kx0)) * op->c + channel;
    const float *w = v->taps + ((size_t)ky * op->kw + kx0) * cg * LANES;
    for (uint32_t kx = kx0; kx < kx1; kx++, pixel += op->c)
      for (uint32_t i = 0; i < cg; i++, w += LANES) {
#define STEP(j) s##j += pixel[i + j / per] * w[j];
        EQ_EIGHT(STEP)
      }
  }
#define STORE(j) sums[j] = s##j;
  EQ_EIGHT(STORE)
}

/* Every group has one channel and two outputs: eight outputs are fed by four neighbouring channels. */
static bool is_spread(const eq_conv2d *op) { return op->groups == op->c && op->o == 2 * op->groups; }

/* How many outputs from o on go together: LANES that are spread, or some of one group. */
static uint32_t together(const eq_conv2d *op, uint32_t o) {
  const uint32_t og = op->o / op->groups, left = og - o % og;
  if (is_spread(op) && op->o - o >= LANES) return LANES;
  return left < LANES ? left : LANES;
}

/* The accumulators of a row of pixels. row: [out_w][o] */
static void row_of_sums(const work *v, const int8_t *w, uint32_t y, float *row) {
  const eq_conv2d *op = v->op;
  const size_t size = (size_t)op->kh * op->kw * (op->c / op->groups);
  const uint32_t og = op->o / op->groups;
  const bool spread = is_spread(op);
  for (uint32_t o = 0, count; o < op->o; o += count) {
    count = together(op, o);
    for (size_t j = 0; j < LANES; j++)
      for (size_t i = 0; i < size; i++) v->taps[i * LANES + j] = j < count ? (float)w[(o + j) * size + i] : 0.0f;
    const size_t channel = (size_t)(o / og) * (op->c / op->groups);
    for (uint32_t x = 0; x < op->out_w; x++) {
      float sums[LANES];
      if (spread && count == LANES)
        eight(v, y, x, channel, 2, sums);
      else
        eight(v, y, x, channel, LANES, sums);
      for (uint32_t j = 0; j < count; j++) row[(size_t)x * op->o + o + j] = sums[j];
    }
  }
}

static uint64_t ring_floats(const eq_conv2d *op) { return (uint64_t)op->kh * op->w * op->c; }
static uint64_t tap_floats(const eq_conv2d *op) { return (uint64_t)op->kh * op->kw * (op->c / op->groups) * LANES; }
/* Where accumulators wait for their epilogue, if not in e->out. */
static uint64_t row_floats(const eq_conv2d *op, const eq_epilogue *e) {
  return e->out ? 0 : (uint64_t)op->out_w * op->o;
}

uint64_t eq_conv2d_i8f32_mcu_scratch(const eq_conv2d *op, const eq_epilogue *e) {
  return eq_pixels_bytes(e, op->o) + (ring_floats(op) + tap_floats(op) + row_floats(op, e)) * sizeof(float);
}

void eq_conv2d_i8f32_mcu(const eq_conv2d *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                         void *scratch) {
  const size_t width = (size_t)op->w * op->c;
  float *const floats = scratch;
  const work v = {op, floats, floats + (size_t)ring_floats(op)};
  float *const waiting = v.taps + (size_t)tap_floats(op);
  const eq_pixels out = eq_pixels_begin(e, op->n, op->out_h, op->out_w, op->o, waiting + (size_t)row_floats(op, e));
  for (uint32_t n = 0; n < op->n; n++, x += op->h * width)
    for (uint32_t y = 0, ready = 0; y < op->out_h; y++) {
      const int64_t bottom = (int64_t)y * op->stride_h - op->pad_top + op->kh;
      for (; ready < op->h && ready < bottom; ready++)
        eq_quantise_pixels(q, x + ready * width, op->w, op->c, v.ring + ready % op->kh * width);
      float *const row = e->out ? e->out + ((size_t)n * op->out_h + y) * op->out_w * op->o : waiting;
      row_of_sums(&v, w, y, row);
      for (uint32_t px = 0; px < op->out_w; px++)
        for (uint32_t first = 0, count; first < op->o; first += count) {
          count = op->o - first < EQ_CHANNELS ? op->o - first : EQ_CHANNELS;
          eq_put_f32(&out, row + (size_t)px * op->o + first, n, y, px, first, count);
        }
    }
}
