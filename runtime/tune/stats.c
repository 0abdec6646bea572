/* The statistics tier: mean and deviation of every channel brought back to what they were on the base's data. */
#include "tune/number.h"
#include "tune/state.h"

void eq_tune_stats_clear(eq_tune *t) {
  t->counted = 0;
  for (uint32_t j = 0; j < t->shape.channels; j++) t->mean[j] = t->spread[j] = 0.0f;
}

/* How many different depths lie below that of layer l. */
static uint32_t rank_of(const eq_tune_model *m, uint32_t l) {
  uint32_t rank = 0;
  for (uint32_t k = 0; k < m->layer_count; k++) {
    bool fresh = m->layers[k].depth < m->layers[l].depth;
    for (uint32_t j = 0; fresh && j < k; j++) fresh = m->layers[j].depth != m->layers[k].depth;
    rank += fresh;
  }
  return rank;
}

uint32_t eq_tune_depths(const eq_tune_model *m) {
  uint32_t most = 0;
  for (uint32_t l = 0; l < m->layer_count; l++) {
    const uint32_t rank = rank_of(m, l);
    if (rank >= most) most = rank + 1;
  }
  return most;
}

/* The first rank of a sweep. The first rank of all is measured alone, for all others follow what it gives; they are
 * shared out evenly among the other sweeps. */
static uint64_t first_rank(uint64_t depths, uint64_t sweeps, uint64_t sweep) {
  if (sweep >= sweeps) return depths;
  return sweep ? 1 + (depths - 1) * (sweep - 1) / (sweeps - 1) : 0;
}

/* What lies below a sweep's ranks is corrected by then, what it measures is not. */
static bool in_sweep(const eq_tune *t, uint32_t l) {
  const uint64_t depths = eq_tune_depths(t->model), sweeps = t->shape.sweeps, sweep = t->saved->sweep;
  const uint32_t rank = rank_of(t->model, l);
  return rank >= first_rank(depths, sweeps, sweep) && rank < first_rank(depths, sweeps, sweep + 1);
}

static bool add_layer(eq_tune *t, const float *moments, uint32_t begin, uint32_t end) {
  const float *spread = moments + t->shape.channels;
  const float count = (float)t->counted;
  if (!eq_all_finite(moments + begin, end - begin) || !eq_all_finite(spread + begin, end - begin)) return false;
  for (uint32_t j = begin; j < end; j++) {
    const float step = moments[j] - t->mean[j];
    t->mean[j] += eq_flush(step / count);
    t->spread[j] += eq_flush(step * (moments[j] - t->mean[j]) + (spread[j] > 0.0f ? spread[j] : 0.0f));
  }
  return true;
}

bool eq_tune_stats_add(eq_tune *t, const float *moments) {
  uint32_t channel = 0;
  bool fine = true;
  t->counted++;
  for (uint32_t l = 0; fine && l < t->model->layer_count; channel += t->model->layers[l].channels, l++)
    if (in_sweep(t, l)) fine = add_layer(t, moments, channel, channel + t->model->layers[l].channels);
  return fine;
}

void eq_tune_stats_apply(eq_tune *t) {
  const float n = (float)t->counted, w = n / (n + t->set.shrink);
  uint32_t channel = 0;
  for (uint32_t l = 0; l < t->model->layer_count; channel += t->model->layers[l].channels, l++) {
    const eq_tune_layer *layer = t->model->layers + l;
    if (!in_sweep(t, l)) continue;
    float *a = t->values + 2 * (size_t)channel, *c = a + layer->channels;
    for (uint32_t j = 0; j < layer->channels && layer->mean; j++) {
      const float m = t->mean[channel + j], s = eq_sqrt(t->spread[channel + j] / n);
      const float b = layer->bias ? layer->bias[j] : 0.0f, wanted = layer->deviation[j];
      /* a channel that never moved keeps its scale */
      const float ratio = wanted > 0.0f ? eq_clip(wanted / (s > 1e-6f ? s : 1e-6f), 1.0f / 3.0f, 3.0f) : 1.0f;
      a[j] = eq_flush(w * eq_log(ratio));
      const float gain = eq_exp(a[j]), target = m + w * (layer->mean[j] - m);
      c[j] = eq_clip(eq_flush((target - gain * (m - b) - b) / layer->sigma), -EQ_TUNE_LARGEST_C, EQ_TUNE_LARGEST_C);
    }
  }
}
