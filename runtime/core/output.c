#include "output.h"
#include "check.h"
#include "functions.h"
#include "kernels/ref/ref.h"

static bool has_residual(const eq_residual *r) { return r->data || r->codes; }
static bool single_pixels(const eq_output *out) { return out->h == 1 && out->w == 1; }
static uint32_t tuned_rows(const eq_epilogue *e) { return e->tuning ? e->tuning->rows : 1; }
static bool wants_moments(const eq_epilogue *e) { return e->tuning && e->tuning->moments; }

void eq_output_plan(eq_output *out, eq_arena *arena, const eq_kernels *kernels, const eq_epilogue *e, uint32_t n,
                    uint32_t h, uint32_t w, uint32_t o, uint32_t channels, uint32_t pixels, unsigned workers) {
  const uint64_t padded = eq_round_up(o, EQ_BLOCK), row = padded * sizeof(float);
  *out = (eq_output){
      .e = e, .kernels = kernels, .n = n, .h = h, .w = w, .o = o, .padded = (size_t)padded, .pixels = pixels};
  out->scale = eq_take(arena, tuned_rows(e) * row);
  out->bias = eq_take(arena, tuned_rows(e) * row);
  float **const vectors[] = {&out->pos, &out->neg, &out->shift, &out->bias2, &out->zeros};
  for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) *vectors[i] = eq_take(arena, row);
  if (e->row_shift) out->shift_weight = eq_take(arena, row);
  out->gain = eq_take(arena, (e->gain ? n : 1) * row);
  if (e->out_mean) out->row_sums = eq_take(arena, (uint64_t)n * h * row);
  if (wants_moments(e)) out->row_moments = eq_take(arena, (uint64_t)n * h * 2 * row);
  if (has_residual(&e->residual[0]) || has_residual(&e->residual[1])) {
    out->residual_pitch = (size_t)eq_round_up(channels, EQ_LANES);
    out->residuals = eq_take(arena, (uint64_t)workers * 2 * pixels * out->residual_pitch * sizeof(float));
  }
}

/* Neutral elements that leave every bit of the other operand as it is: x * 1, x + -0, x - 0. */
static void fill(float *to, const float *from, float neutral, uint32_t count) {
  if (from) {
    __builtin_memcpy(to, from, count * sizeof *to);
    return;
  }
  const uint32_t few = count < EQ_BLOCK ? count : EQ_BLOCK;
  for (uint32_t i = 0; i < few; i++) to[i] = neutral;
  for (uint32_t done = few, n; done < count; done += n) /* what is there, again: copies are faster than these loops */
    __builtin_memcpy(to + done, to, (n = done < count - done ? done : count - done) * sizeof *to);
}

/* Scale and bias with their corrections. */
static void correct(const eq_output *out, const eq_tuning *t) {
  for (uint32_t n = 0; n < t->rows; n++) {
    float *scale = out->scale + n * out->padded, *bias = out->bias + n * out->padded;
    const float *a = t->a + n * t->pitch, *c = t->c + n * t->pitch;
    for (uint32_t i = 0; i < out->o; i++) scale[i] = out->e->scale[i] * eq_exp(a[i]);
    for (uint32_t i = 0; i < out->o; i++) bias[i] = out->e->bias[i] + t->sigma * c[i];
  }
}

/* Is there anything behind the activation? */
static bool has_affine(const eq_epilogue *e) { return e->gain || e->scale2 || e->bias2; }

/* Only what the stages will read. */
void eq_output_begin(const eq_output *out) {
  const eq_epilogue *e = out->e;
  const uint32_t o = out->o;
  if (e->tuning) {
    correct(out, e->tuning);
  } else {
    fill(out->scale, e->scale, 1.0f, o);
    fill(out->bias, e->bias, -0.0f, o);
  }
  if (e->act == EQ_ACT_DPRELU) {
    fill(out->pos, e->pos, 1.0f, o);
    fill(out->neg, e->neg, 1.0f, o);
    fill(out->shift, e->shift, 0.0f, o);
  }
  if (e->row_shift) fill(out->shift_weight, e->shift_weight, 0.0f, o);
  if (out->residuals) fill(out->zeros, (float *)0, 0.0f, o);
  if (!has_affine(e)) return;
  fill(out->bias2, e->bias2, -0.0f, o);
  fill(out->gain, e->scale2, 1.0f, o);
  for (uint32_t n = 0; e->gain && n < out->n; n++)
    for (uint32_t i = 0; i < o; i++) {
      const float gain = e->gain[(size_t)n * o + i];
      out->gain[n * out->padded + i] = e->scale2 ? gain * e->scale2[i] : gain;
    }
}

/* The part of a run that lies in one row of one image. */
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

/* A residual over one run, brought to the output's pixels: output channel o reads data[o - origin] while that is below
 * c; past it the channels start again (tile, then origin is 0) or are 0. */
typedef struct {
  const float *data;
  size_t pitch;
  uint32_t origin, c;
  bool tile;
} source;

/* Codes of the output's own shape, as floats. */
static source decode(const eq_output *out, const eq_residual *r, const eq_run *run, float *buffer) {
  const int8_t *codes = r->codes + (((size_t)run->n * out->h + run->y) * out->w + run->x) * out->o + run->first;
  for (uint32_t p = 0; p < run->pixels; p++)
    for (uint32_t i = 0; i < run->channels; i++)
      buffer[p * out->residual_pitch + i] = (float)codes[(size_t)p * out->o + i] * r->step;
  return (source){.data = buffer, .pitch = out->residual_pitch, .origin = run->first, .c = run->channels};
}

/* In place where memory already has the right order, otherwise through `buffer`. */
static source residual_source(const eq_output *out, const eq_residual *r, const eq_run *run, float *buffer) {
  if (r->codes) return decode(out, r, run, buffer);
  const uint32_t first = run->first, end = first + run->channels, c = r->c;
  const bool pools = eq_residual_pools(r, out->h, out->w), tile = r->mode == EQ_RES_TILE && c < out->o;
  const bool segments = c == out->o || (c < out->o && c % EQ_LANES == 0);
  const float *pixel = r->data + (((size_t)run->n * out->h + run->y) * out->w + run->x) * c;
  source s = {.data = buffer, .pitch = out->residual_pitch, .origin = first, .c = run->channels};
  if (segments && !pools) return (source){.data = pixel, .pitch = c, .c = c, .tile = tile};
  if (c > out->o && !pools) {
    const uint32_t g = c / out->o;
    out->kernels->shrink(pixel + (size_t)first * g, c, g, run->pixels, run->channels, buffer, out->residual_pitch);
    return s;
  }
  if (segments && tile && first % c + run->channels > c && c <= out->residual_pitch) {
    pool(out, r, run, 0, c, buffer);
    return (source){.data = buffer, .pitch = out->residual_pitch, .c = c, .tile = true};
  }
  if (segments && (!tile || first % c + run->channels <= c)) {
    s.c = tile || end <= c ? run->channels : first < c ? c - first : 0;
    if (s.c) pool(out, r, run, first % c, s.c, buffer);
    return s;
  }
  gather(out, r, run, first, end, buffer);
  return s;
}

/* Points stage `s` to the source's channels from o on; returns the first channel that this does not cover. */
static uint32_t add_residual(const eq_output *out, eq_stage *s, const source *from, uint32_t o, uint32_t end) {
  const unsigned i = s->residuals++;
  uint32_t column = o - from->origin, stop = from->origin + from->c;
  s->residual_pitch[i] = from->pitch;
  if (from->tile) {
    stop = o - o % from->c + from->c;
    column = o % from->c;
  } else if (o >= stop) {
    s->residual[i] = out->zeros;
    s->residual_pitch[i] = 0;
    return end;
  }
  s->residual[i] = from->data + column;
  return stop < end ? stop : end;
}

/* `run` lies in one row of pixels when something is summed over the image, or parameters differ between images. */
static void put_row(const eq_output *out, const eq_run *run, unsigned worker) {
  const eq_epilogue *e = out->e;
  const size_t pixel = ((size_t)run->n * out->h + run->y) * out->w + run->x, bits_row = eq_row_bytes(out->o);
  const size_t plane = (size_t)out->n * out->h * out->w * bits_row;
  const uint32_t end = run->first + run->channels;
  float *const buffers = out->residuals + (size_t)worker * 2 * out->pixels * out->residual_pitch;
  float *const row_sum = e->out_mean ? out->row_sums + ((size_t)run->n * out->h + run->y) * out->padded : (float *)0;
  if (row_sum && run->x == 0) fill(row_sum + run->first, (float *)0, 0.0f, run->channels);
  float *const moments =
      out->row_moments ? out->row_moments + ((size_t)run->n * out->h + run->y) * 2 * out->padded : (float *)0;
  for (unsigned i = 0; moments && run->x == 0 && i < 2; i++)
    fill(moments + i * out->padded + run->first, (float *)0, 0.0f, run->channels);
  const size_t parameters = tuned_rows(e) > 1 ? run->n * out->padded : 0;
  source sources[2];
  unsigned count = 0;
  for (unsigned i = 0; i < 2; i++)
    if (has_residual(&e->residual[i])) {
      sources[count] =
          residual_source(out, &e->residual[i], run, buffers + (size_t)i * out->pixels * out->residual_pitch);
      count++;
    }
  for (uint32_t o = run->first, stop; o < end; o = stop) {
    eq_stage s = {.pixels = run->pixels, .act = e->act, .acc_pitch = run->acc_pitch};
    stop = end;
    for (unsigned i = 0; i < count; i++) {
      const uint32_t covered = add_residual(out, &s, &sources[i], o, end);
      stop = covered < stop ? covered : stop;
    }
    s.channels = stop - o;
    s.acc_i32 = run->acc_i32 ? run->acc_i32 + (o - run->first) : (const int32_t *)0;
    s.acc_f32 = run->acc_f32 ? run->acc_f32 + (o - run->first) : (const float *)0;
    s.scale = out->scale + parameters + o;
    s.bias = out->bias + parameters + o;
    s.pos = out->pos + o;
    s.neg = out->neg + o;
    s.shift = out->shift + o;
    s.affine = has_affine(e);
    s.only_planes = e->out_t2 && !s.affine && !e->out && !e->out_bits && !e->out_i8 && !e->out_mean;
    s.bias2 = out->bias2 + o;
    s.row_scale = e->row_scale ? e->row_scale + run->n : (const float *)0;
    s.row_shift = e->row_shift ? e->row_shift + run->n : (const float *)0;
    s.row_pitch = single_pixels(out);
    s.shift_weight = out->shift_weight ? out->shift_weight + o : (const float *)0;
    s.gain = out->gain + (e->gain ? run->n * out->padded : 0) + o;
    s.gain_pitch = e->gain && single_pixels(out) ? out->padded : 0;
    s.out_pitch = out->o;
    s.out_acc = e->out_acc ? e->out_acc + pixel * out->o + o : (int32_t *)0;
    s.out = e->out ? e->out + pixel * out->o + o : (float *)0;
    s.bits_pitch = bits_row;
    s.out_bits = e->out_bits ? e->out_bits + pixel * bits_row + o / 8 : (uint8_t *)0;
    s.out_t2[0] = e->out_t2 ? e->out_t2 + pixel * bits_row + o / 8 : (uint8_t *)0;
    s.out_t2[1] = e->out_t2 ? s.out_t2[0] + plane : (uint8_t *)0;
    s.out_i8 = e->out_i8 ? e->out_i8 + pixel * out->o + o : (int8_t *)0;
    s.grid = e->grid;
    s.bits_zero = stop == out->o ? (uint32_t)(bits_row - (out->o + 7) / 8) : 0;
    s.row_sum = row_sum ? row_sum + o : (float *)0;
    s.first = moments ? moments + o : (float *)0;
    s.second = moments ? moments + out->padded + o : (float *)0;
    out->kernels->epilogue(&s);
  }
}

void eq_output_put(const eq_output *out, const eq_run *run, unsigned worker) {
  const bool images = tuned_rows(out->e) > 1 && single_pixels(out);
  if (!out->e->out_mean && !out->row_moments && !images) {
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

/* Of `channels` floats a pixel, a block of outputs meets `per_block`; from the `blocks`th block on, none that are new.
 */
static eq_hint hint_of(const float *pixel, size_t channels, size_t first, size_t per_block, size_t blocks) {
  return (eq_hint){.at = (uintptr_t)pixel + first * sizeof(float),
                   .pixel = channels * sizeof(float),
                   .block = per_block * sizeof(float),
                   .lines = (uint32_t)(per_block * sizeof(float) / EQ_CACHE_LINE),
                   .blocks = (uint32_t)blocks};
}

void eq_output_hints(const eq_output *out, const eq_run *run, eq_hint hints[EQ_HINTS]) {
  const eq_epilogue *e = out->e;
  const size_t pixel = ((size_t)run->n * out->h + run->y) * out->w + run->x;
  for (int i = 0; i < EQ_HINTS; i++) hints[i] = (eq_hint){0};
  for (int i = 0; i < 2; i++) {
    const eq_residual *r = &e->residual[i];
    if (!r->data || eq_residual_pools(r, out->h, out->w)) continue;
    const size_t g = r->c > out->o ? r->c / out->o : 1;
    if (r->c < out->o && run->first >= r->c) continue;
    hints[i] = hint_of(r->data + pixel * r->c, r->c, run->first * g, g * EQ_BLOCK, (r->c / g - run->first) / EQ_BLOCK);
  }
}

/* Rows of one image, `pitch` floats from one to the next, added from the top. */
static void add_rows(const eq_output *out, const float *rows, size_t pitch, float *mean) {
  const float factor = eq_mean_factor(out->h, out->w);
  for (uint32_t o = 0; o < out->o; o++) mean[o] = 0.0f;
  for (uint32_t y = 0; y < out->h; y++)
    for (uint32_t o = 0; o < out->o; o++) mean[o] += rows[y * pitch + o];
  for (uint32_t o = 0; o < out->o; o++) mean[o] *= factor;
}

static void close_moments(const eq_output *out, uint32_t n) {
  const size_t image = (size_t)n * out->h * 2 * out->padded;
  const float *bias = out->bias + (tuned_rows(out->e) > 1 ? n * out->padded : 0);
  float *mean = out->e->tuning->moments + (size_t)n * 2 * out->o, *spread = mean + out->o;
  add_rows(out, out->row_moments + image, 2 * out->padded, mean);
  add_rows(out, out->row_moments + image + out->padded, 2 * out->padded, spread);
  for (uint32_t o = 0; o < out->o; o++) {
    const float away = spread[o] - mean[o] * mean[o];
    spread[o] = away > 0.0f ? away : 0.0f;
    mean[o] += bias[o];
  }
}

void eq_output_end(const eq_output *out) {
  for (uint32_t n = 0; n < out->n; n++) {
    if (out->row_sums)
      add_rows(out, out->row_sums + (size_t)n * out->h * out->padded, out->padded,
               out->e->out_mean + (size_t)n * out->o);
    if (out->row_moments) close_moments(out, n);
  }
}

void eq_output_all(const eq_output *out, const int32_t *acc_i32, const float *acc_f32) {
  const size_t pixels = (size_t)out->n * out->h * out->w, image = (size_t)out->h * out->w;
  eq_output_begin(out);
  for (size_t p = 0; p < pixels;) {
    /* A run stays inside its image unless images are single pixels. */
    const size_t room = image == 1 ? pixels - p : image - p % image;
    const size_t start = p * out->o;
    const eq_run run = {.n = (uint32_t)(p / image),
                        .y = (uint32_t)(p % image / out->w),
                        .x = (uint32_t)(p % out->w),
                        .pixels = (uint32_t)(room < EQ_PIXELS ? room : EQ_PIXELS),
                        .channels = out->o,
                        .acc_i32 = acc_i32 ? acc_i32 + start : (const int32_t *)0,
                        .acc_f32 = acc_f32 ? acc_f32 + start : (const float *)0,
                        .acc_pitch = out->o};
    eq_output_put(out, &run, 0);
    p += run.pixels;
  }
  eq_output_end(out);
}
