/* Fake quantisation of a row of floats (eq_quant), the kind asked for once. */
#ifndef EQ_KERNELS_MCU_QUANTISE_H
#define EQ_KERNELS_MCU_QUANTISE_H

#include "edgeq/types.h"

/* floor; |x| < 2^31, so that it fits */
static inline float eq_floor_small(float x) {
  const float whole = (float)(int32_t)x;
  return whole > x ? whole - 1.0f : whole;
}

/* to[pixel][channel] = quantised x[pixel][channel] */
static inline void eq_quantise_pixels(const eq_quant *q, const float *x, uint32_t pixels, uint32_t c, float *to) {
  const float top = q->top;
  for (; pixels; pixels--, x += c, to += c) switch (q->kind) {
    case EQ_QUANT_SYM:
      for (uint32_t i = 0; i < c; i++) {
        float t = x[i] * q->scale[i];
        t = t > -top ? t : -top; /* NaN too */
        t = t < top ? t : top;
        to[i] = eq_floor_small(t + 0.5f) * q->step[i];
      }
      break;
    case EQ_QUANT_POS:
      for (uint32_t i = 0; i < c; i++) {
        float t = x[i] * q->scale[i];
        t = t > 0.0f ? t : 0.0f;
        t = t < top + 1.0f ? t : top;
        to[i] = eq_floor_small(t) * q->step[i];
      }
      break;
    case EQ_QUANT_NONE:
      for (uint32_t i = 0; i < c; i++) to[i] = x[i];
      break;
    }
}

#endif
