/* Losses, metrics, and whether something became better. */
#include "tune/number.h"
#include "tune/state.h"

void eq_tune_head(const float *x, uint32_t width, uint32_t classes, const float *weight, const float *bias,
                  float *logits) {
  for (uint32_t c = 0; c < classes; c++) {
    float sum = bias[c];
    const float *w = weight + (size_t)c * width;
    for (uint32_t k = 0; k < width; k++) sum += w[k] * x[k];
    logits[c] = sum;
  }
}

static uint32_t largest(const float *x, uint32_t count) {
  uint32_t at = 0;
  for (uint32_t c = 1; c < count; c++)
    if (x[c] > x[at]) at = c;
  return at;
}

uint32_t eq_tune_decide(const float *logits, uint32_t classes, const float *cost) {
  const uint32_t top = largest(logits, classes);
  if (!cost) return top;
  uint32_t best = 0;
  float least = 0.0f;
  for (uint32_t k = 0; k < classes; k++) {
    float expected = 0.0f; /* times the sum of the exponentials, which all k share */
    for (uint32_t c = 0; c < classes; c++) expected += eq_exp(logits[c] - logits[top]) * cost[(size_t)c * classes + k];
    if (k == 0 || expected < least) {
      best = k;
      least = expected;
    }
  }
  return best;
}

static float cross_entropy(const float *logits, uint32_t classes, uint32_t label, float *slope) {
  const float top = logits[largest(logits, classes)];
  float sum = 0.0f;
  for (uint32_t c = 0; c < classes; c++) {
    const float e = eq_exp(logits[c] - top);
    sum += e;
    if (slope) slope[c] = e;
  }
  if (slope)
    for (uint32_t c = 0; c < classes; c++) slope[c] = slope[c] / sum - (c == label ? 1.0f : 0.0f);
  return eq_log(sum) + top - logits[label];
}

static float squares(const float *logits, const float *target, uint32_t classes, float *slope) {
  float sum = 0.0f;
  for (uint32_t c = 0; c < classes; c++) {
    const float e = logits[c] - target[c];
    sum += e * e;
    if (slope) slope[c] = 2.0f * e / (float)classes;
  }
  return sum / (float)classes;
}

bool eq_tune_loss_of(const eq_tune *t, uint32_t sample, const float *logits, float *loss, float *slope) {
  const uint32_t classes = t->shape.classes;
  if (!eq_all_finite(logits, classes)) return false;
  *loss = t->set.loss == EQ_TUNE_SQUARES ? squares(logits, t->data->targets + (size_t)sample * classes, classes, slope)
                                         : cross_entropy(logits, classes, (uint32_t)t->data->labels[sample], slope);
  return eq_finite(*loss);
}

const float *eq_tune_logits_of(const eq_tune *t, const eq_tune_outputs *outputs, uint32_t i, float *scratch) {
  const eq_tune_shape *s = &t->shape;
  if (t->saved->solved != EQ_HEAD_TAPS) return outputs->logits + (size_t)i * s->classes;
  eq_tune_head(outputs->taps + (size_t)i * s->taps, s->taps, s->classes, t->tap, t->tap + (size_t)s->classes * s->taps,
               scratch);
  return scratch;
}

void eq_tune_sum_loss(eq_tune_sum *sum, float loss, float metric) {
  sum->count++;
  sum->loss += loss;
  sum->metric += metric;
  const float step = loss - sum->mean;
  sum->mean += step / (float)sum->count;
  sum->square += eq_flush(step * (loss - sum->mean));
}

bool eq_tune_sum_logits(const eq_tune *t, eq_tune_sum *sum, uint32_t sample, const float *logits) {
  float loss;
  if (!eq_tune_loss_of(t, sample, logits, &loss, NULL)) return false;
  float metric = -loss;
  if (t->data->labels) {
    const uint32_t label = (uint32_t)t->data->labels[sample],
                   said = eq_tune_decide(logits, t->shape.classes, t->set.cost);
    metric = t->set.cost ? -t->set.cost[(size_t)label * t->shape.classes + said] : said == label ? 1.0f : 0.0f;
  }
  eq_tune_sum_loss(sum, loss, metric);
  return true;
}

bool eq_tune_sum_row(eq_tune *t, eq_tune_sum *sum, uint32_t sample, const eq_tune_outputs *outputs, uint32_t i) {
  if (!t->shape.labelled) return true;
  if (t->set.loss == EQ_TUNE_SCORE) {
    if (!eq_finite(outputs->scores[i])) return false;
    eq_tune_sum_loss(sum, outputs->scores[i], -outputs->scores[i]);
    return true;
  }
  return eq_tune_sum_logits(t, sum, sample, eq_tune_logits_of(t, outputs, i, t->logits));
}

eq_tune_score eq_tune_score_of(const eq_tune_sum *sum) {
  if (!sum->count) return (eq_tune_score){0};
  return (eq_tune_score){sum->loss / (float)sum->count, sum->metric / (float)sum->count, sum->count};
}

/* Somebody who knows nothing but how often each class comes: loss, hits when saying each class as often as it comes,
 * hits when always saying the commonest. Of a single class nothing can be known: as if all came alike. */
typedef struct {
  float loss, hits, commonest;
} ignorant;

static ignorant ignorance(const eq_tune *t) {
  const uint32_t n = t->data->count, classes = t->shape.classes;
  ignorant know = {0};
  for (uint32_t c = 0; c < classes; c++) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) count += t->data->labels[i] == (int32_t)c;
    const float share = (float)count / (float)n;
    if (count) know.loss -= share * eq_log(share);
    know.hits += share * share;
    if (share > know.commonest) know.commonest = share;
  }
  if (know.loss > 0.0f) return know;
  return (ignorant){eq_log((float)classes), 1.0f / (float)classes, 1.0f / (float)classes};
}

/* Two standard errors below the loss of ignorance, or three above its hits: what was learned from shuffled labels is
 * neither. */
static bool knows_something(const eq_tune *t, const eq_tune_sum *now) {
  if (!t->data->labels || t->set.loss != EQ_TUNE_CROSS_ENTROPY) return true;
  const ignorant know = ignorance(t);
  const float n = (float)now->count, gain = know.loss - now->mean;
  if (gain > 0.0f && gain * gain * n * n > 4.0f * now->square) return true;
  if (t->set.cost || now->metric <= n * know.commonest) return false;
  const float more = now->metric - n * know.hits;
  return more > 0.0f && more * more > 9.0f * n * know.hits * (1.0f - know.hits);
}

bool eq_tune_better(const eq_tune *t, const eq_tune_sum *now, const eq_tune_sum *base) {
  if (!now->count || !base->count) return false;
  const eq_tune_score a = eq_tune_score_of(now), b = eq_tune_score_of(base);
  if (!eq_finite(a.loss) || !eq_finite(a.metric) || !knows_something(t, now)) return false;
  if (a.metric < b.metric + t->set.margin) return false;
  /* Right more often is better: losses of heads of different kinds, or of few samples, cannot be compared. */
  return a.metric > b.metric || a.loss < b.loss;
}
