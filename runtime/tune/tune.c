/* The run as a machine that asks: which stage comes next, and what it wants to know. */
#include "proto/sha256.h"
#include "tune/number.h"
#include "tune/state.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the tuning module's files are little-endian, and so must be the machine"
#endif

/* ---- the end */
static void end(eq_tune *t, eq_tune_outcome outcome, eq_tune_status status) {
  t->request = (eq_tune_request){.kind = EQ_TUNE_DONE, .outcome = outcome, .status = status};
  t->done = true;
}

void eq_tune_fail(eq_tune *t, eq_tune_status status) {
  t->saved->outcome = EQ_TUNE_FAILED;
  t->saved->status = status;
  end(t, EQ_TUNE_FAILED, status);
}

void eq_tune_finish(eq_tune *t, eq_tune_outcome outcome, eq_tune_status status) {
  if (outcome == EQ_TUNE_FAILED) {
    eq_tune_fail(t, status);
    return;
  }
  t->saved->outcome = outcome;
  t->saved->status = status;
  eq_tune_enter(t, S_FINISHED);
  eq_tune_io_start(t, IO_SAVE);
}

void eq_tune_enter(eq_tune *t, eq_tune_at at) {
  t->saved->at = at;
  t->entered = false;
}

void eq_tune_progress(eq_tune *t) { t->progress = true; }

/* ---- asking */
void eq_tune_ask(eq_tune *t, uint32_t count, uint32_t outputs) {
  const eq_tune_shape *s = &t->shape;
  t->request = (eq_tune_request){.kind = EQ_TUNE_FORWARD,
                                 .count = count,
                                 .samples = t->rows,
                                 .outputs = outputs,
                                 .ac_rows = 1,
                                 .ac = t->values,
                                 .head_weight = s->learn_head ? eq_head_weight(t) : t->model->head_weight,
                                 .head_bias = s->learn_head ? eq_head_bias(t) : t->model->head_bias,
                                 .latent = s->learn_latent ? t->latent : NULL};
  if (s->weights) eq_tune_codes(t, t->noisy_latent);
  for (uint32_t l = 0, at = 0; s->learn_latent && l < t->model->latent_count; l++) {
    t->latent[l] = (s->weights ? t->noisy_latent : eq_latents(t)) + at;
    at += t->model->latents[l].outputs * t->model->latents[l].inputs;
  }
  t->waiting = true;
}

bool eq_tune_sweep(eq_tune *t, uint32_t last, uint32_t outputs) {
  const uint32_t left = last - t->position, count = left < t->shape.sweep_rows ? left : t->shape.sweep_rows;
  if (!count) return false;
  for (uint32_t i = 0; i < count; i++) t->rows[i] = eq_sample_at(t, t->position + i);
  eq_tune_ask(t, count, outputs);
  t->asked = count;
  return true;
}

uint32_t eq_tune_scored_by(const eq_tune *t) {
  if (!t->shape.labelled) return 0;
  if (t->set.loss == EQ_TUNE_SCORE) return EQ_TUNE_SCORES;
  return t->saved->solved == EQ_HEAD_TAPS ? EQ_TUNE_TAPS : EQ_TUNE_LOGITS;
}

/* ---- stages */
static void after_stats(eq_tune *t) {
  const eq_tune_shape *s = &t->shape;
  if (s->solve)
    eq_tune_enter(t, S_SOLVE);
  else if (s->head)
    eq_tune_leg_start(t, EQ_LEG_HEAD);
  else if (s->noise)
    eq_tune_leg_start(t, EQ_LEG_NOISE);
  else
    eq_tune_enter(t, s->labelled ? S_CHECK : S_DECIDE);
}

static void sweep_done(eq_tune *t) {
  if (t->shape.stats) eq_tune_stats_apply(t);
  if (t->shape.stats && ++t->saved->sweep < t->shape.sweeps)
    eq_tune_enter(t, S_STATS);
  else
    after_stats(t);
  eq_tune_io_start(t, IO_SAVE);
  eq_tune_progress(t);
}

static bool fills_cache(const eq_tune *t) { return t->shape.head && t->shape.cached && !t->shape.stats; }

static void baseline(eq_tune *t) {
  const uint32_t outputs =
      eq_tune_scored_by(t) | (t->shape.stats ? EQ_TUNE_MOMENTS : 0u) | (fills_cache(t) ? (uint32_t)EQ_TUNE_HIDDEN : 0u);
  if (eq_tune_sweep(t, t->shape.samples, outputs)) return;
  t->cache_ready = fills_cache(t);
  sweep_done(t);
}

/* AUTO keeps the head as it was where the statistics tier alone has the lower loss. Its probabilities are those of the
 * base, fitted to no sample, and leave-one-out took the best temperature: the two compare, and better than few hits. */
static bool better_alone(const eq_tune *t) {
  const eq_tune_saved *v = t->saved;
  return t->set.method == EQ_TUNE_AUTO && v->leave_one_out && v->stats.count &&
         eq_tune_score_of(&v->stats).loss < eq_tune_score_of(&v->best).loss;
}

static void decide(eq_tune *t) {
  eq_tune_saved *v = t->saved;
  const bool all = v->leave_one_out || t->shape.folds || !v->best.count;
  const eq_tune_sum *base = all ? &v->base_all : &v->base_held;
  const bool steps = t->shape.head || t->shape.noise, unguarded = t->set.flags & EQ_TUNE_UNGUARDED;
  if (!t->shape.solve && !steps) v->best = v->now = v->stats;
  const bool stats =
      t->shape.stats && !t->shape.noise && v->plain != EQ_PLAIN_BETTER && eq_tune_better(t, &v->stats, &v->base_all);
  if (unguarded || (eq_tune_better(t, &v->best, base) && !(stats && better_alone(t)))) {
    eq_tune_enter(t, S_COMMIT);
  } else if (stats) {
    v->best = v->stats; /* the statistics tier alone */
    v->solved = EQ_HEAD_BASE;
    v->leave_one_out = 0;
    v->decided_on_all = 1;
    eq_tune_enter(t, S_COMMIT);
  } else {
    eq_tune_finish(t, EQ_TUNE_REJECTED, EQ_TUNE_OK);
    return;
  }
  if (all) v->decided_on_all = 1;
  eq_tune_io_start(t, IO_SAVE);
}

static void stage(eq_tune *t) {
  const bool first = !t->entered;
  if (first) {
    t->entered = true;
    t->position = 0;
    t->mode = M_START;
  }
  switch ((eq_tune_at)t->saved->at) {
  case S_BASELINE:
    if (first) {
      t->saved->base_all = t->saved->base_held = (eq_tune_sum){0};
      if (t->shape.stats) eq_tune_stats_clear(t);
    }
    baseline(t);
    break;
  case S_STATS:
    if (first) eq_tune_stats_clear(t);
    if (!eq_tune_sweep(t, t->shape.samples, EQ_TUNE_MOMENTS)) sweep_done(t);
    break;
  case S_CHECK:
    if (first) t->saved->stats = (eq_tune_sum){0};
    if (!eq_tune_sweep(t, t->shape.samples, eq_tune_scored_by(t))) eq_tune_enter(t, S_DECIDE);
    break;
  case S_SOLVE:
    if (first) eq_tune_solve_start(t);
    eq_tune_solve_advance(t);
    break;
  case S_STEPS: eq_tune_steps_advance(t); break;
  case S_DECIDE: decide(t); break;
  case S_COMMIT:
    if (eq_all_finite(t->values, t->shape.values) && eq_all_finite(t->tap, t->shape.tap_values))
      eq_tune_io_start(t, IO_COMMIT);
    else
      eq_tune_fail(t, EQ_TUNE_NOT_FINITE);
    break;
  case S_FINISHED: end(t, (eq_tune_outcome)t->saved->outcome, (eq_tune_status)t->saved->status); break;
  }
}

static void take_sweep(eq_tune *t, const eq_tune_outputs *o) {
  eq_tune_saved *v = t->saved;
  bool fine = true;
  for (uint32_t i = 0; fine && i < t->asked; i++) {
    const uint32_t position = t->position + i, sample = t->rows[i], hidden = t->shape.hidden;
    if (v->at == S_CHECK) fine = eq_tune_sum_row(t, &v->stats, sample, o, i);
    if (v->at == S_BASELINE) {
      fine = eq_tune_sum_row(t, &v->base_all, sample, o, i);
      if (fine && position < t->shape.held) fine = eq_tune_sum_row(t, &v->base_held, sample, o, i);
      if (fine && fills_cache(t)) {
        fine = eq_all_finite(o->hidden + (size_t)i * hidden, hidden);
        __builtin_memcpy(t->cache + (size_t)position * hidden, o->hidden + (size_t)i * hidden, hidden * sizeof(float));
      }
    }
    if (fine && v->at != S_CHECK && t->shape.stats)
      fine = eq_tune_stats_add(t, o->moments + (size_t)i * 2 * t->shape.channels);
  }
  if (!fine) eq_tune_fail(t, EQ_TUNE_NOT_FINITE);
}

/* ---- the face */
static void shuffle(eq_tune *t) {
  const uint64_t stream = eq_stream(t->set.seed, EQ_STREAM_BATCH, 0);
  const uint32_t n = t->shape.samples;
  for (uint32_t i = 0; i < n; i++) t->order[i] = i;
  for (uint32_t i = n; i-- > 1;) {
    const uint32_t j = eq_pick(eq_word(stream, i), i + 1), kept = t->order[i];
    t->order[i] = t->order[j];
    t->order[j] = kept;
  }
}

void eq_tune_initial(eq_tune *t) {
  const eq_tune_shape *s = &t->shape;
  const eq_tune_model *m = t->model;
  uint8_t *bytes = (uint8_t *)t->saved;
  for (size_t i = 0; i < t->saved_bytes; i++) bytes[i] = 0;
  t->saved->power1 = t->saved->power2 = 1.0f;
  if (s->learn_head) {
    const size_t weights = (size_t)s->classes * s->hidden;
    __builtin_memcpy(eq_head_weight(t), m->head_weight, weights * sizeof(float));
    __builtin_memcpy(eq_head_bias(t), m->head_bias, s->classes * sizeof(float));
  }
  if (!s->learn_latent) return;
  float *value = eq_latents(t);
  for (uint32_t l = 0; l < m->latent_count; l++)
    for (uint32_t k = 0; k < m->latents[l].outputs * m->latents[l].inputs; k++)
      *value++ = (float)m->latents[l].codes[k];
}

eq_tune_status eq_tune_open(eq_tune **tune, const eq_tune_plan *plan, void *memory, size_t bytes) {
  eq_tune_shape shape;
  if (!tune) return EQ_TUNE_BAD_CALL;
  *tune = NULL;
  const eq_tune_status status = eq_tune_shape_of(&shape, plan);
  if (status != EQ_TUNE_OK) return status;
  if (!memory || (uintptr_t)memory % 8 || bytes < eq_tune_place(NULL, &shape, plan->model->latent_count, NULL))
    return EQ_TUNE_NO_MEMORY;
  eq_tune *t = memory;
  *t = (eq_tune){.model = plan->model, .data = plan->data, .set = plan->settings, .shape = shape};
  eq_tune_place(t, &shape, plan->model->latent_count, memory);
  eq_tune_hash_plan(plan, &shape, t->plan_hash);
  eq_tune_initial(t);
  if (t->order) shuffle(t);
  eq_tune_io_start(t, IO_RECOVER);
  *tune = t;
  return EQ_TUNE_OK;
}

eq_tune_status eq_tune_next(eq_tune *t, eq_tune_request *request) {
  if (!t || !request) return EQ_TUNE_BAD_CALL;
  while (!t->waiting && !t->done) {
    if (t->io != IO_NONE)
      eq_tune_io_advance(t);
    else if (t->progress) {
      t->progress = false;
      t->request = (eq_tune_request){.kind = EQ_TUNE_PROGRESS};
      break;
    } else if (t->stop && t->saved->at < S_COMMIT)
      end(t, EQ_TUNE_STOPPED, EQ_TUNE_OK);
    else {
      stage(t);
    }
  }
  *request = t->request;
  return EQ_TUNE_OK;
}

static bool answers(const eq_tune *t, const eq_tune_outputs *o) {
  const uint32_t wanted = t->request.outputs;
  if (o->count != t->request.count || ((wanted & EQ_TUNE_LOGITS) && !o->logits) ||
      ((wanted & EQ_TUNE_HIDDEN) && !o->hidden) || ((wanted & EQ_TUNE_TAPS) && !o->taps) ||
      ((wanted & EQ_TUNE_MOMENTS) && !o->moments) || ((wanted & EQ_TUNE_SCORES) && !o->scores) ||
      ((wanted & EQ_TUNE_INPUTS) && !o->inputs))
    return false;
  if (wanted & EQ_TUNE_INPUTS)
    for (uint32_t l = 0; l < t->model->latent_count; l++)
      if (!o->inputs[l]) return false;
  return true;
}

eq_tune_status eq_tune_reply(eq_tune *t, const eq_tune_outputs *o) {
  if (!t || !t->waiting || t->request.kind != EQ_TUNE_FORWARD) return EQ_TUNE_BAD_CALL;
  if (!o || !answers(t, o)) return EQ_TUNE_BAD_REPLY;
  t->waiting = false;
  if (t->saved->at != S_STEPS || !eq_tune_steps_refill(t)) t->saved->forwards += o->count;
  switch ((eq_tune_at)t->saved->at) {
  case S_SOLVE: eq_tune_solve_take(t, o); break;
  case S_STEPS: eq_tune_steps_take(t, o); break;
  default: take_sweep(t, o);
  }
  t->position += t->asked;
  t->asked = 0;
  return EQ_TUNE_OK;
}

eq_tune_status eq_tune_reply_store(eq_tune *t, eq_tune_status status) {
  if (!t || !t->waiting || t->request.kind == EQ_TUNE_FORWARD) return EQ_TUNE_BAD_CALL;
  t->waiting = false;
  eq_tune_io_reply(t, status);
  return EQ_TUNE_OK;
}

void eq_tune_stop(eq_tune *t) {
  if (t) t->stop = 1;
}

/* ---- what can be said of it */
void eq_tune_report(const eq_tune *t, eq_tune_report_t *r) {
  const eq_tune_saved *v = t->saved;
  static const uint8_t stages[] = {EQ_TUNE_STAGE_BASELINE, EQ_TUNE_STAGE_STATS, EQ_TUNE_STAGE_STATS,
                                   EQ_TUNE_STAGE_SOLVE,    EQ_TUNE_STAGE_STEPS, EQ_TUNE_STAGE_DECIDE,
                                   EQ_TUNE_STAGE_COMMIT,   EQ_TUNE_STAGE_COMMIT};
  const bool held = t->shape.held && !v->decided_on_all && !v->leave_one_out;
  *r = (eq_tune_report_t){
      .stage = v->at == S_STEPS && v->leg == EQ_LEG_HEAD ? EQ_TUNE_STAGE_HEAD : (eq_tune_stage)stages[v->at],
      .outcome = t->done ? t->request.outcome : (eq_tune_outcome)v->outcome,
      .status = t->done ? t->request.status : (eq_tune_status)v->status,
      .step = v->step,
      .steps = t->shape.head || t->shape.noise ? eq_tune_steps_of(t) : 0,
      .forwards = v->forwards,
      .base = eq_tune_score_of(held ? &v->base_held : &v->base_all),
      .stats = eq_tune_score_of(&v->stats),
      .now = eq_tune_score_of(&v->now),
      .best = eq_tune_score_of(&v->best),
      .leave_one_out = v->leave_one_out,
      .base_weight = v->weight,
      .ridge = v->ridge,
      .temperature = v->temperature,
      .restores = v->restores,
      .dropped_steps = v->dropped,
      .rate_halvings = v->rate_halvings,
      .step_samples = t->shape.samples - (v->leave_one_out || v->decided_on_all ? 0 : t->shape.held),
  };
  if (t->io == IO_RECOVER) r->stage = EQ_TUNE_STAGE_RECOVER;
}

void eq_tune_state_hash(const eq_tune *t, uint8_t digest[32]) {
  eq_sha256 hash;
  eq_sha256_init(&hash);
  eq_sha256_update(&hash, (const uint8_t *)t->saved, t->saved_bytes);
  eq_sha256_final(&hash, digest);
}

uint64_t eq_tune_word(uint64_t run, uint32_t stream, uint64_t step, uint64_t k) {
  return eq_word(eq_stream(run, stream, step), k);
}
float eq_tune_gauss(uint64_t word) { return eq_gauss(word); }
uint32_t eq_tune_pick(uint64_t word, uint32_t below) { return eq_pick(word, below); }
