/* One ridge regression for a head over all taps, and its leave-one-out scores. Memory: one triangle, or two to choose.
 */
#include "tune/number.h"
#include "tune/state.h"

#define LARGEST_LEVERAGE 0.999f
#define FEW_RIDGE 0.03f
#define FEW_WEIGHT 30.0f
#define NEW_CLASS_RIDGE 1e-3f
#define UNSHOWN_WEIGHT 5.0f /* of the base, for each sample, where classes are left out on purpose */

static const float ridges[] = {3e-4f, 1e-3f, 3e-3f, 1e-2f, 3e-2f, 1e-1f};
static const float weights[] = {3.0f, 30.0f, 300.0f}; /* without a base there is but 0 */
enum { RIDGES = sizeof ridges / sizeof *ridges, WEIGHTS = sizeof weights / sizeof *weights };

/* 60^(k / 24) */
static const float temperatures[EQ_TUNE_TEMPERATURES] = {
    1.0f,        1.18601346f, 1.40662801f, 1.66827989f, 1.97860241f, 2.34664917f, 2.78315759f, 3.30086255f, 3.91486764f,
    4.64308596f, 5.5067625f,  6.53109503f, 7.74596691f, 9.18682098f, 10.8956938f, 12.9224405f, 15.326189f,  18.1770668f,
    21.5582466f, 25.5683727f, 30.3244343f, 35.9651871f, 42.655201f,  50.5896416f, 60.0f};

static uint32_t first_position(const eq_tune *t) { return t->saved->leg == 0 && t->shape.noise ? t->shape.held : 0; }
static uint32_t row_count(const eq_tune *t) { return t->shape.samples - first_position(t); }
static uint32_t old_classes(const eq_tune *t) { return t->set.base_classes ? t->set.base_classes : t->shape.classes; }
static bool new_classes(const eq_tune *t) { return old_classes(t) < t->shape.classes; }
static bool has_base(const eq_tune *t) { return t->model->base_triangle != NULL; }

/* How many rows each class has, in class_weight; how many of the base's classes have none. */
static uint32_t count_classes(eq_tune *t) {
  uint32_t missing = 0;
  for (uint32_t c = 0; c < t->shape.classes; c++) t->class_weight[c] = 0.0f;
  if (!t->data->labels) return 0;
  for (uint32_t p = first_position(t); p < t->shape.samples; p++)
    t->class_weight[t->data->labels[eq_sample_at(t, p)]] += 1.0f;
  for (uint32_t c = 0; c < old_classes(t); c++) missing += t->class_weight[c] == 0.0f;
  return missing;
}

/* Whether so few classes are missing that it may be chance: of n samples of classes that are all alike
 * classes (1 - 1 / classes)^n miss on average, and its square root is about how far it strays. */
static bool by_chance(uint32_t missing, uint32_t classes, uint32_t n) {
  const float keep = 1.0f - 1.0f / (float)classes;
  float expected = (float)classes;
  for (uint32_t i = 0; i < n && expected > 1e-6f; i++) expected *= keep;
  return (float)missing <= expected + 2.0f * eq_sqrt(expected);
}

/* The rules of the specification: what base_weight and ridge are where leave-one-out does not choose them (< 0). */
static void fixed_choice(eq_tune *t, float *weight, float *ridge) {
  const float base = (float)t->model->base_samples;
  const uint32_t n = row_count(t), classes = t->shape.classes, missing = count_classes(t);
  *weight = FEW_WEIGHT;
  *ridge = FEW_RIDGE;
  if (new_classes(t)) {
    *weight = base;
    *ridge = NEW_CLASS_RIDGE;
  } else {
    const bool unshown = missing && !by_chance(missing, old_classes(t), n);
    const float all = UNSHOWN_WEIGHT * (float)n;
    if (unshown) *weight = all < base ? all : base;
    if (t->shape.grid && n >= 3 * classes) *ridge = -1.0f;
    /* leave-one-out is blind to classes that are not there */
    if (t->shape.grid && n >= 5 * classes && !missing) *weight = -1.0f;
  }
  if (t->set.base_weight >= 0.0f) *weight = t->set.base_weight;
  if (t->set.ridge > 0.0f) *ridge = t->set.ridge;
  if (!has_base(t)) *weight = 0.0f;
}

/* New classes are rare among what the base has seen: their samples together weigh as much as one of its classes. */
static void weigh_classes(eq_tune *t) {
  for (uint32_t c = 0; c < t->shape.classes; c++) {
    const float count = t->class_weight[c];
    const bool is_new = c >= old_classes(t) && count > 0.0f && has_base(t);
    t->class_weight[c] =
        is_new ? eq_sqrt((float)t->model->base_samples / (float)old_classes(t) / count) : 1.0f; /* of a row */
  }
}

static float target(const eq_tune *t, uint32_t sample, uint32_t c) {
  if (t->set.loss == EQ_TUNE_SQUARES) return t->data->targets[(size_t)sample * t->shape.classes + c];
  const float hit = t->data->labels[sample] == (int32_t)c ? 1.0f : 0.0f;
  return new_classes(t) ? hit : hit - 1.0f / (float)t->shape.classes;
}

static float row_weight(const eq_tune *t, uint32_t sample) {
  return t->data->labels ? t->class_weight[t->data->labels[sample]] : 1.0f;
}

/* [h / rms ..., 1], then the targets, times the root of the row's weight */
static void build_row(const eq_tune *t, const float *taps, uint32_t sample, float *v) {
  const float weight = row_weight(t, sample);
  uint32_t at = 0;
  for (uint32_t i = 0; i < t->model->tap_count; i++)
    for (uint32_t k = 0; k < t->model->taps[i].width; k++, at++)
      v[at] = eq_flush(taps[at] / t->model->taps[i].rms * weight);
  v[at++] = weight;
  for (uint32_t c = 0; c < t->shape.classes; c++) v[at + c] = target(t, sample, c) * weight;
}

static float squares(const float *v, uint32_t count) {
  float sum = 0.0f;
  for (uint32_t k = 0; k < count; k++) sum += v[k] * v[k];
  return sum;
}

static float base_scale(const eq_tune *t, float weight) { return eq_sqrt(weight / (float)t->model->base_samples); }

/* The base's part alone. Its targets were one-hot less 1 / classes; with new classes they are one-hot. */
static void start_from_base(eq_tune *t, float weight) {
  const uint32_t d = t->shape.d, classes = t->shape.classes;
  eq_triangle_set(&t->work, weight > 0.0f ? t->model->base_triangle : NULL,
                  weight > 0.0f ? base_scale(t, weight) : 0.0f);
  if (!new_classes(t)) return;
  float *row = t->work.t;
  for (uint32_t i = 0; i < d; row += d - i + classes, i++)
    for (uint32_t c = 0; c < old_classes(t); c++) row[d - i + c] += row[d - i - 1] / (float)old_classes(t);
}

static float trace_of(const eq_tune *t, float weight) {
  if (!(weight > 0.0f)) return t->trace;
  const float scale = weight / (float)t->model->base_samples;
  return t->trace + scale * eq_triangle_trace(t->shape.d, t->shape.classes, t->model->base_triangle);
}

static const float *cached(const eq_tune *t, uint32_t position) { return t->cache + (size_t)position * t->shape.taps; }

/* Row of position p, its residual against the solution in `slope`, and 1 / (1 - leverage). */
static float left_out(eq_tune *t, const float *taps, uint32_t sample) {
  const uint32_t d = t->shape.d, classes = t->shape.classes;
  build_row(t, taps, sample, t->row);
  const float h = eq_triangle_leverage(&t->work, t->row, t->lever);
  const float weight = row_weight(t, sample);
  for (uint32_t c = 0; c < classes; c++) {
    float said = 0.0f;
    for (uint32_t k = 0; k < d; k++) said += t->row[k] * t->solution[(size_t)k * classes + c];
    t->slope[c] = (t->row[d + c] - said) / weight;
  }
  return 1.0f / (1.0f - (h < LARGEST_LEVERAGE ? h : LARGEST_LEVERAGE));
}

/* Negative where a sample's leverage is at its bound: there the row explains itself, its residual is rounding, and the
 * sum would praise the very ridge that fits noise. */
static float press(eq_tune *t) {
  float sum = 0.0f;
  for (uint32_t p = first_position(t); p < t->shape.samples; p++) {
    const float factor = left_out(t, cached(t, p), eq_sample_at(t, p));
    if (factor >= 1.0f / (1.0f - LARGEST_LEVERAGE)) return -1.0f;
    sum += squares(t->slope, t->shape.classes) * (factor * factor);
  }
  return sum;
}

/* Weight and ridge by leave-one-out, from the triangle of the data; those for few samples where it cannot judge. */
static void choose(eq_tune *t, float weight, float ridge) {
  const uint32_t ws = weight < 0.0f ? WEIGHTS : 1, rs = ridge < 0.0f ? RIDGES : 1;
  float least = -1.0f;
  t->saved->weight = weight < 0.0f ? (has_base(t) ? FEW_WEIGHT : 0.0f) : weight;
  t->saved->ridge = ridge < 0.0f ? FEW_RIDGE : ridge;
  for (uint32_t i = 0; i < ws; i++) {
    const float w = weight < 0.0f ? weights[i] : weight;
    const float unit = trace_of(t, w) / (float)t->shape.d;
    float added = 0.0f;
    eq_triangle_set(&t->work, t->data_triangle.t, 1.0f);
    if (w > 0.0f) eq_triangle_merge(&t->work, t->model->base_triangle, base_scale(t, w), t->row);
    for (uint32_t k = 0; k < rs; k++) { /* ascending, so that only the difference is to be added */
      const float r = ridge < 0.0f ? ridges[k] : ridge, lambda = r * unit;
      eq_triangle_ridge(&t->work, eq_sqrt(lambda - added), t->row);
      added = lambda;
      eq_triangle_solve(&t->work, t->solution);
      const float now = press(t);
      if (eq_finite(now) && now >= 0.0f && (least < 0.0f || now < least)) {
        least = now;
        t->saved->weight = w;
        t->saved->ridge = r;
      }
    }
  }
}

static void finish_triangle(eq_tune *t) {
  const float lambda = t->saved->ridge * trace_of(t, t->saved->weight) / (float)t->shape.d;
  eq_triangle_ridge(&t->work, eq_sqrt(lambda), t->row);
  eq_triangle_solve(&t->work, t->solution);
}

/* The rows of the cache, over what the base gives. */
static void from_cache(eq_tune *t) {
  float weight, ridge;
  fixed_choice(t, &weight, &ridge);
  weigh_classes(t);
  const bool open = weight < 0.0f || ridge < 0.0f;
  eq_triangle *into = open ? &t->data_triangle : &t->work;
  t->saved->weight = weight;
  t->saved->ridge = ridge;
  t->trace = 0.0f;
  if (open)
    eq_triangle_set(into, NULL, 0.0f);
  else
    start_from_base(t, weight);
  for (uint32_t p = first_position(t); p < t->shape.samples; p++) {
    build_row(t, cached(t, p), eq_sample_at(t, p), t->row);
    t->trace += squares(t->row, t->shape.d);
    eq_triangle_add(into, t->row, 0);
  }
  if (open) {
    t->saved->weight = t->saved->ridge = -1.0f;
    choose(t, weight, ridge);
    if (t->saved->ridge < 0.0f) { /* no finite score: let the final check tell */
      t->saved->weight = 0.0f;
      t->saved->ridge = FEW_RIDGE;
    }
    eq_triangle_set(&t->work, t->data_triangle.t, 1.0f);
    if (t->saved->weight > 0.0f)
      eq_triangle_merge(&t->work, t->model->base_triangle, base_scale(t, t->saved->weight), t->row);
  }
  finish_triangle(t);
}

static bool score_left_out(eq_tune *t, const float *taps, uint32_t sample) {
  const uint32_t classes = t->shape.classes, last = t->set.loss == EQ_TUNE_SQUARES ? 1 : EQ_TUNE_TEMPERATURES;
  const float factor = left_out(t, taps, sample);
  if (t->shape.lifts) {
    const uint32_t label = (uint32_t)t->data->labels[sample];
    t->lift[label] += t->slope[label] * (factor - 1.0f);
  }
  for (uint32_t c = 0; c < classes; c++) t->slope[c] = target(t, sample, c) - t->slope[c] * factor;
  for (uint32_t k = 0; k < last; k++) {
    for (uint32_t c = 0; c < classes; c++) t->logits[c] = t->slope[c] * temperatures[k];
    if (!eq_tune_sum_logits(t, t->warm + k, sample, t->logits)) return false;
  }
  return true;
}

/* A class that a handful of samples taught answers to others of its kind more weakly than to these: by how much,
 * leave-one-out tells. Half of it as a bias meets the old classes in the middle. */
static float lift_of(const eq_tune *t, uint32_t class) {
  if (!t->shape.lifts || class < old_classes(t)) return 0.0f;
  uint32_t count = 0;
  for (uint32_t p = first_position(t); p < t->shape.samples; p++)
    count += t->data->labels[eq_sample_at(t, p)] == (int32_t)class;
  return count ? 0.5f * t->lift[class] / (float)count : 0.0f;
}

/* AUTO: a world whose channels are not merely shifted (inverted pictures) is better off without the statistics tier.
 * Only leave-one-out can tell, so there must be enough samples for it, and of every class. */
static bool tries_plain(eq_tune *t) {
  float weight, ridge;
  if (!t->shape.plain || t->saved->plain) return false;
  fixed_choice(t, &weight, &ridge);
  return weight < 0.0f;
}

static bool plain_is_better(const eq_tune *t, const eq_tune_sum *plain) {
  const float loss = eq_tune_score_of(plain).loss;
  return loss < eq_tune_score_of(&t->saved->best).loss && loss < eq_tune_score_of(&t->saved->stats).loss;
}

static void next_after_solve(eq_tune *t) {
  if (t->shape.noise && t->saved->leg == 0)
    eq_tune_leg_start(t, EQ_LEG_NOISE);
  else if (tries_plain(t)) {
    t->saved->plain = EQ_PLAIN_TRIED;
    eq_tune_enter(t, S_SOLVE);
  } else
    eq_tune_enter(t, S_DECIDE);
  eq_tune_io_start(t, IO_SAVE);
}

/* The numbers of the solve before, should this one be a second that is no better. */
static void finish(eq_tune *t, float old_weight, float old_ridge) {
  const eq_tune_shape *s = &t->shape;
  uint32_t best = 0;
  for (uint32_t k = 1; k < EQ_TUNE_TEMPERATURES; k++)
    if (t->warm[k].count && t->warm[k].loss < t->warm[best].loss) best = k;
  if (t->saved->plain) {
    if (!plain_is_better(t, t->warm + best)) {
      t->saved->weight = old_weight;
      t->saved->ridge = old_ridge;
      next_after_solve(t);
      return;
    }
    t->saved->plain = EQ_PLAIN_BETTER;
    for (uint32_t k = 0; k < s->ac; k++) t->values[k] = 0.0f;
  }
  t->saved->temperature = temperatures[best];
  t->saved->now = t->saved->best = t->warm[best];
  t->saved->leave_one_out = 1;
  float *weight = t->tap, *bias = t->tap + (size_t)s->classes * s->taps;
  for (uint32_t c = 0; c < s->classes; c++) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < t->model->tap_count; i++)
      for (uint32_t k = 0; k < t->model->taps[i].width; k++, at++)
        weight[(size_t)c * s->taps + at] =
            eq_flush(t->solution[(size_t)at * s->classes + c] * temperatures[best] / t->model->taps[i].rms);
    bias[c] = (t->solution[(size_t)at * s->classes + c] + lift_of(t, c)) * temperatures[best];
  }
  if (!eq_all_finite(t->tap, s->tap_values)) {
    eq_tune_finish(t, EQ_TUNE_FAILED, EQ_TUNE_NOT_FINITE);
    return;
  }
  t->saved->solved = EQ_HEAD_TAPS;
  next_after_solve(t);
}

/* The statistics tier alone, on the way. */
static bool measures(const eq_tune *t) {
  return t->shape.stats && t->saved->leg == 0 && t->pass == 0 && !t->saved->plain;
}

void eq_tune_solve_start(eq_tune *t) {
  t->position = 0;
  t->pass = 0;
  if (t->saved->plain)
    for (uint32_t k = 0; k < t->shape.ac; k++) t->noisy[k] = 0.0f;
  else
    t->saved->solved = EQ_HEAD_GRAPH;
  if (measures(t)) t->saved->stats = (eq_tune_sum){0};
  for (uint32_t k = 0; k < EQ_TUNE_TEMPERATURES; k++) t->warm[k] = (eq_tune_sum){0};
  for (uint32_t c = 0; t->shape.lifts && c < t->shape.classes; c++) t->lift[c] = 0.0f;
  if (t->shape.cached) return;
  fixed_choice(t, &t->saved->weight, &t->saved->ridge);
  weigh_classes(t);
  t->trace = 0.0f;
  start_from_base(t, t->saved->weight);
}

/* First pass: the features. Without a cache a second one, for leave-one-out. */
void eq_tune_solve_advance(eq_tune *t) {
  const uint32_t outputs = EQ_TUNE_TAPS | (measures(t) ? EQ_TUNE_LOGITS : 0u);
  const float weight = t->saved->weight, ridge = t->saved->ridge;
  if (eq_tune_sweep(t, t->shape.samples, outputs)) {
    if (t->saved->plain) t->request.ac = t->noisy;
    return;
  }
  if (t->shape.cached) {
    from_cache(t);
    for (uint32_t p = first_position(t); p < t->shape.samples; p++)
      if (!score_left_out(t, cached(t, p), eq_sample_at(t, p))) {
        eq_tune_finish(t, EQ_TUNE_FAILED, EQ_TUNE_NOT_FINITE);
        return;
      }
    finish(t, weight, ridge);
  } else if (t->pass == 0) {
    finish_triangle(t);
    t->pass = 1;
    t->position = 0;
  } else
    finish(t, weight, ridge);
}

void eq_tune_solve_take(eq_tune *t, const eq_tune_outputs *outputs) {
  const uint32_t width = t->shape.taps;
  bool fine = true;
  for (uint32_t i = 0; fine && i < t->asked; i++) {
    const uint32_t position = t->position + i, sample = eq_sample_at(t, position);
    const float *taps = outputs->taps + (size_t)i * width;
    fine = eq_all_finite(taps, width);
    if (fine && measures(t)) fine = eq_tune_sum_row(t, &t->saved->stats, sample, outputs, i);
    if (!fine) break;
    if (t->shape.cached)
      __builtin_memcpy(t->cache + (size_t)position * width, taps, width * sizeof(float));
    else if (position < first_position(t))
      continue;
    else if (t->pass == 1)
      fine = score_left_out(t, taps, sample);
    else {
      build_row(t, taps, sample, t->row);
      t->trace += squares(t->row, t->shape.d);
      eq_triangle_add(&t->work, t->row, 0);
    }
  }
  if (!fine) eq_tune_finish(t, EQ_TUNE_FAILED, EQ_TUNE_NOT_FINITE);
}
