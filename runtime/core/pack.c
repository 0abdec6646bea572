#include "isa.h"
#include "kernels/ref/ref.h"

static eq_status check(const float *x, size_t rows, uint32_t k, const uint8_t *out) {
  if (!x || !out) return EQ_BAD_ARGUMENT;
  if (rows == 0 || k == 0 || k > INT32_MAX || rows > SIZE_MAX / sizeof(float) / k) return EQ_BAD_SHAPE;
  return EQ_OK;
}

eq_status eq_pack_b1(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  const eq_status status = check(x, rows, k, out);
  if (status != EQ_OK) return status;
  const eq_kernels *kernels = eq_kernels_current();
  (kernels ? kernels->pack_b1 : eq_pack_b1_ref)(x, rows, k, threshold, out);
  return EQ_OK;
}

eq_status eq_pack_t2(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  const eq_status status = check(x, rows, k, out);
  if (status != EQ_OK) return status;
  const eq_kernels *kernels = eq_kernels_current();
  (kernels ? kernels->pack_t2 : eq_pack_t2_ref)(x, rows, k, threshold, out);
  return EQ_OK;
}
