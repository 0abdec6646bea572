/* Float patches against float tiles: output channels in lanes, V16_ROWS pixels at a time, one product after the other.
 */
#include "declare.h"

INLINE void product(const eq_float_patches *p, const float *x, uint32_t pixels, const float *w, float *acc,
                    size_t pitch) {
  v16 sum[V16_ROWS];
  for (uint32_t i = 0; i < pixels; i++) sum[i] = v16_set(0.0f);
  for (uint32_t ky = 0; ky < p->rows; ky++)
    for (uint32_t kx = 0; kx < p->taps; kx++) {
      const float *from = x + ky * p->row + kx * p->tap;
      for (uint32_t c = 0; c < p->channels; c++, w += EQ_LANES) {
        const v16 weight = v16_load(w);
        for (uint32_t i = 0; i < pixels; i++)
          sum[i] = v16_add(sum[i], v16_mul(v16_set(from[i * p->pixel + c]), weight));
      }
    }
  for (uint32_t i = 0; i < pixels; i++) v16_store(acc + i * pitch, sum[i]);
}

void EQ_NAME(eq_accumulate_f32)(const eq_float_patches *p, uint32_t pixels, const float *tile, uint32_t outputs,
                                float *acc, size_t pitch) {
  const size_t panel = (size_t)p->rows * p->taps * p->channels * EQ_LANES;
  for (uint32_t o = 0; o < outputs; o += EQ_LANES, tile += panel) {
    uint32_t i = 0;
    for (; i + V16_ROWS <= pixels; i += V16_ROWS)
      product(p, p->x + i * p->pixel, V16_ROWS, tile, acc + i * pitch + o, pitch);
    for (; i < pixels; i++) product(p, p->x + i * p->pixel, 1, tile, acc + i * pitch + o, pitch);
  }
}

INLINE void depthwise(const eq_float_patches *p, const float *x, uint32_t pixels, v16_lanes lanes, const float *w,
                      float *acc, size_t pitch) {
  v16 sum[V16_ROWS];
  for (uint32_t i = 0; i < pixels; i++) sum[i] = v16_set(0.0f);
  for (uint32_t ky = 0; ky < p->rows; ky++)
    for (uint32_t kx = 0; kx < p->taps; kx++, w += EQ_LANES) {
      const float *from = x + ky * p->row + kx * p->tap;
      const v16 weight = v16_load(w);
      for (uint32_t i = 0; i < pixels; i++)
        sum[i] = v16_add(sum[i], v16_mul(v16_pick(from + i * p->pixel, lanes), weight));
    }
  for (uint32_t i = 0; i < pixels; i++) v16_store(acc + i * pitch, sum[i]);
}

void EQ_NAME(eq_accumulate_depthwise)(const eq_float_patches *p, uint32_t pixels, const float *tile, uint32_t first,
                                      uint32_t multiplier, uint32_t outputs, float *acc, size_t pitch) {
  const size_t panel = (size_t)p->rows * p->taps * EQ_LANES;
  for (uint32_t o = 0; o < outputs; o += EQ_LANES, tile += panel) {
    const uint32_t channel = (first + o) / multiplier;
    uint32_t lane[EQ_LANES];
    for (uint32_t j = 0; j < EQ_LANES; j++) lane[j] = (first + o + j) / multiplier - channel;
    const v16_lanes lanes = v16_lanes_of(lane);
    const float *x = p->x + channel;
    uint32_t i = 0;
    for (; i + V16_ROWS <= pixels; i += V16_ROWS)
      depthwise(p, x + i * p->pixel, V16_ROWS, lanes, tile, acc + i * pitch + o, pitch);
    for (; i < pixels; i++) depthwise(p, x + i * p->pixel, 1, lanes, tile, acc + i * pitch + o, pitch);
  }
}
