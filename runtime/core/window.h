/* Where the windows of a convolution meet its image, and the copy of the image that has the padding written out. */
#ifndef EQ_CORE_WINDOW_H
#define EQ_CORE_WINDOW_H

#include "edgeq/types.h"

/* Extent of the padded image: all that the windows touch. */
static inline uint32_t eq_padded_extent(uint32_t out, uint32_t stride, uint32_t kernel) {
  return (out - 1) * stride + kernel;
}

/* Do all windows lie inside the image? */
static inline bool eq_windows_inside(const eq_conv2d *op) {
  return op->pad_top == 0 && op->pad_left == 0 && eq_padded_extent(op->out_h, op->stride_h, op->kh) <= op->h &&
         eq_padded_extent(op->out_w, op->stride_w, op->kw) <= op->w;
}

/* The taps [begin, end) of window `i` that lie inside the image, along one axis. */
typedef struct {
  uint32_t begin, end;
} eq_taps;
static inline eq_taps eq_taps_inside(uint32_t i, uint32_t stride, uint32_t kernel, uint32_t pad, uint32_t size) {
  const uint64_t start = (uint64_t)i * stride, stop = (uint64_t)size + pad; /* in padded coordinates */
  const uint32_t begin = start < pad ? (uint32_t)(pad - start) : 0;
  const uint32_t end = start + kernel > stop ? (uint32_t)(stop - start) : kernel;
  return (eq_taps){begin < end ? begin : end, end};
}

/* The columns [begin, end) of a padded line that come from the image. */
static inline eq_taps eq_columns_inside(const eq_conv2d *op) {
  const uint32_t extent = eq_padded_extent(op->out_w, op->stride_w, op->kw);
  const uint64_t stop = (uint64_t)op->pad_left + op->w;
  return (eq_taps){op->pad_left, stop < extent ? (uint32_t)stop : extent};
}

#endif
