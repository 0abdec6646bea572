#include "check.h"
#include "edgeq/floating.h"
#include "isa.h"
#include "kernels/ref/ref.h"

eq_status eq_fake_quantise(const eq_quant *q, const float *x, size_t rows, uint32_t k, float *out) {
  const eq_status status = eq_check_quant(q);
  if (status != EQ_OK) return status;
  if (!x || !out) return EQ_BAD_ARGUMENT;
  const eq_kernels *kernels = eq_kernels_current();
  for (size_t i = 0; i < rows; i++, x += k, out += k)
    if (q->kind == EQ_QUANT_NONE)
      __builtin_memmove(out, x, k * sizeof *x);
    else if (kernels)
      kernels->quantise(q, x, q->scale, q->step, k, out);
    else
      for (uint32_t j = 0; j < k; j++) out[j] = eq_quantise_ref(q, j, x[j]);
  return EQ_OK;
}
