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

// latent_codes.out(Tensor x, int kind, int top, *, Tensor(a!) out): float [...] -> int8 of the same extents
void latent_codes(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::latent_codes.out", 3, 1);
  const Tensor *x = call.tensor(ScalarType::Float, "x must be float");
  const uint32_t kind = call.integer(EQ_LATENT_POWERS, "kind must be 0 to 2"),
                 top = call.integer(127, "top must be 1 to 127");
  if (!call.require(x && x->dim() >= 1, "x must have at least one dimension")) return;
  const uint32_t k = extent(*x, x->dim() - 1);
  auto *out = static_cast<int8_t *>(call.out_like(ScalarType::Char, *x, k, "out must be int8, extents as x"));
  if (call.good())
    call.finish(eq_latent_codes(static_cast<eq_latent_kind>(kind), top, data<float>(x), rows(*x) * k, out));
}

// mean_patches.out(Tensor x, int kh, int kw, int stride, int padding, *, Tensor(a!) out): int8 [n][h][w][c] ->
//   float [n][kh * kw * c]
void mean_patches(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::mean_patches.out", 5, 1);
  const Tensor *x = call.tensor(ScalarType::Char, "x must be int8");
  constexpr uint32_t most = 1 << 16;
  const uint32_t kh = call.integer(most, "kh must be positive"), kw = call.integer(most, "kw must be positive"),
                 stride = call.integer(most, "stride must be positive"),
                 padding = call.integer(most, "padding must not be negative");
  if (!call.require(x && x->dim() == 4 && kh > 0 && kw > 0 && stride > 0, "x must be [n][h][w][c], the rest positive"))
    return;
  const uint32_t n = extent(*x, 0), h = extent(*x, 1), w = extent(*x, 2), c = extent(*x, 3);
  if (!call.require(uint64_t{h} + 2 * padding >= kh && uint64_t{w} + 2 * padding >= kw, "the kernel must fit")) return;
  const eq_conv2d op{n,
                     h,
                     w,
                     c,
                     1,
                     kh,
                     kw,
                     stride,
                     stride,
                     padding,
                     padding,
                     (h + 2 * padding - kh) / stride + 1,
                     (w + 2 * padding - kw) / stride + 1,
                     1};
  auto *out = static_cast<float *>(
      call.out(ScalarType::Float, {n, uint64_t{kh} * kw * c}, "out must be float [n][kh * kw * c]"));
  if (call.good()) call.finish(eq_mean_patches(&op, data<int8_t>(x), out));
}

const bool registered = register_operators({{"edgeq::epilogue.out", epilogue},
                                            {"edgeq::mean_hw.out", mean_hw},
                                            {"edgeq::mean_quarters.out", mean_quarters},
                                            {"edgeq::latent_codes.out", latent_codes},
                                            {"edgeq::mean_patches.out", mean_patches}});

} // namespace
} // namespace edgeq
