#include "edgeq/ops.h"

/* A binary linear layer is a 1x1 convolution over m images of one pixel. */
static eq_conv2d as_conv2d(const eq_linear *op) {
  return (eq_conv2d){.n = op->m,
                     .h = 1,
                     .w = 1,
                     .c = op->k,
                     .o = op->o,
                     .kh = 1,
                     .kw = 1,
                     .stride_h = 1,
                     .stride_w = 1,
                     .out_h = 1,
                     .out_w = 1,
                     .groups = 1};
}

size_t eq_linear_b1b1_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads) {
  if (!op) return 0;
  const eq_conv2d conv = as_conv2d(op);
  return eq_conv2d_b1b1_scratch(&conv, e, threads);
}

eq_status eq_linear_b1b1(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  if (!op) return EQ_BAD_ARGUMENT;
  const eq_conv2d conv = as_conv2d(op);
  return eq_conv2d_b1b1(&conv, x, w, e, threads, scratch, scratch_bytes);
}
