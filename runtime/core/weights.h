/* The weight types, and how their rows lie. */
#ifndef EQ_CORE_WEIGHTS_H
#define EQ_CORE_WEIGHTS_H

#include "edgeq/types.h"

typedef enum { EQ_B1, EQ_T2, EQ_S2, EQ_S3, EQ_S4, EQ_I8, EQ_F32 } eq_weight_type;

static inline unsigned eq_weight_planes(eq_weight_type type) {
  static const uint8_t planes[] = {1, 2, 2, 3, 4, 1, 1};
  return planes[type];
}

/* Largest magnitude of a weight of integer type, as a power of two. */
static inline unsigned eq_weight_bits(eq_weight_type type) {
  static const uint8_t bits[] = {0, 0, 1, 3, 7, 7};
  return bits[type];
}

/* Is a weight one or more bits, each in a plane of its own? */
static inline bool eq_weight_in_planes(eq_weight_type type) { return type != EQ_I8 && type != EQ_F32; }

/* Bytes of a row of k weights in one plane. */
static inline size_t eq_weight_row(eq_weight_type type, uint32_t k) {
  return type == EQ_I8 ? k : type == EQ_F32 ? k * sizeof(float) : eq_row_bytes(k);
}

/* `row` bytes from row to row, `plane` bytes from plane to plane. */
typedef struct {
  eq_weight_type type;
  const void *data;
  size_t row, plane;
} eq_weights;

/* One input channel for each group: the rows of bit types then run over the outputs. */
static inline bool eq_depthwise(const eq_conv2d *op) { return op->groups > 1 && op->groups == op->c; }

/* The rows of a convolution's weights: [o][kh][kw], depthwise bit types [kh][kw]. */
static inline eq_weights eq_conv2d_weights(const eq_conv2d *op, eq_weight_type type, const void *data) {
  const bool over_outputs = eq_weight_in_planes(type) && eq_depthwise(op);
  const size_t row = eq_weight_row(type, over_outputs ? op->o : op->c / op->groups);
  const size_t rows = (size_t)op->kh * op->kw * (over_outputs ? 1 : op->o);
  return (eq_weights){type, data, row, rows * row};
}

#endif
