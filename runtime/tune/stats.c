/* The statistics tier: mean and deviation of every channel brought back to what they were on the base's data. */
#include "tune/number.h"
#include "tune/state.h"

void eq_tune_stats_clear(eq_tune *t) {
  t->counted = 0;
  for (uint32_t j = 0; j < t->shape.channels; j++) t->mean[j] = t->spread[j] = 0.0f;
}

/* Layers of sweep i of n, in graph order: the layers below are corrected, these are not. */
static uint32_t first_layer(const eq_tune *t, uint32_t sweep) {
  return (uint32_t)((uint64_t)t->model->layer_count * sweep / t->shape.sweeps);
}

static uint32_t first_channel(const eq_tune *t, uint32_t layer) {
  uint32_t at = 0;
  for (uint32_t l = 0; l < layer; l++) at += t->model->layers[l].channels;
  return at;
}

bool eq_tune_stats_add(eq_tune *t, const float *moments) {
  const uint32_t begin = first_channel(t, first_layer(t, t->saved->sweep));
  const uint32_t end = first_channel(t, first_layer(t, t->saved->sweep + 1));
  const float *spread = moments + t->shape.channels;
  if (!eq_all_finite(moments + begin, end - begin) || !eq_all_finite(spread + begin, end - begin)) return false;
  const float count = (float)++t->counted;
  for (uint32_t j = begin; j < end; j++) {
    const float step = moments[j] - t->mean[j];
    t->mean[j] += eq_flush(step / count);
    t->spread[j] += eq_flush(step * (moments[j] - t->mean[j]) + (spread[j] > 0.0f ? spread[j] : 0.0f));
  }
  return true;
}

void eq_tune_stats_apply(eq_tune *t) {
  const float n = (float)t->counted, w = n / (n + t->set.shrink);
  uint32_t channel = first_channel(t, first_layer(t, t->saved->sweep));
  for (uint32_t l = first_layer(t, t->saved->sweep); l < first_layer(t, t->saved->sweep + 1); l++) {
    const eq_tune_layer *layer = t->model->layers + l;
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
    channel += layer->channels;
  }
}
