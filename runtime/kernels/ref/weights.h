/* Weights of every type, one value at a time, from their canonical form. */
#ifndef EQ_REF_WEIGHTS_H
#define EQ_REF_WEIGHTS_H

#include "core/weights.h"

/* Bit i of row `row` in plane `plane`. */
static inline int32_t eq_plane_bit(const eq_weights *w, unsigned plane, size_t row, uint32_t i) {
  const uint8_t *bytes = (const uint8_t *)w->data + plane * w->plane + row * w->row;
  return bytes[i / 8] >> (i % 8) & 1;
}

/* Element i of row `row`, of an integer type. */
static inline int32_t eq_weight(const eq_weights *w, size_t row, uint32_t i) {
  if (w->type == EQ_I8) return ((const int8_t *)w->data)[row * w->row + i];
  const int32_t sign = 2 * eq_plane_bit(w, 0, row, i) - 1;
  if (w->type == EQ_B1) return sign;
  if (w->type == EQ_T2) return eq_plane_bit(w, 1, row, i) ? sign : 0;
  int32_t exponent = 0;
  for (unsigned plane = 1; plane < eq_weight_planes(w->type); plane++)
    exponent |= eq_plane_bit(w, plane, row, i) << (plane - 1);
  return sign * (1 << exponent);
}

/* Of any type. */
static inline float eq_weight_value(const eq_weights *w, size_t row, uint32_t i) {
  if (w->type == EQ_F32) return ((const float *)w->data)[row * (w->row / sizeof(float)) + i];
  return (float)eq_weight(w, row, i);
}

#endif
