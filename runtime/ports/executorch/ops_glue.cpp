// What follows an accumulator, on its own.
#include "epilogue.h"

namespace edgeq {
namespace {

// epilogue.out(Tensor acc, int act, Tensor params, Tensor? local, Tensor? block, Tensor? gain, *, Tensor(a!) out):
//   int32 [n][h][w][o] or [..., o] -> float of the same extents
void epilogue(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::epilogue.out", 6, 1);
  const Tensor *acc = call.tensor(ScalarType::Int, "acc must be int32");
  if (!call.require(acc && acc->dim() >= 1 && rows(*acc) <= kMost, "acc must be [n][h][w][o] or [..., o]")) return;
  const bool image = acc->dim() == 4;
  const uint32_t o = extent(*acc, acc->dim() - 1), n = image ? extent(*acc, 0) : static_cast<uint32_t>(rows(*acc)),
                 h = image ? extent(*acc, 1) : 1, w = image ? extent(*acc, 2) : 1;
  eq_epilogue e{};
  take_activation(call, o, &e);
  take_residuals(call, n, o, &e);
  e.out = static_cast<float *>(call.out_like(ScalarType::Float, *acc, o, "out must be float, extents as acc"));
  if (!call.good()) return;
  const size_t bytes = eq_epilogue_i32_scratch(n, h, w, o, &e);
  void *scratch = call.scratch(bytes);
  if (call.good()) call.finish(eq_epilogue_i32(data<int32_t>(acc), n, h, w, o, &e, scratch, bytes));
}

// mean_hw.out(Tensor x, *, Tensor(a!) out): float [n][h][w][c] -> [n][c]
void mean_hw(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::mean_hw.out", 1, 1);
  const Tensor *x = call.tensor(ScalarType::Float, "x must be float");
  if (!call.require(x && x->dim() == 4, "x must be [n][h][w][c]")) return;
  const uint32_t n = extent(*x, 0), h = extent(*x, 1), w = extent(*x, 2), c = extent(*x, 3);
  auto *out = static_cast<float *>(call.out(ScalarType::Float, {n, c}, "out must be float [n][c]"));
  if (!call.good()) return;
  const size_t bytes = eq_mean_hw_scratch(n, h, w, c);
  void *scratch = call.scratch(bytes);
  if (call.good()) call.finish(eq_mean_hw(data<float>(x), n, h, w, c, out, scratch, bytes));
}

// mean_quarters.out(Tensor x, Tensor? grid, *, Tensor(a!) out): float, or int8 with a grid [n][h][w][c] -> [n][4 c]
void mean_quarters(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::mean_quarters.out", 2, 1);
  const Tensor *x = call.optional_tensor("x must be float or int8");
  const eq_grid grid = grid_of(call, call.optional_tensor(ScalarType::Float, "grid must be float or None"));
  if (!call.require(x && x->dim() == 4, "x must be [n][h][w][c]")) return;
  const bool codes = x->scalar_type() == ScalarType::Char;
  const uint32_t n = extent(*x, 0), h = extent(*x, 1), w = extent(*x, 2), c = extent(*x, 3);
  if (!call.require(codes ? grid.inv_step > 0 : x->scalar_type() == ScalarType::Float, "int8 codes need a grid"))
    return;
  const uint64_t width = uint64_t{h > 1 ? 2u : 1u} * (w > 1 ? 2u : 1u) * c;
  auto *out = static_cast<float *>(call.out(ScalarType::Float, {n, width}, "out must be float [n][4 c]"));
  if (!call.good()) return;
  call.finish(eq_mean_quarters(codes ? nullptr : data<float>(x), codes ? data<int8_t>(x) : nullptr, grid.inv_step, n, h,
                               w, c, out));
}

const bool registered = register_operators(
    {{"edgeq::epilogue.out", epilogue}, {"edgeq::mean_hw.out", mean_hw}, {"edgeq::mean_quarters.out", mean_quarters}});

} // namespace
} // namespace edgeq
