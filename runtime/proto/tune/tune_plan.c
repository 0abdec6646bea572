#include "proto/tune/tune_plan.h"

#include "proto/wire.h"

enum {
  MAGIC = 0x50545145, /* EQTP */
  BASE = 2,
  LAYOUT = 10,
  DATA = 18,
  LAYERS = 26,
  TAPS,
  CLASSES,
  HIDDEN,
  BASE_SAMPLES,
  HEAD_SIGMA,
  SAMPLES,
  WHAT,
  SETTINGS,
  HEAD = SETTINGS + 28, /* words of all that */
  LAYER = 4,
  TAP = 2,
};

/* The words that have not been taken. */
typedef struct {
  const uint8_t *at;
  uint64_t left;
  bool bad;
} words;

static const void *take(words *w, uint64_t count) {
  if (count > w->left) w->bad = true;
  if (w->bad) return NULL;
  const uint8_t *at = w->at;
  w->at += (size_t)count * 4;
  w->left -= count;
  return at;
}

static const void *take_if(words *w, bool there, uint64_t count) { return there ? take(w, count) : NULL; }
static uint32_t word(const uint8_t *at, uint32_t i) { return eq_load_le(at + (size_t)i * 4, 4); }

static float number(const uint8_t *at, uint32_t i) {
  const uint32_t bits = word(at, i);
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

static bool is_plan(const uint8_t *bytes, size_t size) {
  return size % 4 == 0 && size >= (size_t)HEAD * 4 && (uintptr_t)bytes % 4 == 0 && word(bytes, 0) == MAGIC &&
         word(bytes, 1) == EQ_PLAN_VERSION && word(bytes, LAYERS) <= EQ_PLAN_LAYERS &&
         word(bytes, TAPS) <= EQ_PLAN_LAYERS;
}

uint32_t eq_plan_layers(const uint8_t *bytes, size_t size) {
  if (!is_plan(bytes, size)) return 0;
  const uint32_t layers = word(bytes, LAYERS);
  return layers ? layers : 1;
}

static bool read_settings(eq_tune_settings *set, const uint8_t *at) {
  if (word(at, 0) >= EQ_TUNE_METHODS || word(at, 1) > EQ_TUNE_SCORE || word(at, 2) > EQ_TUNE_SGD) return false;
  *set = (eq_tune_settings){.method = (eq_tune_method)word(at, 0),
                            .loss = (eq_tune_loss)word(at, 1),
                            .optimiser = (eq_tune_optimiser)word(at, 2),
                            .flags = word(at, 3),
                            .seed = word(at, 4) | (uint64_t)word(at, 5) << 32};
  uint32_t *const counts[] = {&set->micro, &set->steps, &set->batch, &set->head_steps};
  float *const rates[] = {&set->eps, &set->lr_ac, &set->lr_head, &set->lr_bias, &set->lr_latent};
  uint32_t *const guards[] = {&set->evaluate_every, &set->patience, &set->converged};
  float *const shares[] = {&set->tolerance, &set->margin, &set->held_out};
  float *const ridges[] = {&set->shrink, &set->base_weight, &set->ridge};
  uint32_t i = 6;
  for (uint32_t k = 0; k < 4; k++) *counts[k] = word(at, i++);
  for (uint32_t k = 0; k < 5; k++) *rates[k] = number(at, i++);
  for (uint32_t k = 0; k < 3; k++) *guards[k] = word(at, i++);
  for (uint32_t k = 0; k < 3; k++) *shares[k] = number(at, i++);
  set->sweeps = word(at, i++);
  for (uint32_t k = 0; k < 3; k++) *ridges[k] = number(at, i++);
  set->base_classes = word(at, i++);
  set->flip_share = number(at, i++);
  set->flip_every = word(at, i);
  return true;
}

static void read_layer(words *w, const uint8_t *at, eq_tune_layer *layer) {
  const uint32_t has = word(at, 3);
  if (has > 7) w->bad = true;
  *layer = (eq_tune_layer){.channels = word(at, 0), .depth = word(at, 1), .sigma = number(at, 2)};
  layer->bias = take_if(w, has & 1, layer->channels);
  layer->mean = take_if(w, has & 2, layer->channels);
  layer->deviation = take_if(w, has & 4, layer->channels);
}

bool eq_plan_read(eq_plan *plan, eq_tune_layer *layers, const uint8_t *bytes, size_t size) {
  if (!is_plan(bytes, size)) return false;
  words w = {bytes, size / 4, false};
  const uint8_t *head = take(&w, HEAD);
  const uint32_t what = word(head, WHAT), classes = word(head, CLASSES), hidden = word(head, HIDDEN);
  eq_tune_model *m = &plan->model;
  *m = (eq_tune_model){.layer_count = word(head, LAYERS),
                       .tap_count = word(head, TAPS),
                       .layers = layers,
                       .moments = what & EQ_PLAN_MOMENTS,
                       .classes = classes,
                       .hidden = hidden,
                       .head_sigma = number(head, HEAD_SIGMA),
                       .base_samples = word(head, BASE_SAMPLES)};
  eq_copy(m->base, head + BASE * 4, sizeof m->base);
  eq_copy(m->layout, head + LAYOUT * 4, sizeof m->layout);
  const uint8_t *each = take(&w, (uint64_t)LAYER * m->layer_count);
  m->taps = take(&w, (uint64_t)TAP * m->tap_count);
  if (w.bad) return false;
  for (uint32_t l = 0; l < m->layer_count; l++) read_layer(&w, each + (size_t)l * LAYER * 4, layers + l);
  uint64_t d = 1;
  for (uint32_t i = 0; i < m->tap_count; i++) d += m->taps[i].width;
  if (w.bad || d > UINT32_MAX) return false;
  m->head_weight = take(&w, (uint64_t)classes * hidden);
  m->head_bias = take(&w, classes);
  m->head_scale = take(&w, classes);
  if (what & EQ_PLAN_TRIANGLE) {
    if (d > UINT16_MAX) return false;
    m->base_triangle = take(&w, d * (d + 1) / 2 + d * classes);
  }
  plan->data = (eq_tune_data){.count = word(head, SAMPLES)};
  eq_copy(plan->data.id, head + DATA * 4, sizeof plan->data.id);
  plan->data.labels = take_if(&w, what & EQ_PLAN_LABELS, plan->data.count);
  plan->data.targets = take_if(&w, what & EQ_PLAN_TARGETS, (uint64_t)plan->data.count * classes);
  plan->plan = (eq_tune_plan){.model = m, .data = &plan->data};
  const bool sound = read_settings(&plan->plan.settings, head + SETTINGS * 4);
  plan->plan.settings.cost = take_if(&w, what & EQ_PLAN_COST, (uint64_t)classes * classes);
  return sound && !w.bad && w.left == 0;
}
