#include "core/check.h"
#include "core/functions.h"
#include "ref.h"

/* Channel `channel` of pixel (y, x) of r, after the channel rule, before the spatial one. */
static float residual_channel(const eq_residual *r, uint32_t n, uint32_t y, uint32_t x, uint32_t channel, uint32_t o) {
  const float *pixel = r->data + (((size_t)n * r->h + y) * r->w + x) * r->c;
  if (r->c > o) {
    const uint32_t g = r->c / o;
    const float *run = pixel + (size_t)channel * g;
    float sum = run[0];
    for (uint32_t i = 1; i < g; i++) sum += run[i];
    return sum / (float)g;
  }
  if (r->c < o && r->mode == EQ_RES_TILE) return pixel[channel % r->c];
  return channel < r->c ? pixel[channel] : 0.0f;
}

/* TensorFlow's SAME with kernel 3 and stride 2 leaves out one pixel before an odd extent and none before an even one.
 */
float eq_ref_residual(const eq_residual *r, const eq_ref_sink *sink, uint32_t n, uint32_t y, uint32_t x, uint32_t o) {
  if (r->codes) return (float)r->codes[(((size_t)n * sink->h + y) * sink->w + x) * sink->o + o] * r->step;
  if (!eq_residual_pools(r, sink->h, sink->w)) return residual_channel(r, n, y, x, o, sink->o);
  float sum = 0.0f;
  for (uint32_t ky = 0; ky < 3; ky++)
    for (uint32_t kx = 0; kx < 3; kx++) {
      const uint32_t iy = 2 * y + ky - r->h % 2, ix = 2 * x + kx - r->w % 2; /* -1 wraps far past the end */
      if (iy < r->h && ix < r->w) sum += residual_channel(r, n, iy, ix, o, sink->o);
    }
  return sum * (1.0f / 9.0f);
}

int8_t eq_ref_code(float t, int32_t low, int32_t high) {
  t = t > (float)low ? t : (float)low; /* NaN becomes low */
  t = t < (float)high ? t : (float)high;
  return (int8_t)eq_round_even(t);
}

static float activate(const eq_epilogue *e, uint32_t o, float y) {
  switch (e->act) {
  case EQ_ACT_RELU: return y > 0.0f ? y : 0.0f;
  case EQ_ACT_DPRELU: return (y >= 0.0f ? e->pos[o] : e->neg[o]) * y - e->shift[o];
  case EQ_ACT_HSIGMOID: {
    float t = y + 3.0f;
    t = t > 0.0f ? t : 0.0f;
    t = t < 6.0f ? t : 6.0f;
    return t / 6.0f;
  }
  case EQ_ACT_GELU: return eq_gelu(y);
  case EQ_ACT_NONE: break;
  }
  return y;
}

/* One row of pixels is summed in `row`, the rows in `mean` itself. */
static void add_to_mean(const eq_ref_sink *sink, uint32_t y, uint32_t x, float value, float *row, float *mean) {
  *row = (x == 0 ? 0.0f : *row) + value;
  if (x + 1 < sink->w) return;
  *mean = (y == 0 ? 0.0f : *mean) + *row;
  if (y + 1 == sink->h) *mean = *mean * eq_mean_factor(sink->h, sink->w);
}

static void add_to_moments(const eq_ref_sink *sink, uint32_t n, uint32_t y, uint32_t x, uint32_t o, float value,
                           float bias) {
  float *mean = sink->e->tuning->moments + (size_t)n * 2 * sink->o + o, *spread = mean + sink->o;
  float *row = sink->row + sink->o + o;
  add_to_mean(sink, y, x, value, row, mean);
  add_to_mean(sink, y, x, value * value, row + sink->o, spread);
  if (x + 1 < sink->w || y + 1 < sink->h) return;
  const float away = *spread - *mean * *mean;
  *spread = away > 0.0f ? away : 0.0f;
  *mean += bias;
}

static void put_bit(uint8_t *row, uint32_t o, uint32_t channels, bool bit) {
  if (o == 0)
    for (size_t i = 0; i < eq_row_bytes(channels); i++) row[i] = 0;
  if (bit) row[o / 8] = (uint8_t)(row[o / 8] | 1u << (o % 8));
}

void eq_ref_put(const eq_ref_sink *sink, uint32_t n, uint32_t y, uint32_t x, uint32_t o, float acc) {
  const eq_epilogue *e = sink->e;
  const size_t pixel = ((size_t)n * sink->h + y) * sink->w + x;
  const eq_tuning *t = e->tuning;
  const size_t tuned = t && t->rows > 1 ? n * t->pitch : 0;
  const float bias = t ? e->bias[o] + t->sigma * t->c[tuned + o] : e->bias ? e->bias[o] : -0.0f;
  float v = acc;
  if (t)
    v *= e->scale[o] * eq_exp(t->a[tuned + o]);
  else if (e->row_scale)
    v *= e->scale ? e->row_scale[n] * e->scale[o] : e->row_scale[n];
  else if (e->scale)
    v *= e->scale[o];
  if (e->row_shift) v += e->row_shift[n] * e->shift_weight[o];
  if (t && t->moments) add_to_moments(sink, n, y, x, o, v, bias);
  v += bias;
  for (int i = 0; i < 2; i++)
    if (e->residual[i].data || e->residual[i].codes) v += eq_ref_residual(&e->residual[i], sink, n, y, x, o);
  v = activate(e, o, v);
  if (e->gain)
    v *= e->scale2 ? e->gain[(size_t)n * sink->o + o] * e->scale2[o] : e->gain[(size_t)n * sink->o + o];
  else if (e->scale2)
    v *= e->scale2[o];
  if (e->bias2) v += e->bias2[o];

  if (e->out) e->out[pixel * sink->o + o] = v;
  if (e->out_bits) put_bit(e->out_bits + pixel * eq_row_bytes(sink->o), o, sink->o, v >= 0.0f);
  if (e->out_t2) {
    uint8_t *row = e->out_t2 + pixel * eq_row_bytes(sink->o);
    put_bit(row, o, sink->o, v > 0.0f);
    put_bit(row + (size_t)sink->n * sink->h * sink->w * eq_row_bytes(sink->o), o, sink->o, v != 0.0f);
  }
  if (e->out_i8) e->out_i8[pixel * sink->o + o] = eq_ref_code(v * e->grid.inv_step, e->grid.low, e->grid.high);
  if (e->out_mean) add_to_mean(sink, y, x, v, sink->row + o, e->out_mean + (size_t)n * sink->o + o);
}

void eq_ref_put_i32(const eq_ref_sink *sink, uint32_t n, uint32_t y, uint32_t x, uint32_t o, int32_t acc) {
  if (sink->e->out_acc) sink->e->out_acc[(((size_t)n * sink->h + y) * sink->w + x) * sink->o + o] = acc;
  eq_ref_put(sink, n, y, x, o, (float)acc);
}

void eq_epilogue_i32_ref(const int32_t *acc, uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e,
                         float *row) {
  const eq_ref_sink sink = {e, n, h, w, o, row};
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t y = 0; y < h; y++)
      for (uint32_t x = 0; x < w; x++)
        for (uint32_t j = 0; j < o; j++) eq_ref_put_i32(&sink, i, y, x, j, *acc++);
}

void eq_mean_hw_ref(const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c, float *out, float *row) {
  const eq_epilogue e = {.out_mean = out};
  const eq_ref_sink sink = {&e, n, h, w, c, row};
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t y = 0; y < h; y++)
      for (uint32_t px = 0; px < w; px++)
        for (uint32_t j = 0; j < c; j++) add_to_mean(&sink, y, px, *x++, row + j, out + (size_t)i * c + j);
}
