/* What a plan comes to: checks, sizes, the place of everything in the caller's memory. */
#include "proto/sha256.h"
#include "tune/number.h"
#include "tune/state.h"

enum { MOST_CLASSES = 4096, MOST_WIDTH = 1 << 16, MOST_VALUES = 1 << 28, MOST_SAMPLES = 1 << 24, MOST_MICRO = 4096 };

const char *eq_tune_status_text(eq_tune_status status) {
  switch (status) {
  case EQ_TUNE_OK: return "ok";
  case EQ_TUNE_BAD_MODEL: return "the tuning manifest does not fit together: a size, a scale or a pointer";
  case EQ_TUNE_BAD_SETTING: return "a setting lies outside of its range, or does not go with the method or the loss";
  case EQ_TUNE_NOT_TUNABLE:
    return "this method needs taps, moments or latents that the model does not deliver; compile it with them, or take "
           "another method";
  case EQ_TUNE_NO_SAMPLES: return "the set of samples is empty";
  case EQ_TUNE_TOO_FEW: return "too few samples for this method; give 30 or more, or ask for it with few_samples";
  case EQ_TUNE_NO_LABELS: return "the samples have no labels or targets, and the method needs them";
  case EQ_TUNE_BAD_LABEL: return "a label is not a class of the model, or a target is not finite";
  case EQ_TUNE_NO_MEMORY: return "the memory is smaller than eq_tune_bytes says, or not aligned to 8 bytes";
  case EQ_TUNE_BAD_CALL: return "an answer came without a question, or to a question of another kind";
  case EQ_TUNE_BAD_REPLY: return "an output that was asked for is missing, or has another number of rows";
  case EQ_TUNE_NOT_FINITE: return "the model gave NaN or infinity; look at the samples";
  case EQ_TUNE_STORE_FAILED: return "the storage failed, or gave back other bytes than were written";
  case EQ_TUNE_CORRUPT: return "stored bytes do not follow the format, or fail their check";
  case EQ_TUNE_VERSION: return "stored by another version of EdgeQ";
  case EQ_TUNE_WRONG_BASE: return "stored for another base model";
  case EQ_TUNE_WRONG_LAYOUT: return "stored for another layout of the tunable parameters";
  case EQ_TUNE_WRONG_PLAN: return "the journal is that of a run with other settings; start afresh";
  case EQ_TUNE_WRONG_DATA: return "the journal is that of a run on other samples or labels; start afresh";
  }
  return "unknown status";
}

void eq_tune_defaults(eq_tune_settings *set, eq_tune_method method) {
  *set = (eq_tune_settings){
      .method = method,
      .micro = 16,
      .steps = 1500,
      .batch = 64,
      .eps = 0.05f,
      .lr_ac = 0.003f,
      .lr_head = 0.1f,
      .lr_bias = 0.003f,
      .lr_latent = 0.03f,
      .evaluate_every = 50,
      .patience = 3,
      .converged = 10,
      .tolerance = 0.1f,
      .held_out = 0.2f,
      .shrink = 16.0f,
      .base_weight = -1.0f,
      .ridge = -1.0f,
      .flip_share = 0.01f,
      .flip_every = 20,
  };
  switch (method) {
  case EQ_TUNE_AUTO:
    set->steps = 0;
    set->lr_bias = 0.01f;
    break;
  case EQ_TUNE_HEAD: set->lr_bias = 0.01f; break;
  case EQ_TUNE_T1:
    set->lr_bias = 0.01f;
    set->converged = 30; /* the whole schedule: its late, small steps are those that help */
    break;
  case EQ_TUNE_T0:
    set->optimiser = EQ_TUNE_SCALAR;
    set->lr_ac = 0.01f;
    break;
  case EQ_TUNE_T2:
  case EQ_TUNE_T3:
    set->lr_ac = set->lr_bias = 0.01f;
    set->converged = 30;
    break;
  case EQ_TUNE_ZEROQAT: set->eps = 0.4f; break;
  case EQ_TUNE_MEZO:
    set->optimiser = EQ_TUNE_SGD;
    set->eps = 0.001f;
    set->lr_ac = set->lr_head = set->lr_bias = set->lr_latent = 0.001f;
    break;
  case EQ_TUNE_STATS:
  case EQ_TUNE_SOLVE:
  case EQ_TUNE_METHODS: break;
  }
}

static bool positive(float x) { return eq_finite(x) && x >= 1e-12f && x <= 1e12f; }
static bool all_positive(const float *x, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (!positive(x[i])) return false;
  return true;
}

static eq_tune_status check_layers(const eq_tune_model *m, eq_tune_shape *s) {
  uint64_t channels = 0;
  if (m->layer_count && !m->layers) return EQ_TUNE_BAD_MODEL;
  for (uint32_t l = 0; l < m->layer_count; l++) {
    const eq_tune_layer *layer = m->layers + l;
    const uint32_t n = layer->channels;
    if (!n || n > MOST_WIDTH || !positive(layer->sigma) || !layer->mean != !layer->deviation) return EQ_TUNE_BAD_MODEL;
    if (layer->bias && !eq_all_finite(layer->bias, n)) return EQ_TUNE_BAD_MODEL;
    if (layer->mean && !(eq_all_finite(layer->mean, n) && eq_all_finite(layer->deviation, n))) return EQ_TUNE_BAD_MODEL;
    channels += n;
  }
  if (channels > MOST_VALUES / 2) return EQ_TUNE_BAD_MODEL;
  s->channels = (uint32_t)channels;
  s->ac = 2 * s->channels;
  return EQ_TUNE_OK;
}

static eq_tune_status check_latents(const eq_tune_model *m, eq_tune_shape *s) {
  uint64_t values = 0;
  if (m->latent_count && !m->latents) return EQ_TUNE_BAD_MODEL;
  for (uint32_t l = 0; l < m->latent_count; l++) {
    const eq_tune_latent *latent = m->latents + l;
    const uint64_t size = (uint64_t)latent->outputs * latent->inputs;
    if (latent->layer >= m->layer_count || m->layers[latent->layer].channels != latent->outputs || !latent->inputs ||
        latent->inputs > MOST_WIDTH || !latent->codes || !latent->scale || latent->low < -128 || latent->high > 127 ||
        latent->low >= latent->high || !all_positive(latent->scale, latent->outputs) ||
        !latent->start != !m->start_ac || (latent->start && !eq_all_finite(latent->start, (size_t)size)))
      return EQ_TUNE_BAD_MODEL;
    for (uint64_t i = 0; i < size; i++)
      if (latent->codes[i] < latent->low || latent->codes[i] > latent->high || (latent->binary && !latent->codes[i]))
        return EQ_TUNE_BAD_MODEL;
    values += size;
  }
  if (values > MOST_VALUES) return EQ_TUNE_BAD_MODEL;
  s->latent_values = (uint32_t)values;
  return !m->start_ac || eq_all_finite(m->start_ac, s->ac) ? EQ_TUNE_OK : EQ_TUNE_BAD_MODEL;
}

static eq_tune_status check_head_and_taps(const eq_tune_model *m, eq_tune_shape *s) {
  if (!m->classes || m->classes > MOST_CLASSES || !m->hidden || m->hidden > MOST_WIDTH || !m->head_weight ||
      !m->head_bias || !m->head_scale || !positive(m->head_sigma) || !all_positive(m->head_scale, m->classes) ||
      !eq_all_finite(m->head_weight, (size_t)m->classes * m->hidden) || !eq_all_finite(m->head_bias, m->classes))
    return EQ_TUNE_BAD_MODEL;
  s->classes = m->classes;
  s->hidden = m->hidden;
  s->head_values = m->classes * (m->hidden + 1);
  uint64_t width = 0;
  if (m->tap_count && !m->taps) return EQ_TUNE_BAD_MODEL;
  for (uint32_t i = 0; i < m->tap_count; i++) {
    if (!m->taps[i].width || m->taps[i].width > MOST_WIDTH || !positive(m->taps[i].rms)) return EQ_TUNE_BAD_MODEL;
    width += m->taps[i].width;
  }
  if (width > MOST_WIDTH) return EQ_TUNE_BAD_MODEL;
  s->taps = (uint32_t)width;
  s->d = s->taps + 1;
  if (m->base_triangle &&
      !(m->base_samples && s->taps && eq_all_finite(m->base_triangle, eq_triangle_floats(s->d, s->classes))))
    return EQ_TUNE_BAD_MODEL;
  return EQ_TUNE_OK;
}

static eq_tune_status check_data(const eq_tune_plan *plan, eq_tune_shape *s) {
  const eq_tune_data *data = plan->data;
  const bool scored = plan->settings.loss == EQ_TUNE_SCORE;
  if (!data->count) return EQ_TUNE_NO_SAMPLES;
  if (data->count > MOST_SAMPLES) return EQ_TUNE_BAD_SETTING;
  s->samples = data->count;
  if (data->labels)
    for (uint32_t i = 0; i < data->count; i++)
      if (data->labels[i] < 0 || (uint32_t)data->labels[i] >= s->classes) return EQ_TUNE_BAD_LABEL;
  if (data->targets && !eq_all_finite(data->targets, (size_t)data->count * s->classes)) return EQ_TUNE_BAD_LABEL;
  s->labelled = scored || (plan->settings.loss == EQ_TUNE_SQUARES ? data->targets != NULL : data->labels != NULL);
  if (plan->settings.cost && !data->labels) return EQ_TUNE_NO_LABELS;
  return EQ_TUNE_OK;
}

static bool share(float x) { return eq_finite(x) && x >= 0.0f && x <= 1.0f; }
static bool rate(float x) { return eq_finite(x) && x >= 0.0f && x <= 1e6f; }

static eq_tune_status check_settings(const eq_tune_settings *set, const eq_tune_shape *s) {
  if ((unsigned)set->method >= EQ_TUNE_METHODS || (unsigned)set->loss > EQ_TUNE_SCORE ||
      (unsigned)set->optimiser > EQ_TUNE_SGD || set->flags >= 512 || !set->micro || set->micro > MOST_MICRO ||
      !set->batch || set->batch > MOST_SAMPLES || !set->evaluate_every || !set->patience || !set->converged ||
      !set->flip_every || set->steps > MOST_SAMPLES || set->head_steps > MOST_SAMPLES || !positive(set->eps) ||
      !rate(set->lr_ac) || !rate(set->lr_head) || !rate(set->lr_bias) || !rate(set->lr_latent) ||
      !rate(set->tolerance) || !eq_finite(set->margin) || !share(set->held_out) || set->held_out > 0.9f ||
      !share(set->flip_share) || !rate(set->shrink) || !eq_finite(set->base_weight) || set->base_weight > 1e9f ||
      !eq_finite(set->ridge) || set->ridge > 1e6f || set->ridge == 0.0f || set->base_classes > s->classes)
    return EQ_TUNE_BAD_SETTING;
  if (set->cost && !eq_all_finite(set->cost, (size_t)s->classes * s->classes)) return EQ_TUNE_BAD_SETTING;
  return EQ_TUNE_OK;
}

/* Which legs the method has, and what its noise is. */
static void legs_of(eq_tune_shape *s, const eq_tune_plan *plan) {
  const eq_tune_settings *set = &plan->settings;
  const eq_tune_model *m = plan->model;
  const uint32_t flags = set->flags;
  const eq_tune_method method = set->method;
  const bool automatic = method == EQ_TUNE_AUTO;
  s->stats = (automatic || method == EQ_TUNE_STATS || method == EQ_TUNE_SOLVE) && !(flags & EQ_TUNE_NO_STATS);
  if (automatic) s->stats = s->stats && m->moments && m->layer_count;
  s->solve = method == EQ_TUNE_SOLVE || (automatic && s->taps && !(flags & EQ_TUNE_PREFER_HEAD));
  s->head = method == EQ_TUNE_HEAD || (automatic && !s->solve) || (method == EQ_TUNE_T1 && !(flags & EQ_TUNE_NO_CACHE));
  s->noise = method >= EQ_TUNE_T0 || (automatic && set->steps && s->channels);
  if (automatic && s->samples < EQ_TUNE_FEW && !(flags & EQ_TUNE_FEW_SAMPLES)) s->noise = false;
  s->lifts = s->solve && set->base_classes && set->base_classes < s->classes && plan->data->labels;
  s->cached = !(flags & EQ_TUNE_NO_CACHE) && (s->solve || s->head);
  s->per_sample = s->noise && (automatic || (method >= EQ_TUNE_T1 && method <= EQ_TUNE_T3));
  s->gauss = method == EQ_TUNE_ZEROQAT || method == EQ_TUNE_MEZO;
  s->weights = method == EQ_TUNE_MEZO && (flags & EQ_TUNE_WEIGHTS);
  s->start = method == EQ_TUNE_ZEROQAT && m->start_ac && !(flags & EQ_TUNE_NO_START);
  s->noise_latent = s->noise && (method == EQ_TUNE_ZEROQAT || s->weights);
  s->noise_ac = s->noise && !s->noise_latent;
  s->flips = method == EQ_TUNE_T2;
  s->learn_latent = s->flips || method == EQ_TUNE_T3 || s->noise_latent;
  s->exact_head = s->noise && !s->solve && (s->per_sample || (s->gauss && (flags & EQ_TUNE_EXACT_HEAD)));
  s->noise_head = method == EQ_TUNE_MEZO && !s->weights && !s->exact_head;
  s->learn_head = s->head || s->exact_head || s->noise_head;
  s->logged = s->noise && !s->per_sample && !s->exact_head;
  s->pairs = s->per_sample || (s->noise_ac && !s->noise_head && set->micro > 1);
}

static eq_tune_status check_method(const eq_tune_shape *s, const eq_tune_plan *plan) {
  const eq_tune_settings *set = &plan->settings;
  const eq_tune_model *m = plan->model;
  if (s->solve && !s->taps) return EQ_TUNE_NOT_TUNABLE;
  if (s->stats && !(m->moments && m->layer_count)) return EQ_TUNE_NOT_TUNABLE;
  if (s->noise_ac && !s->channels) return EQ_TUNE_NOT_TUNABLE;
  if (s->learn_latent && !m->latent_count) return EQ_TUNE_NOT_TUNABLE;
  if (!s->labelled && !(set->method == EQ_TUNE_STATS && (set->flags & EQ_TUNE_UNGUARDED))) return EQ_TUNE_NO_LABELS;
  if (set->loss == EQ_TUNE_SCORE && (s->solve || s->head || s->exact_head)) return EQ_TUNE_BAD_SETTING;
  if (s->per_sample && set->optimiser != EQ_TUNE_ADAM) return EQ_TUNE_BAD_SETTING;
  if ((set->flags & EQ_TUNE_WEIGHTS) && !s->weights) return EQ_TUNE_BAD_SETTING;
  if (set->method >= EQ_TUNE_T0 && !set->steps) return EQ_TUNE_BAD_SETTING;
  if (set->method >= EQ_TUNE_T0 && s->samples < EQ_TUNE_FEW && !(set->flags & EQ_TUNE_FEW_SAMPLES))
    return EQ_TUNE_TOO_FEW;
  if ((s->head || s->noise) && s->samples < 2) return EQ_TUNE_TOO_FEW;
  return EQ_TUNE_OK;
}

/* A held-out part for what learns by steps; of few samples and a head alone, folds. */
static void split_of(eq_tune_shape *s, const eq_tune_settings *set) {
  if (!s->head && !s->noise) return;
  const uint32_t n = s->samples;
  if (n < EQ_TUNE_FEW && !s->noise) {
    s->folds = n < EQ_TUNE_FOLDS ? n : EQ_TUNE_FOLDS;
    return;
  }
  const uint32_t wanted = (uint32_t)((float)n * set->held_out);
  s->held = wanted < EQ_TUNE_LEAST_HELD ? EQ_TUNE_LEAST_HELD : wanted;
  if (s->held > n / 2) s->held = n / 2;
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static void sizes_of(eq_tune_shape *s, const eq_tune_plan *plan) {
  const eq_tune_settings *set = &plan->settings;
  const uint32_t depths = s->stats ? eq_tune_depths(plan->model) : 0;
  s->sweeps = least(set->sweeps ? set->sweeps : EQ_TUNE_SWEEPS, depths);
  s->head_steps = set->head_steps ? set->head_steps : s->samples < 100 ? 500 : 1500;
  s->batch = least(set->batch, s->samples - s->held);
  s->sweep_rows = least(set->micro, s->samples);
  s->step_rows = s->head || s->noise ? least(set->micro, s->batch) : 0;
  s->values = s->ac + (s->learn_head ? s->head_values : 0) + (s->learn_latent ? s->latent_values : 0);
  s->tap_values = s->solve ? s->classes * (s->taps + 1) : 0;
  s->best_values = s->head || s->noise ? s->values : 0;
  const bool adam = set->optimiser == EQ_TUNE_ADAM;
  if (s->noise && (adam || s->per_sample)) { /* everything; after a solve that is ac alone */
    s->adam_from = 0;
    s->adam_values = s->values;
  } else if (s->head || s->exact_head) {
    s->adam_from = s->ac;
    s->adam_values = s->head_values;
  }
  s->square_values = s->adam_values - (s->flips ? s->latent_values : 0);
  /* leave-one-out chooses where the specification measured that it may; it needs the features twice */
  s->grid = s->solve && s->cached && !(set->base_weight >= 0.0f && set->ridge > 0.0f);
  s->plain = set->method == EQ_TUNE_AUTO && s->grid && s->stats && !s->noise && !s->lifts;
}

eq_tune_status eq_tune_shape_of(eq_tune_shape *s, const eq_tune_plan *plan) {
  *s = (eq_tune_shape){0};
  if (!plan || !plan->model || !plan->data) return EQ_TUNE_BAD_MODEL;
  eq_tune_status status = check_layers(plan->model, s);
  if (status == EQ_TUNE_OK) status = check_latents(plan->model, s);
  if (status == EQ_TUNE_OK) status = check_head_and_taps(plan->model, s);
  if (status == EQ_TUNE_OK) status = check_settings(&plan->settings, s);
  if (status == EQ_TUNE_OK) status = check_data(plan, s);
  if (status != EQ_TUNE_OK) return status;
  legs_of(s, plan);
  status = check_method(s, plan);
  if (status != EQ_TUNE_OK) return status;
  split_of(s, &plan->settings);
  sizes_of(s, plan);
  return eq_tune_place(NULL, s, plan->model->latent_count, NULL) < (size_t)UINT32_MAX / 2 ? EQ_TUNE_OK
                                                                                          : EQ_TUNE_BAD_SETTING;
}

typedef struct {
  uint8_t *base; /* NULL while measuring */
  uint64_t used;
} place;

static void *take(place *p, uint64_t count, uint64_t size) {
  void *at = p->base && count ? p->base + p->used : NULL;
  p->used += (count * size + 7) / 8 * 8;
  return at;
}

static float *floats(place *p, uint64_t count) { return take(p, count, sizeof(float)); }

/* Bytes of everything behind struct eq_tune; with t, also its pointers. */
static uint64_t arrange(eq_tune *t, const eq_tune_shape *s, uint32_t latents, uint8_t *memory) {
  eq_tune nobody;
  if (!t) t = &nobody;
  place p = {memory, 0};
  take(&p, 1, sizeof(eq_tune));
  const uint64_t start = p.used;
  t->saved = take(&p, 1, sizeof(eq_tune_saved));
  t->values = floats(&p, s->values);
  t->tap = floats(&p, s->tap_values);
  t->best = floats(&p, s->best_values);
  t->moment = floats(&p, s->adam_values);
  t->square = floats(&p, s->square_values);
  t->saved_bytes = (size_t)(p.used - start);

  const bool steps = s->head || s->noise, sides = s->noise && !s->pairs;
  const uint32_t rows = s->step_rows;
  t->order = take(&p, steps ? s->samples : 0, sizeof(uint32_t));
  t->rows = take(&p, s->sweep_rows > 2 * rows ? s->sweep_rows : 2 * rows, sizeof(uint32_t));
  t->mean = floats(&p, s->stats ? s->channels : 0);
  t->spread = floats(&p, s->stats ? s->channels : 0);
  t->cache = floats(&p, s->cached ? (uint64_t)s->samples * (s->solve ? s->taps : s->hidden) : 0);
  t->gradient = floats(&p, s->adam_values);
  const uint64_t noisy_rows = !s->noise_ac ? s->plain : s->per_sample ? 2 * rows : s->pairs ? 2 : 1;
  t->noisy = floats(&p, noisy_rows * s->ac);
  t->noisy_head = floats(&p, s->noise_head ? s->head_values : 0);
  t->noisy_latent = floats(&p, s->noise_latent ? s->latent_values : 0);
  t->latent = take(&p, s->learn_latent ? latents : 0, sizeof(float *));
  t->plus_loss = floats(&p, sides ? rows : 0);
  t->plus_logits = floats(&p, sides && s->exact_head ? (uint64_t)rows * s->classes : 0);
  t->plus_hidden = floats(&p, sides && s->exact_head ? (uint64_t)rows * s->hidden : 0);
  t->bins = take(&p, s->flips ? EQ_TUNE_BINS : 0, sizeof(uint32_t));
  t->logits = floats(&p, s->classes);
  t->slope = floats(&p, s->classes);
  const uint64_t triangle = s->solve ? eq_triangle_floats(s->d, s->classes) : 0;
  t->work = (eq_triangle){s->d, s->classes, floats(&p, triangle)};
  t->data_triangle = (eq_triangle){s->d, s->classes, floats(&p, s->grid ? triangle : 0)};
  t->row = floats(&p, s->solve ? s->d + s->classes : 0);
  t->lever = floats(&p, s->solve ? s->d : 0);
  t->solution = floats(&p, s->solve ? (uint64_t)s->d * s->classes : 0);
  t->class_weight = floats(&p, s->solve ? s->classes : 0);
  t->lift = floats(&p, s->lifts ? s->classes : 0);
  t->warm = take(&p, s->solve ? EQ_TUNE_TEMPERATURES : 0, sizeof(eq_tune_sum));
  return p.used;
}

size_t eq_tune_place(eq_tune *t, const eq_tune_shape *s, uint32_t latents, uint8_t *memory) {
  const uint64_t bytes = arrange(t, s, latents, memory);
  return bytes < SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}

eq_tune_status eq_tune_check(const eq_tune_plan *plan) {
  eq_tune_shape shape;
  return eq_tune_shape_of(&shape, plan);
}

size_t eq_tune_bytes(const eq_tune_plan *plan) {
  eq_tune_shape shape;
  return eq_tune_shape_of(&shape, plan) == EQ_TUNE_OK ? eq_tune_place(NULL, &shape, plan->model->latent_count, NULL)
                                                      : 0;
}

/* Everything that changes the result: neither the micro-batch nor whether a journal is forgotten. */
void eq_tune_hash_plan(const eq_tune_plan *plan, const eq_tune_shape *s, uint8_t digest[32]) {
  const eq_tune_settings *set = &plan->settings;
  const eq_tune_model *m = plan->model;
  const float reals[] = {set->eps,    set->lr_ac,    set->lr_head, set->lr_bias,     set->lr_latent, set->tolerance,
                         set->margin, set->held_out, set->shrink,  set->base_weight, set->ridge,     set->flip_share};
  const uint32_t words[] = {(uint32_t)set->method,
                            (uint32_t)set->loss,
                            (uint32_t)set->optimiser,
                            set->flags & ~(uint32_t)EQ_TUNE_FRESH,
                            set->steps,
                            set->batch,
                            set->head_steps,
                            set->evaluate_every,
                            set->patience,
                            set->converged,
                            set->sweeps,
                            set->base_classes,
                            set->flip_every,
                            set->cost != NULL};
  eq_sha256 hash;
  eq_sha256_init(&hash);
  eq_sha256_update(&hash, (const uint8_t *)&set->seed, sizeof set->seed);
  eq_sha256_update(&hash, (const uint8_t *)words, sizeof words);
  eq_sha256_update(&hash, (const uint8_t *)reals, sizeof reals);
  if (set->cost) eq_sha256_update(&hash, (const uint8_t *)set->cost, sizeof(float) * s->classes * s->classes);
  if (s->start) {
    eq_sha256_update(&hash, (const uint8_t *)m->start_ac, sizeof(float) * s->ac);
    for (uint32_t l = 0; l < m->latent_count; l++)
      eq_sha256_update(&hash, (const uint8_t *)m->latents[l].start,
                       sizeof(float) * m->latents[l].outputs * m->latents[l].inputs);
  }
  eq_sha256_final(&hash, digest);
}
