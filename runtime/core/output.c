#include "output.h"
#include "check.h"
#include "kernels/ref/ref.h"

static bool single_pixels(const eq_output *out) { return out->h == 1 && out->w == 1; }

void eq_output_plan(eq_output *out, eq_arena *arena, const eq_kernels *kernels, const eq_epilogue *e, uint32_t n,
                    uint32_t h, uint32_t w, uint32_t o, uint32_t block, unsigned workers) {
  const uint64_t padded = eq_round_up(o, EQ_BLOCK), row = padded * sizeof(float);
  *out = (eq_output){.e = e, .kernels = kernels, .n = n, .h = h, .w = w, .o = o, .padded = (size_t)padded};
  float **const vectors[] = {&out->scale, &out->bias, &out->pos, &out->neg, &out->shift, &out->bias2, &out->zeros};
  for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) *vectors[i] = eq_take(arena, row);
  out->gain = eq_take(arena, (e->gain ? n : 1) * row);
  if (e->out_mean) out->row_sums = eq_take(arena, (uint64_t)n * h * row);
  if (e->residual[0].data || e->residual[1].data) {
    out->residual_pitch = (size_t)eq_round_up(block, EQ_LANES);
    out->residuals = eq_take(arena, (uint64_t)workers * 2 * EQ_PIXELS * out->residual_pitch * sizeof(float));
  }
}

/* Neutral elements that leave every bit of the other operand as it is: x * 1, x + -0, x - 0. */
static void fill(float *to, const float *from, float neutral, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) to[i] = from ? from[i] : neutral;
}

void eq_output_begin(const eq_output *out) {
  const eq_epilogue *e = out->e;
  const uint32_t o = out->o;
  const bool slopes = e->act == EQ_ACT_DPRELU;
  fill(out->scale, e->scale, 1.0f, o);
  fill(out->bias, e->bias, -0.0f, o);
  fill(out->pos, slopes ? e->pos : (float *)0, 1.0f, o);
  fill(out->neg, slopes ? e->neg : (float *)0, 1.0f, o);
  fill(out->shift, slopes ? e->shift : (float *)0, 0.0f, o);
  fill(out->bias2, e->bias2, -0.0f, o);
  fill(out->zeros, (float *)0, 0.0f, o);
  fill(out->gain, e->scale2, 1.0f, o);
  for (uint32_t n = 0; e->gain && n < out->n; n++)
    for (uint32_t i = 0; i < o; i++) {
      const float gain = e->gain[(size_t)n * o + i];
      out->gain[n * out->padded + i] = e->scale2 ? gain * e->scale2[i] : gain;
    }
}

typedef struct {
  const float *data;
  size_t pitch;
  uint32_t end; /* first channel that the view does not cover */
} view;

/* Calls for each piece of `run` that lies in one row of one image. */
typedef struct {
  uint32_t n, y, x, pixels;
} piece;

static bool next_piece(const eq_output *out, piece *p, uint32_t *left) {
  p->x += p->pixels;
  if (p->x == out->w) {
    p->x = 0;
    if (++p->y == out->h) {
      p->y = 0;
      p->n++;
    }
  }
  p->pixels = out->w - p->x < *left ? out->w - p->x : *left;
  *left -= p->pixels;
  return p->pixels > 0;
}

static piece before_first(const eq_run *run) { return (piece){run->n, run->y, run->x, 0}; }

static void pool(const eq_output *out, const eq_residual *r, const eq_run *run, uint32_t source, uint32_t channels,
                 float *buffer) {
  uint32_t left = run->pixels;
  for (piece p = before_first(run); next_piece(out, &p, &left); buffer += p.pixels * out->residual_pitch) {
    const eq_pool job = {.image = r->data + (size_t)p.n * r->h * r->w * r->c + source,
                         .h = r->h,
                         .w = r->w,
                         .c = r->c,
                         .y = p.y,
                         .x = p.x,
                         .pixels = p.pixels,
                         .channels = channels};
    out->kernels->pool(&job, buffer, out->residual_pitch);
  }
}

/* Shapes without a fast way: value by value, by the definition. */
static void gather(const eq_output *out, const eq_residual *r, const eq_run *run, uint32_t first, uint32_t end,
                   float *buffer) {
  const eq_ref_sink sink = {out->e, out->n, out->h, out->w, out->o, (float *)0};
  uint32_t left = run->pixels;
  for (piece p = before_first(run); next_piece(out, &p, &left);)
    for (uint32_t i = 0; i < p.pixels; i++, buffer += out->residual_pitch)
      for (uint32_t o = first; o < end; o++) buffer[o - first] = eq_ref_residual(r, &sink, p.n, p.y, p.x + i, o);
}

/* The residual of the run's pixels from channel `first` on, in place where memory already has the right order. */
static view residual_view(const eq_output *out, const eq_residual *r, const eq_run *run, uint32_t first,
                          float *buffer) {
  const uint32_t end = run->first + run->channels, c = r->c;
  const bool pools = eq_residual_pools(r, out->h, out->w);
  const size_t pixel = ((size_t)run->n * out->h + run->y) * out->w + run->x;
  if (c > out->o && !pools) {
    const uint32_t g = c / out->o;
    out->kernels->shrink(r->data + pixel * c + (size_t)first * g, c, g, run->pixels, end - first, buffer,
                         out->residual_pitch);
    return (view){buffer, out->residual_pitch, end};
  }
  if (c > out->o || (c < out->o && c % EQ_LANES)) {
    gather(out, r, run, first, end, buffer);
    return (view){buffer, out->residual_pitch, end};
  }
  if (r->mode == EQ_RES_PAD && first >= c) return (view){out->zeros, 0, end};
  const uint32_t source = first % c, segment_end = first - source + c;
  const uint32_t stop = segment_end < end ? segment_end : end;
  if (!pools) return (view){r->data + pixel * c + source, c, stop};
  pool(out, r, run, source, stop - first, buffer);
  return (view){buffer, out->residual_pitch, stop};
}

/* `run` lies in one row of pixels when a mean is wanted. */
static void put_row(const eq_output *out, const eq_run *run, unsigned worker) {
  const eq_epilogue *e = out->e;
  const size_t pixel = ((size_t)run->n * out->h + run->y) * out->w + run->x, bits_row = eq_row_bytes(out->o);
  const uint32_t end = run->first + run->channels;
  float *const buffers = out->residuals + (size_t)worker * 2 * EQ_PIXELS * out->residual_pitch;
  float *const row_sum = e->out_mean ? out->row_sums + ((size_t)run->n * out->h + run->y) * out->padded : (float *)0;
  if (row_sum && run->x == 0) fill(row_sum + run->first, (float *)0, 0.0f, run->channels);
  for (uint32_t o = run->first, stop; o < end; o = stop) {
    eq_stage s = {.pixels = run->pixels, .act = e->act, .acc_pitch = run->acc_pitch};
    stop = end;
    for (int i = 0; i < 2; i++) {
      if (!e->residual[i].data) continue;
      const view v = residual_view(out, &e->residual[i], run, o, buffers + (size_t)i * EQ_PIXELS * out->residual_pitch);
      s.residual[s.residuals] = v.data;
      s.residual_pitch[s.residuals++] = v.pitch;
      stop = v.end < stop ? v.end : stop;
    }
    s.channels = stop - o;
    s.acc_i32 = run->acc_i32 ? run->acc_i32 + (o - run->first) : (const int32_t *)0;
    s.acc_f32 = run->acc_f32 ? run->acc_f32 + (o - run->first) : (const float *)0;
    s.scale = out->scale + o;
    s.bias = out->bias + o;
    s.pos = out->pos + o;
    s.neg = out->neg + o;
    s.shift = out->shift + o;
    s.bias2 = out->bias2 + o;
    s.gain = out->gain + (e->gain ? run->n * out->padded : 0) + o;
    s.gain_pitch = e->gain && single_pixels(out) ? out->padded : 0;
    s.out_pitch = out->o;
    s.out_acc = e->out_acc ? e->out_acc + pixel * out->o + o : (int32_t *)0;
    s.out = e->out ? e->out + pixel * out->o + o : (float *)0;
    s.bits_pitch = bits_row;
    s.out_bits = e->out_bits ? e->out_bits + pixel * bits_row + o / 8 : (uint8_t *)0;
    s.bits_zero = stop == out->o ? (uint32_t)(bits_row - (out->o + 7) / 8) : 0;
    s.row_sum = row_sum ? row_sum + o : (float *)0;
    out->kernels->epilogue(&s);
  }
}

void eq_output_put(const eq_output *out, const eq_run *run, unsigned worker) {
  if (!out->e->out_mean) {
    put_row(out, run, worker);
    return;
  }
  uint32_t left = run->pixels;
  size_t done = 0;
  for (piece p = before_first(run); next_piece(out, &p, &left); done += p.pixels) {
    const eq_run row = {.n = p.n,
                        .y = p.y,
                        .x = p.x,
                        .pixels = p.pixels,
                        .first = run->first,
                        .channels = run->channels,
                        .acc_i32 = run->acc_i32 ? run->acc_i32 + done * run->acc_pitch : (const int32_t *)0,
                        .acc_f32 = run->acc_f32 ? run->acc_f32 + done * run->acc_pitch : (const float *)0,
                        .acc_pitch = run->acc_pitch};
    put_row(out, &row, worker);
  }
}

void eq_output_end(const eq_output *out) {
  if (!out->e->out_mean) return;
  const float factor = eq_mean_factor(out->h, out->w);
  for (uint32_t n = 0; n < out->n; n++) {
    float *mean = out->e->out_mean + (size_t)n * out->o;
    for (uint32_t o = 0; o < out->o; o++) mean[o] = 0.0f;
    for (uint32_t y = 0; y < out->h; y++) {
      const float *row = out->row_sums + ((size_t)n * out->h + y) * out->padded;
      for (uint32_t o = 0; o < out->o; o++) mean[o] += row[o];
    }
    for (uint32_t o = 0; o < out->o; o++) mean[o] *= factor;
  }
}
