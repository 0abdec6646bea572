/* epilogue_i32 and mean_hw: an output without an operator in front. */
#include "check.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "output.h"

size_t eq_epilogue_i32_scratch(uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e) {
  if (!eq_extent_ok(n, h, w, o) || eq_check_epilogue(e, n, h, w, o, true) != EQ_OK) return 0;
  eq_output out;
  eq_arena arena = {0};
  eq_output_plan(&out, &arena, (const eq_kernels *)0, e, n, h, w, o, o, EQ_PIXELS, 1);
  return eq_arena_bytes(&arena);
}

eq_status eq_epilogue_i32(const int32_t *acc, uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e,
                          void *scratch, size_t scratch_bytes) {
  if (!acc) return EQ_BAD_ARGUMENT;
  if (!eq_extent_ok(n, h, w, o)) return EQ_BAD_SHAPE;
  const eq_status status = eq_check_epilogue(e, n, h, w, o, true);
  if (status != EQ_OK) return status;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_epilogue_i32_scratch(n, h, w, o, e))) return EQ_NO_SCRATCH;
  const eq_kernels *kernels = eq_kernels_current();
  if (!kernels) {
    eq_epilogue_i32_ref(acc, n, h, w, o, e, scratch);
    return EQ_OK;
  }
  eq_output out;
  eq_arena arena = {.base = scratch};
  eq_output_plan(&out, &arena, kernels, e, n, h, w, o, o, EQ_PIXELS, 1);
  eq_output_all(&out, acc, (const float *)0);
  return EQ_OK;
}

static eq_epilogue mean_only(float *out) { return (eq_epilogue){.out_mean = out}; }

size_t eq_mean_hw_scratch(uint32_t n, uint32_t h, uint32_t w, uint32_t c) {
  if (!eq_extent_ok(n, h, w, c)) return 0;
  float unused;
  const eq_epilogue e = mean_only(&unused);
  eq_output out;
  eq_arena arena = {0};
  eq_output_plan(&out, &arena, (const eq_kernels *)0, &e, n, h, w, c, c, EQ_PIXELS, 1);
  return eq_arena_bytes(&arena);
}

eq_status eq_mean_hw(const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c, float *out_mean, void *scratch,
                     size_t scratch_bytes) {
  if (!x || !out_mean) return EQ_BAD_ARGUMENT;
  if (!eq_extent_ok(n, h, w, c)) return EQ_BAD_SHAPE;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_mean_hw_scratch(n, h, w, c))) return EQ_NO_SCRATCH;
  const eq_kernels *kernels = eq_kernels_current();
  if (!kernels) {
    eq_mean_hw_ref(x, n, h, w, c, out_mean, scratch);
    return EQ_OK;
  }
  const eq_epilogue e = mean_only(out_mean);
  eq_output out;
  eq_arena arena = {.base = scratch};
  eq_output_plan(&out, &arena, kernels, &e, n, h, w, c, c, EQ_PIXELS, 1);
  eq_output_all(&out, (const int32_t *)0, x);
  return EQ_OK;
}
