/* Learning step by step: the exact gradient of the head, and the zeroth-order methods. */
#include "tune/four.h"
#include "tune/number.h"
#include "tune/state.h"

uint32_t eq_tune_steps_of(const eq_tune *t) {
  return t->saved->leg == EQ_LEG_HEAD ? t->shape.head_steps : t->set.steps;
}

static bool folding(const eq_tune *t) { return t->shape.folds && t->saved->leg == EQ_LEG_HEAD; }
static bool in_fold(const eq_tune *t) { return folding(t) && t->saved->fold < t->shape.folds; }
static bool cached(const eq_tune *t) { return t->shape.cached && t->saved->leg == EQ_LEG_HEAD; }

/* ---- which samples: fold f leaves out every position p with p mod folds = f, and the last round leaves out none */
static uint32_t left_out(const eq_tune *t) {
  const uint32_t n = t->shape.samples, folds = t->shape.folds;
  if (!in_fold(t)) return folding(t) ? 0 : t->shape.held;
  return (n - t->saved->fold + folds - 1) / folds;
}

static uint32_t left_out_position(const eq_tune *t, uint32_t i) {
  return in_fold(t) ? t->saved->fold + i * t->shape.folds : i;
}

static uint32_t train_position(const eq_tune *t, uint32_t i) {
  if (!in_fold(t)) return left_out(t) + i;
  const uint32_t others = t->shape.folds - 1, in_group = i % others;
  return i / others * t->shape.folds + in_group + (in_group >= t->saved->fold);
}

uint32_t eq_tune_batch_of(const eq_tune *t) {
  const uint32_t train = t->shape.samples - left_out(t);
  return t->set.batch < train ? t->set.batch : train;
}

static uint32_t batch_position(const eq_tune *t, uint32_t i) {
  const uint64_t stream = eq_stream(t->set.seed, EQ_STREAM_BATCH, (uint64_t)t->saved->step + 1);
  return train_position(t, eq_pick(eq_word(stream, i), t->shape.samples - left_out(t)));
}

/* ---- a leg: from its start over its steps to its best state */
static void head_from_base(eq_tune *t) {
  const size_t weights = (size_t)t->shape.classes * t->shape.hidden;
  __builtin_memcpy(eq_head_weight(t), t->model->head_weight, weights * sizeof(float));
  __builtin_memcpy(eq_head_bias(t), t->model->head_bias, t->shape.classes * sizeof(float));
}

/* Scales, biases and latents as the model says; up to here they were the base's. */
static void begin_at_start(eq_tune *t) {
  const eq_tune_model *m = t->model;
  float *value = eq_latents(t);
  __builtin_memcpy(t->values, m->start_ac, t->shape.ac * sizeof(float));
  for (uint32_t l = 0; l < m->latent_count; l++) {
    const uint32_t count = m->latents[l].outputs * m->latents[l].inputs;
    __builtin_memcpy(value, m->latents[l].start, count * sizeof(float));
    value += count;
  }
}

void eq_tune_leg_start(eq_tune *t, uint32_t leg) {
  eq_tune_saved *v = t->saved;
  v->leg = leg;
  v->step = v->best_step = v->fold = 0;
  v->rate_halvings = v->restores = v->bad = v->stale = v->dropped_in_row = 0;
  v->now = v->best = (eq_tune_sum){0};
  v->leave_one_out = 0;
  eq_tune_zero_moments(t);
  if (t->shape.start) begin_at_start(t);
  eq_tune_enter(t, S_STEPS);
}

static void leg_end(eq_tune *t, bool diverged) {
  eq_tune_saved *v = t->saved;
  if (folding(t))
    v->best = v->now;
  else
    __builtin_memcpy(t->values, t->best, t->shape.best_values * sizeof(float));
  const bool automatic = t->set.method == EQ_TUNE_AUTO;
  if (diverged && !automatic)
    eq_tune_finish(t, EQ_TUNE_DIVERGED, EQ_TUNE_OK);
  else if (v->leg == EQ_LEG_HEAD && t->shape.noise)
    eq_tune_leg_start(t, EQ_LEG_NOISE);
  else
    eq_tune_enter(t, v->leg == EQ_LEG_NOISE && t->shape.solve ? S_SOLVE : S_DECIDE);
}

static void keep_best(eq_tune *t) {
  __builtin_memcpy(t->best, t->values, t->shape.best_values * sizeof(float));
  t->saved->best = t->saved->now;
  t->saved->best_step = t->saved->step;
}

static void slow_down(eq_tune *t) {
  if (t->saved->rate_halvings < 60) t->saved->rate_halvings++;
}

/* Back to the best state at half the rate; true when that was the last time. */
static bool restore(eq_tune *t) {
  if (folding(t))
    head_from_base(t);
  else
    __builtin_memcpy(t->values, t->best, t->shape.best_values * sizeof(float));
  eq_tune_zero_moments(t);
  slow_down(t);
  t->saved->bad = t->saved->dropped_in_row = 0;
  return ++t->saved->restores >= EQ_TUNE_RESTORES;
}

static void evaluate(eq_tune *t) {
  t->mode = M_EVAL;
  t->position = 0;
  t->evaluation = in_fold(t) ? t->saved->now : (eq_tune_sum){0}; /* folds are scored together */
}

static void begin_step(eq_tune *t) {
  if (t->saved->step == eq_tune_steps_of(t)) {
    leg_end(t, false);
    eq_tune_io_start(t, IO_SAVE);
    return;
  }
  t->mode = M_STEP;
  t->position = t->side = 0;
  t->difference = 0.0f;
  t->bad_step = false;
  for (uint32_t k = 0; k < t->shape.adam_values; k++) t->gradient[k] = 0.0f;
  if (!t->shape.logged || t->saved->leg != EQ_LEG_NOISE) return;
  if (!t->log_ready)
    eq_tune_io_start(t, IO_LOG_OPEN);
  else if (t->replaying)
    eq_tune_io_start(t, IO_REPLAY);
}

/* The cache of a run that goes on is filled again: no new measurement, and not counted again. */
static bool first_fill(const eq_tune *t) {
  return t->shape.stats && !t->saved->fold && !t->saved->step && !t->saved->best.count;
}

bool eq_tune_steps_refill(const eq_tune *t) { return t->mode == M_FILL && !first_fill(t); }

static void start(eq_tune *t) {
  if (cached(t) && !t->cache_ready) {
    t->mode = M_FILL;
    t->position = 0;
    if (first_fill(t)) t->saved->stats = (eq_tune_sum){0};
  } else if (!folding(t) && !t->saved->best.count)
    evaluate(t);
  else
    begin_step(t);
}

static void next_fold(eq_tune *t) {
  t->saved->fold++;
  t->saved->step = 0;
  head_from_base(t);
  eq_tune_zero_moments(t);
  t->saved->rate_halvings = t->saved->restores = t->saved->dropped_in_row = 0;
}

/* Never at a higher loss than the base's. Right more often is better, then less loss; but what follows a solve or a
 * head has to lower the loss, and may cost no hit. */
static bool improves(const eq_tune *t, eq_tune_score now, eq_tune_score best) {
  if (t->saved->leg == EQ_LEG_NOISE && (t->set.method == EQ_TUNE_AUTO || t->shape.head))
    return now.loss < best.loss && now.metric >= t->saved->first_metric;
  if (!(now.loss <= eq_tune_score_of(&t->saved->base_held).loss)) return false;
  return now.metric > best.metric || (now.metric == best.metric && now.loss < best.loss);
}

static void judge(eq_tune *t) {
  eq_tune_saved *v = t->saved;
  v->now = t->evaluation;
  t->mode = M_START;
  if (folding(t))
    next_fold(t);
  else {
    const eq_tune_score now = eq_tune_score_of(&v->now), best = eq_tune_score_of(&v->best);
    const float tolerance = t->set.tolerance * eq_abs(eq_tune_score_of(&v->base_held).loss);
    if (!best.samples) {
      v->first_metric = now.metric;
      keep_best(t);
    } else if (improves(t, now, best)) {
      keep_best(t);
      v->bad = v->stale = 0;
    } else {
      v->stale++;
      v->bad = now.loss <= best.loss + tolerance ? 0 : v->bad + 1; /* NaN is bad */
      if (v->bad >= t->set.patience && restore(t))
        leg_end(t, true);
      else if (v->stale >= t->set.converged)
        leg_end(t, false);
    }
  }
  eq_tune_io_start(t, IO_SAVE);
  eq_tune_progress(t);
}

/* ---- one step */
/* No noise on the scales of layers whose latents learn: it would only blur what the others' differences tell, and their
 * gradient follows from that of the latents (update.c). */
static void still_scales(const eq_tune *t, float *row) {
  for (uint32_t l = 0; l < t->model->latent_count; l++) {
    const eq_tune_latent *latent = t->model->latents + l;
    const uint32_t at = eq_a_of(t->model, latent->layer);
    __builtin_memcpy(row + at, t->values + at, latent->outputs * sizeof(float));
  }
}

/* ac with and without its noise, side by side: one pair of rows for all samples, or one for each of `count`. */
static void make_pairs(eq_tune *t, uint32_t count) {
  const eq_tune_shape *s = &t->shape;
  const uint64_t stream = eq_stream(t->set.seed, EQ_STREAM_AC, (uint64_t)t->saved->step + 1);
  const uint32_t pairs = s->per_sample ? count : 1;
  for (uint32_t i = 0; i < pairs; i++) {
    float *plus = t->noisy + (size_t)i * s->ac, *minus = t->noisy + (size_t)(pairs + i) * s->ac;
    const eq_noise noise =
        s->gauss ? eq_noise_gauss(stream) : eq_noise_signs(stream, s->per_sample ? t->position + i : 0, s->ac);
    eq_noise_add(&noise, t->values, t->set.eps, plus, s->ac);
    eq_noise_add(&noise, t->values, -t->set.eps, minus, s->ac);
    if (!s->learn_latent) continue;
    still_scales(t, plus);
    still_scales(t, minus);
  }
}

static void ask_noisy(eq_tune *t, uint32_t count) {
  const eq_tune_shape *s = &t->shape;
  const uint32_t outputs = eq_tune_scored_by(t) | (s->exact_head ? (uint32_t)EQ_TUNE_HIDDEN : 0u);
  if (s->pairs) {
    if (s->per_sample || !t->position) make_pairs(t, count);
    for (uint32_t i = 0; i < count; i++) t->rows[count + i] = t->rows[i];
    eq_tune_ask(t, 2 * count, outputs | (s->learn_latent ? (uint32_t)EQ_TUNE_INPUTS : 0u));
    t->request.ac = t->noisy;
    t->request.ac_rows = s->per_sample ? 2 * count : 2;
    return;
  }
  eq_tune_ask(t, count, outputs);
  eq_tune_perturb(t, t->side == 0 ? 1.0f : -1.0f);
  if (s->noise_ac) t->request.ac = t->noisy;
  if (s->noise_head) {
    t->request.head_weight = t->noisy_head;
    t->request.head_bias = t->noisy_head + (size_t)s->classes * s->hidden;
  }
  if (s->noise_latent)
    for (uint32_t l = 0, at = 0; l < t->model->latent_count;
         at += t->model->latents[l].outputs * t->model->latents[l].inputs, l++)
      t->latent[l] = t->noisy_latent + at;
}

static void add_head(eq_tune *t, uint32_t sample, const float *hidden, const float *logits) {
  const eq_tune_shape *s = &t->shape;
  float loss, *gradient = t->gradient + (s->ac - s->adam_from);
  if (!eq_all_finite(hidden, s->hidden) || !eq_tune_loss_of(t, sample, logits, &loss, t->slope)) {
    t->bad_step = true;
    return;
  }
  for (uint32_t c = 0; c < s->classes; c++) {
    eq_add_product(gradient + (size_t)c * s->hidden, t->slope[c], hidden, s->hidden);
    gradient[(size_t)s->classes * s->hidden + c] += t->slope[c];
  }
}

static void add_hidden(eq_tune *t, uint32_t sample, const float *hidden) {
  eq_tune_head(hidden, t->shape.hidden, t->shape.classes, eq_head_weight(t), eq_head_bias(t), t->logits);
  add_head(t, sample, hidden, t->logits);
}

static void step_done(eq_tune *t) {
  const float mean = t->difference / (float)eq_tune_batch_of(t);
  if (!eq_finite(mean)) t->bad_step = true;
  t->gain = t->bad_step ? 0x7e00u : eq_to_half(mean);
  t->mode = M_APPLY;
  if (t->shape.logged && t->saved->leg == EQ_LEG_NOISE) eq_tune_io_start(t, IO_LOG); /* before it is applied */
}

void eq_tune_steps_replay(eq_tune *t, uint16_t gain) {
  t->gain = gain;
  t->bad_step = (gain & 0x7c00u) == 0x7c00u;
  t->saved->forwards += 2 * (uint64_t)eq_tune_batch_of(t);
  t->mode = M_APPLY;
}

static void apply(eq_tune *t) {
  eq_tune_saved *v = t->saved;
  bool last = false;
  if (!eq_all_finite(t->gradient, t->shape.adam_values)) t->bad_step = true;
  if (t->bad_step) {
    v->dropped++;
    slow_down(t);
    if (++v->dropped_in_row >= 3) last = restore(t);
  } else {
    v->dropped_in_row = 0;
    eq_tune_update(t);
  }
  v->step++;
  t->mode = M_START;
  if (last) {
    leg_end(t, true);
    eq_tune_io_start(t, IO_SAVE);
  } else if (folding(t)) {
    if (v->step == eq_tune_steps_of(t) && in_fold(t))
      evaluate(t);
    else
      begin_step(t);
  } else if (v->step % t->set.evaluate_every == 0 || v->step == eq_tune_steps_of(t))
    evaluate(t);
  else
    begin_step(t);
}

/* The next samples of the batch: from the cache at once, or by a request. */
static void next_samples(eq_tune *t) {
  const uint32_t batch = eq_tune_batch_of(t), left = batch - t->position;
  if (!left) {
    step_done(t);
    return;
  }
  if (cached(t)) {
    for (; t->position < batch; t->position++) {
      const uint32_t p = batch_position(t, t->position);
      add_hidden(t, eq_sample_at(t, p), t->cache + (size_t)p * t->shape.hidden);
    }
    return;
  }
  const uint32_t count = left < t->shape.step_rows ? left : t->shape.step_rows;
  for (uint32_t i = 0; i < count; i++) t->rows[i] = eq_sample_at(t, batch_position(t, t->position + i));
  if (t->saved->leg == EQ_LEG_HEAD)
    eq_tune_ask(t, count, EQ_TUNE_HIDDEN);
  else
    ask_noisy(t, count);
  t->asked = count;
}

static void next_evaluated(eq_tune *t) {
  const uint32_t end = left_out(t), left = end - t->position;
  if (!left) {
    judge(t);
    return;
  }
  if (cached(t)) {
    for (; t->position < end; t->position++) {
      const uint32_t p = left_out_position(t, t->position);
      eq_tune_head(t->cache + (size_t)p * t->shape.hidden, t->shape.hidden, t->shape.classes, eq_head_weight(t),
                   eq_head_bias(t), t->logits);
      if (!eq_tune_sum_logits(t, &t->evaluation, eq_sample_at(t, p), t->logits))
        eq_tune_sum_loss(&t->evaluation, 1e30f, 0.0f);
    }
    return;
  }
  const uint32_t count = left < t->shape.sweep_rows ? left : t->shape.sweep_rows;
  for (uint32_t i = 0; i < count; i++) t->rows[i] = eq_sample_at(t, left_out_position(t, t->position + i));
  eq_tune_ask(t, count, t->saved->leg == EQ_LEG_HEAD ? (uint32_t)EQ_TUNE_HIDDEN : eq_tune_scored_by(t));
  t->asked = count;
}

void eq_tune_steps_advance(eq_tune *t) {
  switch ((eq_tune_mode)t->mode) {
  case M_START: start(t); break;
  case M_FILL:
    if (eq_tune_sweep(t, t->shape.samples, EQ_TUNE_HIDDEN | (first_fill(t) ? (uint32_t)EQ_TUNE_LOGITS : 0u))) break;
    t->cache_ready = true;
    t->mode = M_START;
    break;
  case M_EVAL: next_evaluated(t); break;
  case M_STEP: next_samples(t); break;
  case M_APPLY: apply(t); break;
  }
}

/* ---- replies */
static bool row_loss(eq_tune *t, const eq_tune_outputs *o, uint32_t i, uint32_t sample, float *loss) {
  if (t->set.loss == EQ_TUNE_SCORE) {
    *loss = o->scores[i];
    return eq_finite(*loss);
  }
  return eq_tune_loss_of(t, sample, eq_tune_logits_of(t, o, i, t->logits), loss, NULL);
}

static float slope_between(const eq_tune *t, float plus, float minus) {
  return eq_clip((plus - minus) / (2.0f * t->set.eps), -EQ_TUNE_LARGEST_DIFFERENCE, EQ_TUNE_LARGEST_DIFFERENCE);
}

/* The exact gradient of the head at the middle of both sides. */
static void add_middle(eq_tune *t, uint32_t sample, const float *plus, const float *minus, const float *hidden) {
  for (uint32_t c = 0; c < t->shape.classes; c++) t->logits[c] = (plus[c] + minus[c]) * 0.5f;
  add_head(t, sample, hidden, t->logits);
}

/* Noise on c of a fully connected layer is noise on its outputs: with the layer's input it gives a gradient of its
 * weights, G = d z / sigma x^T, in codes times scale exp(a). */
static void add_latents(eq_tune *t, const eq_tune_outputs *o, uint32_t i, const eq_noise *noise, float d) {
  const eq_tune_model *m = t->model;
  float *gradient = t->gradient + (eq_latent_start(&t->shape) - t->shape.adam_from);
  for (uint32_t l = 0; l < m->latent_count; l++) {
    const eq_tune_latent *latent = m->latents + l;
    const float *x = o->inputs[l] + (size_t)i * latent->inputs;
    const uint32_t at = eq_a_of(m, latent->layer);
    if (!eq_all_finite(x, latent->inputs)) t->bad_step = true;
    for (uint32_t j = 0; j < latent->outputs; j++, gradient += latent->inputs) {
      const float z = eq_noise_at(noise, at + latent->outputs + j);
      const float w = d * z / m->layers[latent->layer].sigma * latent->scale[j] * eq_exp(t->values[at + j]);
      for (uint32_t k = 0; k < latent->inputs; k++) gradient[k] += w * x[k];
    }
  }
}

static void take_pair(eq_tune *t, const eq_tune_outputs *o, uint32_t i, uint32_t count) {
  const eq_tune_shape *s = &t->shape;
  const uint32_t sample = t->rows[i];
  float plus, minus;
  if (!row_loss(t, o, i, sample, &plus) || !row_loss(t, o, count + i, sample, &minus)) {
    t->bad_step = true;
    return;
  }
  const float d = slope_between(t, plus, minus);
  if (s->exact_head)
    add_middle(t, sample, o->logits + (size_t)i * s->classes, o->logits + (size_t)(count + i) * s->classes,
               o->hidden + (size_t)i * s->hidden);
  if (!s->per_sample) {
    t->difference += d;
    return;
  }
  const uint64_t stream = eq_stream(t->set.seed, EQ_STREAM_AC, (uint64_t)t->saved->step + 1);
  const eq_noise noise = eq_noise_signs(stream, t->position + i, s->ac);
  eq_noise_add(&noise, t->gradient, d, t->gradient, s->ac);
  if (s->learn_latent) add_latents(t, o, i, &noise, d);
}

static void take_side(eq_tune *t, const eq_tune_outputs *o, uint32_t i) {
  const eq_tune_shape *s = &t->shape;
  const uint32_t sample = t->rows[i];
  float loss;
  if (!row_loss(t, o, i, sample, &loss)) {
    t->bad_step = true;
    loss = 0.0f;
  }
  const size_t logits = (size_t)i * s->classes, hidden = (size_t)i * s->hidden;
  if (t->side == 0) {
    t->plus_loss[i] = loss;
    if (!s->exact_head) return;
    __builtin_memcpy(t->plus_logits + logits, o->logits + logits, s->classes * sizeof(float));
    __builtin_memcpy(t->plus_hidden + hidden, o->hidden + hidden, s->hidden * sizeof(float));
    return;
  }
  t->difference += slope_between(t, t->plus_loss[i], loss);
  if (s->exact_head) add_middle(t, sample, t->plus_logits + logits, o->logits + logits, t->plus_hidden + hidden);
}

static void take_step(eq_tune *t, const eq_tune_outputs *o) {
  const uint32_t count = t->asked;
  t->asked = 0; /* position moves here, once both sides are in */
  for (uint32_t i = 0; i < count; i++) {
    if (t->saved->leg == EQ_LEG_HEAD)
      add_hidden(t, t->rows[i], o->hidden + (size_t)i * t->shape.hidden);
    else if (t->shape.pairs)
      take_pair(t, o, i, count);
    else
      take_side(t, o, i);
  }
  if (t->saved->leg == EQ_LEG_HEAD || t->shape.pairs)
    t->position += count;
  else {
    t->position += t->side == 0 ? 0 : count;
    t->side ^= 1u;
  }
}

static void take_evaluated(eq_tune *t, const eq_tune_outputs *o, uint32_t i) {
  const uint32_t sample = t->rows[i];
  bool fine;
  if (t->saved->leg == EQ_LEG_HEAD) {
    eq_tune_head(o->hidden + (size_t)i * t->shape.hidden, t->shape.hidden, t->shape.classes, eq_head_weight(t),
                 eq_head_bias(t), t->logits);
    fine = eq_tune_sum_logits(t, &t->evaluation, sample, t->logits);
  } else
    fine = eq_tune_sum_row(t, &t->evaluation, sample, o, i);
  if (!fine) eq_tune_sum_loss(&t->evaluation, 1e30f, 0.0f); /* counts as bad as can be */
}

void eq_tune_steps_take(eq_tune *t, const eq_tune_outputs *o) {
  if (t->mode == M_STEP) {
    take_step(t, o);
    return;
  }
  for (uint32_t i = 0; i < t->asked; i++) {
    if (t->mode == M_EVAL) {
      take_evaluated(t, o, i);
      continue;
    }
    const uint32_t width = t->shape.hidden, position = t->position + i;
    const float *hidden = o->hidden + (size_t)i * width;
    if (!eq_all_finite(hidden, width) ||
        (first_fill(t) && !eq_tune_sum_row(t, &t->saved->stats, eq_sample_at(t, position), o, i))) {
      eq_tune_finish(t, EQ_TUNE_FAILED, EQ_TUNE_NOT_FINITE);
      return;
    }
    __builtin_memcpy(t->cache + (size_t)position * width, hidden, width * sizeof(float));
  }
}
