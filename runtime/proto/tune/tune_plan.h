/* The plan of a tuning run as one object of bytes: what the tuning manifest, the samples' labels and the settings say.
 * Little-endian words of 4 bytes, so that its arrays are read in place (8-byte aligned memory, flash).
 *
 *   words   0 "EQTP" | 1 version | 2 base | 10 layout | 18 data (sha256 each) | 26 layers | 27 taps | 28 classes | 29
 * hidden 30 samples behind the base's triangle | 31 sigma of the head | 32 samples | 33 what there is: EQ_PLAN_MOMENTS
 * ... 34 the settings: method loss optimiser flags seed (low, high), then the fields of eq_tune_settings in order, but
 *           for cost
 *   then    layers: channels, depth, sigma, what there is (1 bias, 2 mean, 4 deviation) | taps: width, rms | bias, mean
 * and deviation of each layer, where there are | head: weights, biases, scales | triangle | labels | targets | cost
 *
 * No latents: t2, t3 and zeroqat are refused by eq_tune_check. */
#ifndef EDGEQ_TUNE_PLAN_H
#define EDGEQ_TUNE_PLAN_H

#include "edgeq/tune.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { EQ_PLAN_MOMENTS = 1, EQ_PLAN_LABELS = 2, EQ_PLAN_TRIANGLE = 4, EQ_PLAN_COST = 8, EQ_PLAN_TARGETS = 16 };
enum { EQ_PLAN_VERSION = 1, EQ_PLAN_LAYERS = 1024 /* at most; taps too */ };

typedef struct {
  eq_tune_model model;
  eq_tune_data data;
  eq_tune_plan plan; /* points to both */
} eq_plan;

/* Layers of a plan: room for so many eq_tune_layer is needed; 0: not a plan. */
uint32_t eq_plan_layers(const uint8_t *bytes, size_t size);
/* Hostile bytes: lengths are proven here, values by eq_tune_check. `bytes` must stay, 4-byte aligned. false: it does
 * not follow the format. */
bool eq_plan_read(eq_plan *plan, eq_tune_layer *layers, const uint8_t *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
