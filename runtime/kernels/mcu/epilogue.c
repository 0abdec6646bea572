/* Channels of a pixel in one pass where the epilogue is PokeBNN's, step by step otherwise. */
#include "core/check.h"
#include "inline.h"
#include "mcu.h"
#include "pixel.h"

eq_pixels eq_pixels_begin(const eq_epilogue *e, uint32_t n, uint32_t h, uint32_t w, uint32_t o, void *scratch) {
  eq_pixels p = {.e = e, .n = n, .h = h, .w = w, .o = o, .cells = scratch};
  float *next = (float *)scratch + EQ_CHANNELS;
  for (int i = 0; i < 2; i++)
    if (e->residual[i].data) {
      p.residual[i] = next;
      next += EQ_CHANNELS;
    }
  if (e->gain && e->scale2) {
    p.gain = next;
    next += EQ_CHANNELS;
  }
  p.row = next;
  return p;
}

/* ---- residuals */

/* Channels [first, first + count) of a pixel, as an output of o channels sees them; added to `to`. */
static void add_channels(const eq_residual *r, const float *pixel, uint32_t o, uint32_t first, uint32_t count,
                         float *to) {
  if (r->c > o) {
    const uint32_t g = r->c / o;
    const float *from = pixel + (size_t)first * g, divisor = (float)g;
    for (uint32_t i = 0; i < count; i++) {
      float sum = *from++;
      for (uint32_t j = 1; j < g; j++) sum += *from++;
      to[i] += sum / divisor;
    }
    return;
  }
  uint32_t channel = r->mode == EQ_RES_TILE ? first % r->c : first;
  while (count) {
    uint32_t run = channel < r->c ? r->c - channel : 0;
    if (run > count) run = count;
    for (uint32_t i = 0; i < run; i++) to[i] += pixel[channel + i];
    to += run;
    count -= run;
    channel = 0;
    if (r->mode == EQ_RES_TILE) continue;
    for (; count; count--) *to++ += 0.0f;
  }
}

/* The residual beside channels [first, first + count) of pixel (y, x): in place where memory has the right order. */
static const float *residual_row(const eq_pixels *p, const eq_residual *r, float *buffer, uint32_t n, uint32_t y,
                                 uint32_t x, uint32_t first, uint32_t count) {
  const float *image = r->data + (size_t)n * r->h * r->w * r->c;
  const bool pools = eq_residual_pools(r, p->h, p->w);
  if (!pools) {
    const float *pixel = image + ((size_t)y * r->w + x) * r->c;
    const uint32_t start = r->mode == EQ_RES_TILE && r->c < p->o ? first % r->c : first;
    if (r->c <= p->o && start + count <= r->c) return pixel + start;
    for (uint32_t i = 0; i < count; i++) buffer[i] = -0.0f; /* the sum with it is the other number, -0 too */
    add_channels(r, pixel, p->o, first, count, buffer);
    return buffer;
  }
  for (uint32_t i = 0; i < count; i++) buffer[i] = 0.0f;
  for (uint32_t ky = 0; ky < 3; ky++)
    for (uint32_t kx = 0; kx < 3; kx++) {
      const uint32_t iy = 2 * y + ky - r->h % 2, ix = 2 * x + kx - r->w % 2; /* -1 wraps far past the end */
      if (iy < r->h && ix < r->w) add_channels(r, image + ((size_t)iy * r->w + ix) * r->c, p->o, first, count, buffer);
    }
  for (uint32_t i = 0; i < count; i++) buffer[i] *= 1.0f / 9.0f;
  return buffer;
}

/* ---- values */

/* Channels of a pixel and all that belongs to them. Results may lie in the place of acc or of a residual. */
typedef struct {
  const eq_cell *acc;
  const float *residual[2], *scale, *bias, *pos, *neg, *shift, *gain, *bias2;
  float *out;
  uint32_t count;
} lane;

static inline float loaded(const lane *l, bool integers, uint32_t i) {
  return integers ? (float)l->acc[i].i : l->acc[i].f;
}

static inline float dprelu(const lane *l, uint32_t i, float v) {
  return (v >= 0.0f ? l->pos[i] : l->neg[i]) * v - l->shift[i];
}

static inline EQ_INLINE void skip(lane *l, unsigned residuals, bool tail, uint32_t channels) {
  l->acc += channels;
  if (residuals > 0) l->residual[0] += channels;
  if (residuals > 1) l->residual[1] += channels;
  l->scale += channels;
  l->bias += channels;
  l->pos += channels;
  l->neg += channels;
  l->shift += channels;
  if (tail) l->gain += channels;
  if (tail) l->bias2 += channels;
  l->out += channels;
}

static inline EQ_INLINE float one(const lane *l, bool integers, unsigned residuals, bool tail, uint32_t i) {
  float v = loaded(l, integers, i) * l->scale[i] + l->bias[i];
  if (residuals > 0) v += l->residual[0][i];
  if (residuals > 1) v += l->residual[1][i];
  v = dprelu(l, i, v);
  return tail ? v * l->gain[i] + l->bias2[i] : v;
}

/* The whole way at once; the flags are constants where it is called. Four channels share the addresses. */
static inline EQ_INLINE void along(lane l, bool integers, unsigned residuals, bool tail) {
  for (; l.count; l.count--) {
    if (l.count >= 4) {
      const float v0 = one(&l, integers, residuals, tail, 0), v1 = one(&l, integers, residuals, tail, 1),
                  v2 = one(&l, integers, residuals, tail, 2), v3 = one(&l, integers, residuals, tail, 3);
      l.out[0] = v0;
      l.out[1] = v1;
      l.out[2] = v2;
      l.out[3] = v3;
      skip(&l, residuals, tail, 4);
      l.count -= 3;
    } else {
      l.out[0] = one(&l, integers, residuals, tail, 0);
      skip(&l, residuals, tail, 1);
    }
  }
}

static void activate(const lane *l, eq_act act) {
  float *v = l->out;
  for (uint32_t i = 0; i < l->count; i++) {
    float t = v[i];
    if (act == EQ_ACT_RELU)
      t = t > 0.0f ? t : 0.0f;
    else if (act == EQ_ACT_DPRELU)
      t = dprelu(l, i, t);
    else {
      t = t + 3.0f;
      t = t > 0.0f ? t : 0.0f;
      t = (t < 6.0f ? t : 6.0f) / 6.0f;
    }
    v[i] = t;
  }
}

static void multiply(float *v, const float *by, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) v[i] *= by[i];
}
static void add(float *v, const float *what, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) v[i] += what[i];
}

/* One step after the other, in the order of edgeq/types.h. l->out does not lie where a residual lies. */
static void step_by_step(const lane *l, bool integers, eq_act act) {
  for (uint32_t i = 0; i < l->count; i++) l->out[i] = loaded(l, integers, i);
  if (l->scale) multiply(l->out, l->scale, l->count);
  if (l->bias) add(l->out, l->bias, l->count);
  for (int i = 0; i < 2; i++)
    if (l->residual[i]) add(l->out, l->residual[i], l->count);
  if (act != EQ_ACT_NONE) activate(l, act);
  if (l->gain) multiply(l->out, l->gain, l->count);
  if (l->bias2) add(l->out, l->bias2, l->count);
}

/* ---- results */

static void put_bits(const float *v, uint32_t count, uint8_t *to) {
  for (; count >= 8; count -= 8, v += 8) {
    uint32_t bits = 0;
#define BIT(j)                                                                                                         \
  if (v[j] >= 0.0f) bits |= 1u << j;
    EQ_EIGHT(BIT)
    *to++ = (uint8_t)bits;
  }
  uint32_t bits = 0;
  for (uint32_t j = 0; j < count; j++) bits |= (uint32_t)(v[j] >= 0.0f) << j;
  if (count) *to = (uint8_t)bits;
}

/* One row of pixels is summed in `row`, the rows in out_mean itself. */
static void put_mean(const eq_pixels *p, const float *v, uint32_t n, uint32_t y, uint32_t x, uint32_t first,
                     uint32_t count) {
  float *row = p->row + first, *total = p->e->out_mean + (size_t)n * p->o + first;
  if (x == 0)
    for (uint32_t i = 0; i < count; i++) row[i] = 0.0f;
  add(row, v, count);
  if (x + 1 < p->w) return;
  if (y == 0)
    for (uint32_t i = 0; i < count; i++) total[i] = 0.0f;
  add(total, row, count);
  if (y + 1 < p->h) return;
  const float factor = 1.0f / (float)(p->h * p->w); /* up to 2^24 pixels what the definition rounds from double */
  for (uint32_t i = 0; i < count; i++) total[i] *= factor;
}

static inline const float *from(const float *parameters, uint32_t first) {
  return parameters ? parameters + first : (const float *)0;
}

/* gain[n][o] * scale2[o], or the one that there is; is_new: the first pixel of an image. */
static const float *gains(const eq_pixels *p, uint32_t n, bool is_new, uint32_t first, uint32_t count) {
  const eq_epilogue *e = p->e;
  if (!e->gain) return from(e->scale2, first);
  const float *gain = e->gain + (size_t)n * p->o + first;
  if (!e->scale2) return gain;
  if (is_new || p->o > EQ_CHANNELS)
    for (uint32_t i = 0; i < count; i++) p->gain[i] = gain[i] * e->scale2[first + i];
  return p->gain;
}

/* Where nothing but the signs is wanted. */
static bool only_bits(const eq_epilogue *e) {
  return e->out_bits && !e->out && !e->out_mean && e->scale && e->bias && !e->residual[0].data &&
         !e->residual[1].data && e->act == EQ_ACT_NONE && !e->gain && !e->scale2 && !e->bias2;
}

static void put_signs(const eq_cell *acc, const float *scale, const float *bias, uint32_t count, uint8_t *to) {
  for (; count >= 8; count -= 8, acc += 8, scale += 8, bias += 8) {
    uint32_t bits = 0;
#define SIGN(j)                                                                                                        \
  if ((float)acc[j].i * scale[j] + bias[j] >= 0.0f) bits |= 1u << j;
    EQ_EIGHT(SIGN)
    *to++ = (uint8_t)bits;
  }
  uint32_t bits = 0;
  for (uint32_t j = 0; j < count; j++) bits |= (uint32_t)((float)acc[j].i * scale[j] + bias[j] >= 0.0f) << j;
  if (count) *to = (uint8_t)bits;
}

static void put_padding(const eq_pixels *p, uint8_t *row) {
  for (size_t i = (p->o + 7) / 8; i < eq_row_bytes(p->o); i++) row[i] = 0;
}

static void put(const eq_pixels *p, const eq_cell *acc, bool integers, uint32_t n, uint32_t y, uint32_t x,
                uint32_t first, uint32_t count) {
  const eq_epilogue *e = p->e;
  const size_t pixel = ((size_t)n * p->h + y) * p->w + x;
  if (e->out_acc && integers)
    for (uint32_t i = 0; i < count; i++) e->out_acc[pixel * p->o + first + i] = acc[i].i;
  if (!e->out && !e->out_bits && !e->out_mean) return;
  uint8_t *const bits = e->out_bits ? e->out_bits + pixel * eq_row_bytes(p->o) : (uint8_t *)0;
  if (integers && only_bits(e)) {
    put_signs(acc, e->scale + first, e->bias + first, count, bits + first / 8);
    if (first + count == p->o) put_padding(p, bits);
    return;
  }
  lane l = {.acc = acc,
            .scale = from(e->scale, first),
            .bias = from(e->bias, first),
            .pos = from(e->pos, first),
            .neg = from(e->neg, first),
            .shift = from(e->shift, first),
            .gain = gains(p, n, (y | x) == 0, first, count),
            .bias2 = from(e->bias2, first),
            .count = count};
  unsigned residuals = 0;
  for (int i = 0; i < 2; i++)
    if (e->residual[i].data)
      l.residual[residuals++] = residual_row(p, &e->residual[i], p->residual[i], n, y, x, first, count);
  float *const out = e->out ? e->out + pixel * p->o + first : (float *)0, *const cells = &p->cells->f;
  const bool whole = e->act == EQ_ACT_DPRELU && l.scale && l.bias;
  l.out = out ? out : cells;
  if (whole && residuals == 0 && !l.gain && !l.bias2)
    along(l, integers, 0, false);
  else if (whole && integers && residuals == 1 && l.gain && l.bias2)
    along(l, true, 1, true);
  else if (whole && integers && residuals == 2 && l.gain && l.bias2)
    along(l, true, 2, true);
  else {
    l.out = cells;
    step_by_step(&l, integers, e->act);
    if (out)
      for (uint32_t i = 0; i < count; i++) out[i] = cells[i];
  }
  if (bits) {
    put_bits(l.out, count, bits + first / 8);
    if (first + count == p->o) put_padding(p, bits);
  }
  if (e->out_mean) put_mean(p, l.out, n, y, x, first, count);
}

void eq_put_i32(const eq_pixels *p, uint32_t n, uint32_t y, uint32_t x, uint32_t first, uint32_t count) {
  put(p, p->cells, true, n, y, x, first, count);
}

void eq_put_f32(const eq_pixels *p, const float *acc, uint32_t n, uint32_t y, uint32_t x, uint32_t first,
                uint32_t count) {
  put(p, (const eq_cell *)(const void *)acc, false, n, y, x, first, count);
}

uint64_t eq_epilogue_mcu_scratch(const eq_epilogue *e, uint32_t o) { return eq_pixels_bytes(e, o); }

void eq_epilogue_i32_mcu(const int32_t *acc, uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e,
                         void *scratch) {
  const eq_pixels p = eq_pixels_begin(e, n, h, w, o, scratch);
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t y = 0; y < h; y++)
      for (uint32_t x = 0; x < w; x++)
        for (uint32_t first = 0, count; first < o; first += count) {
          count = o - first < EQ_CHANNELS ? o - first : EQ_CHANNELS;
          for (uint32_t k = 0; k < count; k++) p.cells[k].i = *acc++;
          eq_put_i32(&p, i, y, x, first, count);
        }
}

void eq_mean_hw_mcu(const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c, float *out, float *row) {
  const eq_epilogue e = {.out_mean = out};
  const eq_pixels p = {.e = &e, .n = n, .h = h, .w = w, .o = c, .row = row};
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t y = 0; y < h; y++)
      for (uint32_t px = 0; px < w; px++, x += c) put_mean(&p, x, i, y, px, 0, c);
}

void eq_pack_b1_mcu(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  const size_t bytes = eq_row_bytes(k);
  for (; rows; rows--, x += k, out += bytes) {
    if (!threshold) put_bits(x, k, out);
    for (size_t i = threshold ? 0 : (k + 7) / 8; i < bytes; i++) out[i] = 0;
    for (uint32_t i = 0; threshold && i < k; i++)
      if (x[i] >= threshold[i]) out[i / 8] = (uint8_t)(out[i / 8] | 1u << (i % 8));
  }
}
