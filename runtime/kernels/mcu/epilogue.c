/* Channels of a pixel on their way through an epilogue, eight at a time. */
#include "core/check.h"
#include "lanes.h"
#include "mcu.h"

eq_pixels eq_pixels_begin(const eq_epilogue *e, uint32_t h, uint32_t w, uint32_t o, void *scratch) {
  eq_pixels p = {.e = e, .h = h, .w = w, .o = o, .bit_row = eq_row_bytes(o), .image = UINT32_MAX, .cells = scratch};
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
#ifdef EQ_MOMENTS
  if (eq_wants_moments(e)) p.moments = next + (e->out_mean ? o : 0);
#endif
  return p;
}

/* ---- residuals */

static void zero(float *to, uint32_t count) {
  for (; count; count--) *to++ = 0.0f;
}

/* What an output of o channels sees of a pixel. */
static float seen(const eq_residual *r, const float *pixel, uint32_t o, uint32_t channel) {
  if (r->c > o) {
    const uint32_t g = r->c / o;
    const float *from = pixel + (size_t)channel * g;
    float sum = *from;
    for (uint32_t j = 1; j < g; j++) sum += from[j];
    return sum / (float)g;
  }
  if (r->mode == EQ_RES_TILE) channel %= r->c;
  return channel < r->c ? pixel[channel] : 0.0f;
}

/* The same for channels [first, first + count). */
static void shape(const eq_residual *r, const float *pixel, uint32_t o, uint32_t first, uint32_t count, float *to) {
  if (r->c > o) {
    const uint32_t g = r->c / o;
    const float *from = pixel + (size_t)first * g, divisor = (float)g;
    for (; count; count--, from += g) {
      float sum = from[0] + from[1];
      for (uint32_t j = 2; j < g; j++) sum += from[j];
      *to++ = sum / divisor;
    }
    return;
  }
  uint32_t i = 0;
  if (r->mode == EQ_RES_PAD) {
    for (; i < count && first + i < r->c; i++) to[i] = pixel[first + i];
    zero(to + i, count - i);
    return;
  }
  for (; i < count; i++) to[i] = seen(r, pixel, o, first + i);
}

/* Mean over the 3 x 3 window, with `count` neighbouring channels from `image` on; what lies outside is 0. */
static void pool(const eq_residual *r, const float *image, uint32_t y, uint32_t x, uint32_t count, float *to) {
  const uint32_t top = 2 * y - r->h % 2, left = 2 * x - r->w % 2; /* -1 wraps */
  const uint32_t y0 = top == UINT32_MAX ? 0 : top, y1 = top + 3 < r->h ? top + 3 : r->h;
  const uint32_t x0 = left == UINT32_MAX ? 0 : left, x1 = left + 3 < r->w ? left + 3 : r->w;
  image += ((size_t)y0 * r->w + x0) * r->c;
  const size_t line = (size_t)r->w * r->c;
  for (uint32_t i = 0; i < count; i += 8, image += 8, to += 8) {
    const float *row = image;
    EQ_LANES;
#define ZERO(j) v##j = 0.0f;
    EQ_EIGHT(ZERO)
    for (uint32_t ky = y0; ky < y1; ky++, row += line) {
      const float *pixel = row;
      for (uint32_t kx = x0; kx < x1; kx++, pixel += r->c) {
        EQ_LOAD_T(pixel);
        EQ_EIGHT(EQ_ADD)
      }
    }
#define NINTH(j) v##j *= 1.0f / 9.0f;
    EQ_EIGHT(NINTH)
    EQ_STORE_V(to);
  }
}

/* The residual beside channels [first, first + count) of pixel (y, x): in place where memory has the right order. */
static const float *residual_row(const eq_pixels *p, const eq_residual *r, float *buffer, uint32_t n, uint32_t y,
                                 uint32_t x, uint32_t first, uint32_t count) {
  const float *image = r->data + (size_t)n * r->h * r->w * r->c;
  const bool pools = eq_residual_pools(r, p->h, p->w);
  const uint32_t start = r->mode == EQ_RES_TILE && r->c < p->o ? first % r->c : first;
  const bool straight = r->c <= p->o && start + count <= r->c;
  if (!pools) {
    const float *pixel = image + ((size_t)y * r->w + x) * r->c;
    if (straight) return pixel + start;
    shape(r, pixel, p->o, first, count, buffer);
    return buffer;
  }
  if (straight && count % 8 == 0) {
    pool(r, image + start, y, x, count, buffer);
    return buffer;
  }
  for (uint32_t i = 0; i < count; i++) {
    float sum = 0.0f;
    for (uint32_t ky = 0; ky < 3; ky++)
      for (uint32_t kx = 0; kx < 3; kx++) {
        const uint32_t iy = 2 * y + ky - r->h % 2, ix = 2 * x + kx - r->w % 2; /* -1 wraps far past the end */
        if (iy < r->h && ix < r->w) sum += seen(r, image + ((size_t)iy * r->w + ix) * r->c, p->o, first + i);
      }
    buffer[i] = sum * (1.0f / 9.0f);
  }
  return buffer;
}

/* ---- values */

static inline float loaded(const eq_cell *acc, bool integers) { return integers ? (float)acc->i : acc->f; }

static inline float dprelu(float v, float pos, float neg, float shift) {
  return (eq_not_negative(v) ? pos : neg) * v - shift;
}

/* Eight channels from i on. */
static inline EQ_INLINE void eight(const eq_lane *l, bool integers, uint32_t i) {
  EQ_LANES;
  if (integers)
    EQ_LOAD_INTEGERS(l->acc + i);
  else
    EQ_LOAD_V(&l->acc[i].f);
  if (l->scale) {
    EQ_LOAD_T(l->scale + i);
    EQ_EIGHT(EQ_MULTIPLY)
  }
#ifdef EQ_MOMENTS
  if (l->first) {
    EQ_LOAD_T(l->first + i);
#define FIRST(j) t##j += v##j;
    EQ_EIGHT(FIRST)
    EQ_STORE_T(l->first + i);
    EQ_LOAD_T(l->second + i);
#define SECOND(j) t##j += v##j * v##j;
    EQ_EIGHT(SECOND)
    EQ_STORE_T(l->second + i);
  }
#endif
  if (l->bias) {
    EQ_LOAD_T(l->bias + i);
    EQ_EIGHT(EQ_ADD)
  }
  if (l->residual[0]) {
    EQ_LOAD_T(l->residual[0] + i);
    EQ_EIGHT(EQ_ADD)
  }
  if (l->residual[1]) {
    EQ_LOAD_T(l->residual[1] + i);
    EQ_EIGHT(EQ_ADD)
  }
  if (l->pos) {
    EQ_LANES_U;
    EQ_LOAD_T(l->pos + i);
    EQ_LOAD_U(l->neg + i);
#define CHOOSE(j) v##j *= eq_not_negative(v##j) ? t##j : u##j;
    EQ_EIGHT(CHOOSE)
    EQ_LOAD_T(l->shift + i);
#define SUBTRACT(j) v##j -= t##j;
    EQ_EIGHT(SUBTRACT)
  }
  if (l->gain) {
    EQ_LOAD_T(l->gain + i);
    EQ_EIGHT(EQ_MULTIPLY)
  }
  if (l->bias2) {
    EQ_LOAD_T(l->bias2 + i);
    EQ_EIGHT(EQ_ADD)
  }
  if (l->out) EQ_STORE_V(l->out + i);
  if (l->bits) {
    uint32_t bits = 0;
#define SIGN(j)                                                                                                        \
  if (eq_not_negative(v##j)) bits |= 1u << j;
    EQ_EIGHT(SIGN)
    l->bits[i / 8] = (uint8_t)bits;
  }
  if (l->row) {
    EQ_LOAD_T(l->row + i);
#define SUM(j) t##j += v##j;
    EQ_EIGHT(SUM)
    EQ_STORE_T(l->row + i);
  }
}

/* One channel. */
static void one(const eq_lane *l, bool integers, uint32_t i) {
  float v = loaded(l->acc + i, integers);
  if (l->scale) v *= l->scale[i];
#ifdef EQ_MOMENTS
  if (l->first) {
    l->first[i] += v;
    l->second[i] += v * v;
  }
#endif
  if (l->bias) v += l->bias[i];
  for (int r = 0; r < 2; r++)
    if (l->residual[r]) v += l->residual[r][i];
  if (l->pos) v = dprelu(v, l->pos[i], l->neg[i], l->shift[i]);
  if (l->gain) v *= l->gain[i];
  if (l->bias2) v += l->bias2[i];
  if (l->out) l->out[i] = v;
  if (l->bits) l->bits[i / 8] = (uint8_t)((i % 8 ? l->bits[i / 8] : 0u) | (uint32_t)eq_not_negative(v) << i % 8);
  if (l->row) l->row[i] += v;
}

static void along(const eq_lane *l, bool integers, uint32_t count) {
  uint32_t i = 0;
  for (; i + 8 <= count; i += 8) eight(l, integers, i);
  for (; i < count; i++) one(l, integers, i);
}

/* What follows an activation that the others do without, in place. */
static void activate(float *v, eq_act act, uint32_t count) {
  for (; count; count--, v++) {
    float t = *v;
    if (act == EQ_ACT_HSIGMOID) t = t + 3.0f;
    t = t > 0.0f ? t : 0.0f;
    if (act == EQ_ACT_HSIGMOID) t = (t < 6.0f ? t : 6.0f) / 6.0f;
    *v = t;
  }
}

/* ---- results */

static inline const float *from(const float *parameters, uint32_t first) {
  return parameters ? parameters + first : (const float *)0;
}

/* What belongs to channels [first, first + count) of image n. */
static void begin(eq_pixels *p, uint32_t n, uint32_t first, uint32_t count) {
  const eq_epilogue *e = p->e;
  eq_lane *l = &p->lane;
  p->image = n;
  p->first = first;
  l->scale = from(e->scale, first);
  l->bias = from(e->bias, first);
  l->pos = e->act == EQ_ACT_DPRELU ? from(e->pos, first) : (const float *)0;
  l->neg = from(e->neg, first);
  l->shift = from(e->shift, first);
  l->bias2 = from(e->bias2, first);
  l->row = e->out_mean ? p->row + first : (float *)0;
  l->gain = from(e->scale2, first);
#ifdef EQ_MOMENTS
  l->first = p->moments ? p->moments + first : (float *)0;
  l->second = p->moments ? p->moments + p->o + first : (float *)0;
#endif
  if (!e->gain) return;
  const float *gain = e->gain + (size_t)n * p->o + first;
  for (uint32_t i = 0; e->scale2 && i < count; i++) p->gain[i] = gain[i] * l->gain[i];
  l->gain = e->scale2 ? p->gain : gain;
}

/* One row of pixels is summed in p->row, the rows in out_mean itself. */
static void end_row(const eq_pixels *p, const float *row, float *total, uint32_t y, uint32_t count) {
  /* up to 2^24 pixels what the definition rounds from double */
  const float factor = y + 1 == p->h ? 1.0f / (float)(p->h * p->w) : 1.0f;
  if (y == 0) zero(total, count);
  for (; count; count--, total++) *total = (*total + *row++) * factor;
}

#ifdef EQ_MOMENTS
/* After the last pixel of a row: its sums to those of the image, and after the last row the moments (types.h). */
static void end_moments(const eq_pixels *p, uint32_t n, uint32_t y, uint32_t count) {
  const eq_lane *l = &p->lane;
  float *mean = p->e->tuning->moments + (size_t)n * 2 * p->o + p->first, *spread = mean + p->o;
  end_row(p, l->first, mean, y, count);
  end_row(p, l->second, spread, y, count);
  for (uint32_t i = 0; y + 1 == p->h && i < count; i++) {
    const float away = spread[i] - mean[i] * mean[i];
    spread[i] = away > 0.0f ? away : 0.0f;
    mean[i] += l->bias[i];
  }
}
#endif

static void put(eq_pixels *p, const eq_cell *acc, bool integers, uint32_t n, uint32_t y, uint32_t x, uint32_t first,
                uint32_t count) {
  const eq_epilogue *e = p->e;
  eq_lane *l = &p->lane;
  if (n != p->image || first != p->first) begin(p, n, first, count);
  const size_t pixel = ((size_t)n * p->h + y) * p->w + x, at = pixel * p->o + first;
  if (e->out_acc && integers)
    for (uint32_t i = 0; i < count; i++) e->out_acc[at + i] = acc[i].i;
  l->acc = acc;
  for (int i = 0; i < 2; i++)
    if (e->residual[i].data) l->residual[i] = residual_row(p, &e->residual[i], p->residual[i], n, y, x, first, count);
  l->out = e->out ? e->out + at : (float *)0;
  l->bits = e->out_bits ? e->out_bits + pixel * p->bit_row + first / 8 : (uint8_t *)0;
  if (l->row && x == 0) zero(l->row, count);
#ifdef EQ_MOMENTS
  if (l->first && x == 0) {
    zero(l->first, count);
    zero(l->second, count);
  }
#endif
  if (e->act == EQ_ACT_NONE || e->act == EQ_ACT_DPRELU)
    along(l, integers, count);
  else { /* up to the activation, then from there */
    eq_lane half = *l;
    if (!half.out) half.out = &p->cells->f;
    half.gain = half.bias2 = (const float *)0;
    half.bits = (uint8_t *)0;
    half.row = (float *)0;
    along(&half, integers, count);
    activate(half.out, e->act, count);
    half = (eq_lane){.acc = (const eq_cell *)(const void *)half.out,
                     .gain = l->gain,
                     .bias2 = l->bias2,
                     .out = half.out,
                     .bits = l->bits,
                     .row = l->row};
    along(&half, false, count);
  }
  if (l->bits && first + count == p->o)
    for (size_t i = (count + 7) / 8; i < p->bit_row - first / 8; i++) l->bits[i] = 0;
  if (l->row && x + 1 == p->w) end_row(p, l->row, e->out_mean + (size_t)n * p->o + first, y, count);
#ifdef EQ_MOMENTS
  if (l->first && x + 1 == p->w) end_moments(p, n, y, count);
#endif
}

void eq_put_i32(eq_pixels *p, uint32_t n, uint32_t y, uint32_t x, uint32_t first, uint32_t count) {
  put(p, p->cells, true, n, y, x, first, count);
}

void eq_put_f32(eq_pixels *p, const float *acc, uint32_t n, uint32_t y, uint32_t x, uint32_t first, uint32_t count) {
  put(p, (const eq_cell *)(const void *)acc, false, n, y, x, first, count);
}

uint64_t eq_epilogue_mcu_scratch(const eq_epilogue *e, uint32_t o) { return eq_pixels_bytes(e, o); }

void eq_epilogue_i32_mcu(const int32_t *acc, uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e,
                         void *scratch) {
  eq_pixels p = eq_pixels_begin(e, h, w, o, scratch);
  for (uint32_t i = 0; i < n; i++, acc += (size_t)h * w * o)
    for (uint32_t first = 0, count; first < o; first += count) {
      const int32_t *pixel = acc + first;
      count = o - first < EQ_CHANNELS ? o - first : EQ_CHANNELS;
      for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++, pixel += o)
          put(&p, (const eq_cell *)(const void *)pixel, true, i, y, x, first, count);
    }
}

void eq_mean_hw_mcu(const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c, float *out, float *row) {
  const eq_epilogue e = {.out_mean = out};
  eq_pixels p = {.e = &e, .h = h, .w = w, .o = c, .image = UINT32_MAX, .row = row};
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t y = 0; y < h; y++)
      for (uint32_t px = 0; px < w; px++, x += c) eq_put_f32(&p, x, i, y, px, 0, c);
}

void eq_pack_b1_mcu(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  const size_t bytes = eq_row_bytes(k);
  for (; rows; rows--, x += k, out += bytes) {
    const eq_lane l = {.acc = (const eq_cell *)(const void *)x, .bits = out};
    if (!threshold) along(&l, false, k);
    for (size_t i = threshold ? 0 : (k + 7) / 8; i < bytes; i++) out[i] = 0;
    for (uint32_t i = 0; threshold && i < k; i++)
      if (x[i] >= threshold[i]) out[i / 8] = (uint8_t)(out[i / 8] | 1u << (i % 8));
  }
}
