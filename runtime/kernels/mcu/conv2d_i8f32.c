/* 8-bit weights against fake-quantised floats. Activations are quantised once; eight outputs are summed side by side,
 * their weights made floats once per row of pixels. Every sum has the order of the definition, so it cannot be taken in
 * integers. */
#include "lanes.h"
#include "mcu.h"
#include "quantise.h"

enum { LANES = 8 };

typedef struct {
  const eq_conv2d *op;
  float *ring; /* [kh][w][c] quantised rows of x; row iy lies at iy % kh */
  float *taps; /* [kh][kw][c / groups][LANES] weights of some outputs, 0 where there is none */
} work;

/* Taps under a window that follow each other evenly: `rows` times `run` of them. */
typedef struct {
  const float *at, *first, *end; /* the first one, and where lines of the ring begin again */
  const float *taps;
  size_t step, line, tap_line; /* between taps, between lines; between lines of weights */
  uint32_t rows, run;
} span;

/* Adds to eight sums; `per` of them share a channel. */
static inline EQ_INLINE void eight(const span *s, unsigned per, float *sums) {
  const float *row = s->at, *taps = s->taps;
  EQ_LANES;
  EQ_LOAD_V(sums);
  for (uint32_t rows = s->rows; rows; rows--, taps += s->tap_line) {
    const float *at = row, *w = taps;
    for (uint32_t run = s->run; run; run--, w += LANES, at += s->step) {
      EQ_LOAD_T(w);
#define STEP(j) v##j += at[j / per] * t##j;
      EQ_EIGHT(STEP)
    }
    row += s->line;
    if (row == s->end) row = s->first;
  }
  EQ_STORE_V(sums);
}
static __attribute__((noinline)) void eight_of_one(const span *s, float *sums) { eight(s, LANES, sums); }
static __attribute__((noinline)) void eight_of_pairs(const span *s, float *sums) { eight(s, 2, sums); }

/* Every group has one channel and two outputs: eight outputs are fed by four neighbouring channels. */
static bool is_spread(const eq_conv2d *op) { return op->groups == op->c && op->o == 2 * op->groups; }

/* How many outputs from o on go together: LANES that are spread, or some of one group. */
static uint32_t together(const eq_conv2d *op, uint32_t o) {
  const uint32_t og = op->o / op->groups, left = og - o % og;
  if (is_spread(op) && op->o - o >= LANES) return LANES;
  return left < LANES ? left : LANES;
}

/* Taps [first, end) of a window that lie in [0, size); the window begins `before` taps early. */
typedef struct {
  uint32_t first, end;
} taps;
static taps inside(uint32_t at, uint32_t before, uint32_t kernel, uint32_t size) {
  const uint32_t left = size + before - at;
  return (taps){at < before ? before - at : 0, left < kernel ? left : kernel};
}

/* The accumulators of a row of pixels. row: [out_w][o] */
static void row_of_sums(const work *v, const int8_t *w, uint32_t y, float *row) {
  const eq_conv2d *op = v->op;
  const uint32_t og = op->o / op->groups, cg = op->c / op->groups, top = y * op->stride_h;
  const size_t size = (size_t)op->kh * op->kw * cg, width = (size_t)op->w * op->c, line = (size_t)op->kw * cg * LANES;
  const bool spread = is_spread(op), even = op->groups == 1 || cg == 1;
  const taps vertical = inside(top, op->pad_top, op->kh, op->h);
  const uint32_t oldest = (top + vertical.first - op->pad_top) % op->kh;
  for (uint32_t o = 0, count; o < op->o; o += count) {
    count = together(op, o);
    for (size_t j = 0; j < LANES; j++) {
      float *tap = v->taps + j;
      const int8_t *weights = w + (o + j) * size;
      for (size_t i = j < count ? size : 0; i; i--, tap += LANES) *tap = (float)*weights++;
      for (; tap < v->taps + size * LANES; tap += LANES) *tap = 0.0f;
    }
    const float *const ring = v->ring + (size_t)(o / og) * cg;
    float *at = row + o;
    for (uint32_t x = 0; x < op->out_w; x++, at += op->o) {
      const uint32_t left = x * op->stride_w;
      const taps h = inside(left, op->pad_left, op->kw, op->w);
      span s = {.first = ring + (size_t)(left + h.first - op->pad_left) * op->c,
                .taps = v->taps + vertical.first * line + (size_t)h.first * cg * LANES,
                .step = op->groups == 1 ? 1 : op->c,
                .line = width,
                .tap_line = line,
                .rows = vertical.end - vertical.first,
                .run = (h.end - h.first) * cg};
      s.end = s.first + op->kh * width;
      s.at = s.first + oldest * width;
      float some[LANES], *const sums = count == LANES ? at : some;
      for (unsigned j = 0; j < LANES; j++) sums[j] = 0.0f;
      if (spread && count == LANES)
        eight_of_pairs(&s, sums);
      else if (even)
        eight_of_one(&s, sums);
      else /* channels of a group lie together, those of its next tap do not */
        for (uint32_t rows = s.rows; rows; rows--, s.taps += line) {
          span tap = s;
          tap.rows = 1, tap.run = cg, tap.step = 1;
          for (uint32_t kx = h.first; kx < h.end; kx++, tap.at += op->c, tap.taps += cg * LANES)
            eight_of_one(&tap, sums);
          s.at += width;
          if (s.at == s.end) s.at = s.first;
        }
      for (uint32_t j = 0; count < LANES && j < count; j++) at[j] = some[j];
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
  eq_pixels out = eq_pixels_begin(e, op->out_h, op->out_w, op->o, waiting + (size_t)row_floats(op, e));
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
