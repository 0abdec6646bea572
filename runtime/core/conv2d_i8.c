/* Convolutions and linear layers over int8 activations with weights of 1 to 8 bits. */
#include "arena.h"
#include "check.h"
#include "isa.h"
#include "kernels/ref/ref.h"

enum { MOST_INPUTS_WIDE = (1 << 17) - 1, MOST_INPUTS = (1 << 20) - 1 }; /* of one output: the sum fits 31 bits */

static eq_status check(const eq_conv2d *op, eq_weight_type type, const eq_epilogue *e) {
  const eq_status status = eq_check_conv2d(op);
  if (status != EQ_OK) return status;
  const uint64_t inputs = (uint64_t)op->kh * op->kw * (op->c / op->groups);
  if (inputs > (eq_weight_bits(type) > 3 ? MOST_INPUTS_WIDE : MOST_INPUTS)) return EQ_BAD_SHAPE;
  return eq_check_epilogue(e, op->n, op->out_h, op->out_w, op->o, true);
}

static size_t scratch_size(const eq_conv2d *op, eq_weight_type type, const eq_epilogue *e, const eq_threads *threads) {
  (void)threads;
  if (check(op, type, e) != EQ_OK) return 0;
  return (size_t)op->o * sizeof(float);
}

static eq_status run(const eq_conv2d *op, eq_weight_type type, const int8_t *x, const void *w, const eq_epilogue *e,
                     const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  const eq_status status = check(op, type, e);
  if (status != EQ_OK) return status;
  if (!x || !w || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, scratch_size(op, type, e, threads))) return EQ_NO_SCRATCH;
  const eq_weights weights = eq_conv2d_weights(op, type, w);
  eq_conv2d_i8_ref(op, x, &weights, e, scratch);
  return EQ_OK;
}

/* A linear layer is a 1x1 convolution over m images of one pixel. */
static eq_conv2d pointwise(const eq_linear *op) {
  return (eq_conv2d){op->m, 1, 1, op->k, op->o, 1, 1, 1, 1, 0, 0, 1, 1, 1};
}

#define EQ_INT8_PRODUCTS(type, TYPE)                                                                                   \
  size_t eq_conv2d_##type##i8_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads) {          \
    return scratch_size(op, TYPE, e, threads);                                                                         \
  }                                                                                                                    \
  eq_status eq_conv2d_##type##i8(const eq_conv2d *op, const int8_t *x, const void *w, const eq_epilogue *e,            \
                                 const eq_threads *threads, void *scratch, size_t scratch_bytes) {                     \
    return run(op, TYPE, x, w, e, threads, scratch, scratch_bytes);                                                    \
  }                                                                                                                    \
  size_t eq_linear_##type##i8_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads) {          \
    if (eq_check_linear(op) != EQ_OK) return 0;                                                                        \
    const eq_conv2d conv = pointwise(op);                                                                              \
    return scratch_size(&conv, TYPE, e, threads);                                                                      \
  }                                                                                                                    \
  eq_status eq_linear_##type##i8(const eq_linear *op, const int8_t *x, const void *w, const eq_epilogue *e,            \
                                 const eq_threads *threads, void *scratch, size_t scratch_bytes) {                     \
    const eq_status status = eq_check_linear(op);                                                                      \
    if (status != EQ_OK) return status;                                                                                \
    const eq_conv2d conv = pointwise(op);                                                                              \
    return run(&conv, TYPE, x, w, e, threads, scratch, scratch_bytes);                                                 \
  }
EQ_INT8_PRODUCTS(b1, EQ_B1)
EQ_INT8_PRODUCTS(t2, EQ_T2)
EQ_INT8_PRODUCTS(s2, EQ_S2)
EQ_INT8_PRODUCTS(s3, EQ_S3)
EQ_INT8_PRODUCTS(s4, EQ_S4)
EQ_INT8_PRODUCTS(i8, EQ_I8)
