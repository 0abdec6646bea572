/* kernels/mcu/mcu.h over the vector kernels of the core, for machines that have them: the operators of the micro
 * runtime stay as they are, and are fast. Products of int8 codes, and epilogues on their own, remain those of
 * microcontrollers. */
#include "kernels/mcu/mcu.h"

enum { ALIGN = 64, OPERATORS_ALIGN = 16 }; /* of the core's scratch, and of what the runtime gives */

static uint64_t with_room(size_t bytes) { return bytes ? (uint64_t)bytes + ALIGN - OPERATORS_ALIGN : 0; }

static void *aligned(void *scratch) {
  uint8_t *const p = scratch;
  return p + (ALIGN - (uintptr_t)p % ALIGN) % ALIGN;
}

uint64_t eq_conv2d_b1b1_mcu_scratch(const eq_conv2d *op, const eq_epilogue *e) {
  return with_room(eq_conv2d_b1b1_scratch(op, e, NULL));
}

void eq_conv2d_b1b1_mcu(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, void *scratch) {
  eq_conv2d_b1b1(op, x, w, e, NULL, aligned(scratch), eq_conv2d_b1b1_scratch(op, e, NULL));
}

/* The size does not depend on where the accumulators go. */
static eq_epilogue accumulators(int32_t *out) { return (eq_epilogue){.out_acc = out}; }

uint64_t eq_linear_b1b1_mcu_scratch(const eq_linear *op) {
  int32_t any;
  const eq_epilogue e = accumulators(&any);
  return with_room(eq_linear_b1b1_scratch(op, &e, NULL));
}

void eq_linear_b1b1_mcu(const eq_linear *op, const uint8_t *x, const uint8_t *w, int32_t *out, void *scratch) {
  const eq_epilogue e = accumulators(out);
  eq_linear_b1b1(op, x, w, &e, NULL, aligned(scratch), eq_linear_b1b1_scratch(op, &e, NULL));
}

uint64_t eq_conv2d_i8f32_mcu_scratch(const eq_conv2d *op, const eq_epilogue *e) {
  return with_room(eq_conv2d_i8f32_scratch(op, e, NULL));
}

void eq_conv2d_i8f32_mcu(const eq_conv2d *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                         void *scratch) {
  eq_conv2d_i8f32(op, x, q, w, e, NULL, aligned(scratch), eq_conv2d_i8f32_scratch(op, e, NULL));
}

uint64_t eq_linear_f32_mcu_scratch(const eq_linear *op, const eq_epilogue *e) {
  const size_t i8 = eq_linear_i8f32_scratch(op, e, NULL), i4 = eq_linear_i4f32_scratch(op, e, NULL);
  return with_room(i8 > i4 ? i8 : i4);
}

void eq_linear_i8f32_mcu(const eq_linear *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                         void *scratch) {
  eq_linear_i8f32(op, x, q, w, e, NULL, aligned(scratch), eq_linear_i8f32_scratch(op, e, NULL));
}

void eq_linear_i4f32_mcu(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w, const eq_epilogue *e,
                         void *scratch) {
  eq_linear_i4f32(op, x, q, w, e, NULL, aligned(scratch), eq_linear_i4f32_scratch(op, e, NULL));
}
