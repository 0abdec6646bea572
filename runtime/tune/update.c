/* What a step does to the parameters. */
#include "core/half.h"
#include "tune/number.h"
#include "tune/state.h"

void eq_tune_zero_moments(eq_tune *t) {
  for (uint32_t k = 0; k < t->shape.adam_values; k++) t->moment[k] = 0.0f;
  for (uint32_t k = 0; k < t->shape.square_values; k++) t->square[k] = 0.0f;
  t->saved->power1 = t->saved->power2 = 1.0f;
  t->saved->second = 0.0f;
}

/* ---- noise that all samples share */
typedef enum { ON_AC, ON_HEAD, ON_LATENT } target;

static eq_noise noise_of(const eq_tune *t, target on) {
  static const uint32_t streams[] = {EQ_STREAM_AC, EQ_STREAM_HEAD, EQ_STREAM_LATENT};
  const uint64_t stream = eq_stream(t->set.seed, streams[on], (uint64_t)t->saved->step + 1);
  return on == ON_AC && !t->shape.gauss ? eq_noise_signs(stream, 0, t->shape.ac) : eq_noise_gauss(stream);
}

/* One code of the head's parameter k in real units: weights by row, biases by the deviation of the logits. */
static float head_unit(const eq_tune *t, uint32_t k) {
  const uint32_t row = k / t->shape.hidden;
  return row < t->shape.classes ? t->model->head_scale[row] : t->model->head_sigma;
}

void eq_tune_perturb(eq_tune *t, float sign) {
  const eq_tune_shape *s = &t->shape;
  const float eps = sign * t->set.eps;
  if (s->noise_ac) {
    const eq_noise noise = noise_of(t, ON_AC);
    eq_noise_add(&noise, t->values, eps, t->noisy, s->ac);
  }
  if (s->noise_head) {
    const eq_noise noise = noise_of(t, ON_HEAD);
    for (uint32_t k = 0; k < s->head_values; k++)
      t->noisy_head[k] = eq_head_weight(t)[k] + eps * head_unit(t, k) * eq_noise_at(&noise, k);
  }
  if (s->noise_latent) {
    const eq_noise noise = noise_of(t, ON_LATENT);
    if (s->weights) eq_tune_codes(t, t->noisy_latent);
    eq_noise_add(&noise, s->weights ? t->noisy_latent : eq_latents(t), eps, t->noisy_latent, s->latent_values);
  }
}

void eq_tune_codes(const eq_tune *t, float *codes) {
  const float *value = eq_latents(t);
  for (uint32_t l = 0; l < t->model->latent_count; l++) {
    const eq_tune_latent *latent = t->model->latents + l;
    for (uint32_t k = 0; k < latent->outputs * latent->inputs; k++) *codes++ = eq_code_of(latent, *value++);
  }
}

/* ---- Adam over values [first, first + count), of which the gradient is `scale` times what was summed up */
static void adam(eq_tune *t, uint32_t first, uint32_t count, float scale, float rate) {
  const float c1 = 1.0f - t->saved->power1, c2 = 1.0f - t->saved->power2;
  float *m = t->moment + (first - t->shape.adam_from), *s = t->square + (first - t->shape.adam_from);
  const float *g = t->gradient + (first - t->shape.adam_from);
  for (uint32_t k = 0; k < count; k++) {
    const float slope = eq_flush(g[k] * scale);
    m[k] = eq_flush(EQ_TUNE_BETA1 * m[k] + (1.0f - EQ_TUNE_BETA1) * slope);
    s[k] = eq_flush(EQ_TUNE_BETA2 * s[k] + (1.0f - EQ_TUNE_BETA2) * (slope * slope));
    t->values[first + k] -= rate * (m[k] / c1) / (eq_sqrt(s[k] / c2) + EQ_TUNE_TINY);
  }
}

static void adam_head(eq_tune *t, float scale, bool exact, float rate) {
  const eq_tune_shape *s = &t->shape;
  for (uint32_t c = 0; c < s->classes; c++) {
    const float unit = t->model->head_scale[c];
    adam(t, s->ac + c * s->hidden, s->hidden, exact ? scale * unit : scale, rate * t->set.lr_head * unit);
  }
  const float unit = t->model->head_sigma;
  adam(t, s->ac + s->classes * s->hidden, s->classes, exact ? scale * unit : scale, rate * t->set.lr_bias * unit);
}

/* value += x * noise */
static void along(float *value, uint32_t count, eq_noise noise, float x) {
  eq_noise_add(&noise, value, x, value, count);
}

static void descend_head(eq_tune *t, float factor, float rate) {
  const uint32_t weights = t->shape.classes * t->shape.hidden;
  const eq_noise noise = noise_of(t, ON_HEAD);
  for (uint32_t k = 0; k < t->shape.head_values; k++) {
    const float lr = k < weights ? t->set.lr_head : t->set.lr_bias;
    eq_head_weight(t)[k] -= rate * lr * factor * head_unit(t, k) * eq_noise_at(&noise, k);
  }
}

/* A step that is one number: along the noise, by Adam, by one second moment, or plainly. */
static void shared_step(eq_tune *t, float rate) {
  const eq_tune_shape *s = &t->shape;
  const float gain = eq_half(t->gain);
  if (t->set.optimiser == EQ_TUNE_ADAM) {
    if (s->noise_ac) {
      along(t->gradient, s->ac, noise_of(t, ON_AC), gain);
      adam(t, 0, s->ac, 1.0f, rate * t->set.lr_ac);
    }
    if (s->noise_head) {
      along(t->gradient + s->ac, s->head_values, noise_of(t, ON_HEAD), gain);
      adam_head(t, 1.0f, false, rate);
    }
    if (s->noise_latent) {
      along(t->gradient + eq_latent_start(s), s->latent_values, noise_of(t, ON_LATENT), gain);
      adam(t, eq_latent_start(s), s->latent_values, 1.0f, rate * t->set.lr_latent);
    }
    return;
  }
  float factor = gain;
  if (t->set.optimiser == EQ_TUNE_SCALAR) {
    t->saved->second = eq_flush(EQ_TUNE_BETA2 * t->saved->second + (1.0f - EQ_TUNE_BETA2) * (gain * gain));
    factor = gain / (eq_sqrt(t->saved->second / (1.0f - t->saved->power2)) + EQ_TUNE_TINY);
  }
  if (s->noise_ac) along(t->values, s->ac, noise_of(t, ON_AC), -(rate * t->set.lr_ac * factor));
  if (s->noise_head) descend_head(t, factor, rate);
  if (s->noise_latent)
    along(eq_latents(t), s->latent_values, noise_of(t, ON_LATENT), -(rate * t->set.lr_latent * factor));
}

/* ---- codes that flip, after a running average of their gradient */
static float flipped(const eq_tune_latent *latent, float code, float push) {
  const float step = latent->binary ? 2.0f : 1.0f;
  return push > 0.0f ? code - step : code + step;
}

static bool can_move(const eq_tune_latent *latent, float code, float push) {
  const float to = flipped(latent, code, push);
  return push != 0.0f && eq_finite(push) && to >= (float)latent->low && to <= (float)latent->high;
}

/* The largest `share` of the pushes move their codes one level; counted by 1024 levels of their size. */
static void flip(const eq_tune_latent *latent, float *code, float *push, float share, uint32_t *bins) {
  const uint32_t count = latent->outputs * latent->inputs;
  uint32_t wanted = (uint32_t)(share * (float)count), sum = 0, level = EQ_TUNE_BINS - 1;
  float largest = 0.0f;
  for (uint32_t k = 0; k < count; k++)
    if (can_move(latent, code[k], push[k]) && eq_abs(push[k]) > largest) largest = eq_abs(push[k]);
  if (!(largest > 0.0f)) return;
  for (uint32_t k = 0; k < EQ_TUNE_BINS; k++) bins[k] = 0;
  for (uint32_t k = 0; k < count; k++)
    if (can_move(latent, code[k], push[k])) bins[(uint32_t)(eq_abs(push[k]) / largest * (float)(EQ_TUNE_BINS - 1))]++;
  if (!wanted) wanted = 1;
  while (level > 0 && sum + bins[level] <= wanted) sum += bins[level--];
  for (uint32_t k = 0; k < count; k++)
    if (can_move(latent, code[k], push[k]) &&
        (uint32_t)(eq_abs(push[k]) / largest * (float)(EQ_TUNE_BINS - 1)) > level) {
      code[k] = flipped(latent, code[k], push[k]);
      push[k] = 0.0f;
    }
}

static void flip_codes(eq_tune *t, float scale, float cosine) {
  const eq_tune_model *m = t->model;
  float *code = eq_latents(t);
  const uint32_t offset = eq_latent_start(&t->shape) - t->shape.adam_from;
  float *push = t->moment + offset;
  const float *g = t->gradient + offset;
  for (uint32_t k = 0; k < t->shape.latent_values; k++) push[k] = eq_flush(0.98f * push[k] + 0.02f * (g[k] * scale));
  if ((t->saved->step + 1) % t->set.flip_every) return;
  for (uint32_t l = 0; l < m->latent_count; l++) {
    flip(m->latents + l, code, push, t->set.flip_share * cosine, t->bins);
    code += m->latents[l].outputs * m->latents[l].inputs;
    push += m->latents[l].outputs * m->latents[l].inputs;
  }
}

static void clamp_latents(eq_tune *t) {
  float *value = eq_latents(t);
  for (uint32_t l = 0; l < t->model->latent_count; l++) {
    const eq_tune_latent *latent = t->model->latents + l;
    const float room = latent->high - latent->low <= 2 ? 0.5f : 0.4f;
    for (uint32_t k = 0; k < latent->outputs * latent->inputs; k++, value++)
      *value = eq_clip(*value, (float)latent->low - room, (float)latent->high + room);
  }
}

static void clamp_ac(eq_tune *t) {
  float *value = t->values;
  for (uint32_t l = 0; l < t->model->layer_count; l++) {
    const uint32_t n = t->model->layers[l].channels;
    for (uint32_t j = 0; j < n; j++, value++) *value = eq_clip(*value, -EQ_TUNE_LARGEST_A, EQ_TUNE_LARGEST_A);
    for (uint32_t j = 0; j < n; j++, value++) *value = eq_clip(*value, -EQ_TUNE_LARGEST_C, EQ_TUNE_LARGEST_C);
  }
}

/* y is scale exp(a) codes x and what does not depend on a: its gradient is the sum of codes times theirs. */
static void scales_from_latents(eq_tune *t) {
  const float *value = eq_latents(t), *g = t->gradient + (eq_latent_start(&t->shape) - t->shape.adam_from);
  for (uint32_t l = 0; l < t->model->latent_count; l++) {
    const eq_tune_latent *latent = t->model->latents + l;
    float *a = t->gradient + eq_a_of(t->model, latent->layer);
    for (uint32_t j = 0; j < latent->outputs; j++) {
      float sum = 0.0f;
      for (uint32_t k = 0; k < latent->inputs; k++) sum += eq_code_of(latent, *value++) * *g++;
      a[j] = sum;
    }
  }
}

void eq_tune_update(eq_tune *t) {
  const eq_tune_shape *s = &t->shape;
  const float cosine = eq_cosine(t->saved->step + 1, eq_tune_steps_of(t)), mean = 1.0f / (float)eq_tune_batch_of(t);
  float rate = cosine;
  for (uint32_t i = 0; i < t->saved->rate_halvings; i++) rate *= 0.5f;
  t->saved->power1 *= EQ_TUNE_BETA1;
  t->saved->power2 *= EQ_TUNE_BETA2;
  if (t->saved->leg == EQ_LEG_HEAD) {
    adam_head(t, mean, true, rate);
    return;
  }
  if (s->exact_head) adam_head(t, mean, true, rate);
  if (!s->per_sample)
    shared_step(t, rate);
  else {
    if (s->learn_latent) scales_from_latents(t);
    adam(t, 0, s->ac, mean, rate * t->set.lr_ac);
    if (s->flips)
      flip_codes(t, mean, cosine);
    else if (s->learn_latent)
      adam(t, eq_latent_start(s), s->latent_values, mean, rate * t->set.lr_latent);
  }
  clamp_ac(t);
  if (s->learn_latent && !s->flips) clamp_latents(t);
}
