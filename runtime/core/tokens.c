/* Embedding tables and normalisation. */
#include "kernels/ref/tokens.h"
#include "check.h"
#include "isa.h"

static eq_status check_lookup(const eq_lookup *op, const void *w, const void *scale, const float *out) {
  if (!op || !op->ids || !w || !scale || !out) return EQ_BAD_ARGUMENT;
  if (!eq_extent_ok(op->rows, op->k, 1, 1) || op->k > INT32_MAX / 4 || op->count == 0 || op->count > INT32_MAX ||
      !eq_extent_ok((uint32_t)op->count, op->k, 1, 1))
    return EQ_BAD_SHAPE;
  for (size_t i = 0; i < op->count; i++)
    if (op->ids[i] < 0 || op->ids[i] >= op->rows) return EQ_BAD_ARGUMENT;
  return EQ_OK;
}

eq_status eq_embedding_b1(const eq_lookup *op, const uint8_t *w, const float *scale, float *out) {
  const eq_status status = check_lookup(op, w, scale, out);
  if (status != EQ_OK) return status;
  const eq_kernels *kernels = eq_kernels_current();
  if (!kernels) {
    eq_embedding_b1_ref(op, w, scale, out);
    return EQ_OK;
  }
  for (size_t i = 0; i < op->count; i++, out += op->k)
    kernels->expand(w + (size_t)op->ids[i] * eq_row_bytes(op->k), (const uint8_t *)0, op->k, scale[op->ids[i]], out);
  return EQ_OK;
}

eq_status eq_embedding_t2(const eq_lookup *op, const uint8_t *w, const float *scale, float *out) {
  const eq_status status = check_lookup(op, w, scale, out);
  if (status != EQ_OK) return status;
  const eq_kernels *kernels = eq_kernels_current();
  if (!kernels) {
    eq_embedding_t2_ref(op, w, scale, out);
    return EQ_OK;
  }
  const size_t row = eq_row_bytes(op->k);
  for (size_t i = 0; i < op->count; i++, out += op->k) {
    const uint8_t *sign = w + (size_t)op->ids[i] * row;
    kernels->expand(sign, sign + op->rows * row, op->k, scale[op->ids[i]], out);
  }
  return EQ_OK;
}

eq_status eq_embedding_i8(const eq_lookup *op, const int8_t *w, const float *scale, float *out) {
  const eq_status status = check_lookup(op, w, scale, out);
  if (status == EQ_OK) eq_embedding_i8_ref(op, w, scale, out);
  return status;
}

eq_status eq_embedding_i4(const eq_lookup *op, const eq_weights_i4 *w, float *out) {
  if (!w || (unsigned)w->zero_kind > EQ_ZERO_F16 || (w->zero_kind != EQ_ZERO_EIGHT) != (w->zero != (const void *)0))
    return EQ_BAD_ARGUMENT;
  const eq_status status = check_lookup(op, w->codes, w->scale, out);
  if (status != EQ_OK) return status;
  if (w->group == 0) return EQ_BAD_SHAPE;
  eq_embedding_i4_ref(op, w, out);
  return EQ_OK;
}

eq_status eq_layer_norm(const eq_norm *op) {
  if (!op || !op->x || !op->gamma || !op->beta) return EQ_BAD_ARGUMENT;
  if ((!op->out && !op->out_bits && !op->out_t2) || !(op->eps >= 0.0f)) return EQ_BAD_ARGUMENT;
  if (op->rows == 0 || op->rows > INT32_MAX || !eq_extent_ok((uint32_t)op->rows, op->k, 1, 1)) return EQ_BAD_SHAPE;
  const eq_kernels *kernels = eq_kernels_current();
  if (kernels)
    kernels->layer_norm(op, 0, op->rows);
  else
    eq_layer_norm_ref(op);
  return EQ_OK;
}
