// Binary weights and activations.
#include "epilogue.h"

namespace edgeq {
namespace {

constexpr auto Byte = ScalarType::Byte;
constexpr auto Float = ScalarType::Float;
constexpr auto Int = ScalarType::Int;

// pack_sign.out(Tensor x, Tensor? threshold, *, Tensor(a!) out): float [..., k] -> u8 [..., row_bytes(k)]
void pack_sign(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::pack_sign.out", 2, 1);
  const Tensor *x = call.tensor(Float, "x must be float");
  const Tensor *threshold = call.optional_tensor(Float, "threshold must be float or None");
  if (!call.require(x && x->dim() >= 1, "x must have at least one dimension")) return;
  const uint32_t k = extent(*x, x->dim() - 1);
  call.require(!threshold || static_cast<uint64_t>(threshold->numel()) == k, "threshold must be [k]");
  auto *out = static_cast<uint8_t *>(call.out_like(Byte, *x, eq_row_bytes(k), "out must be u8 [..., row_bytes(k)]"));
  if (call.good()) call.finish(eq_pack_b1(data<float>(x), rows(*x), k, data<float>(threshold), out));
}

// What the convolutions have in common: x, w, channels, stride, groups.
struct Conv {
  const Tensor *x, *w;
  eq_conv2d op{};

  explicit Conv(Call &call) {
    x = call.tensor(Byte, "x must be u8");
    w = call.tensor(Byte, "w must be u8");
    const uint32_t c = call.integer(kMost, "channels must be positive"),
                   stride = call.integer(1 << 16, "stride must be positive"),
                   groups = call.integer(kMost, "groups must be positive");
    if (!call.require(x && w && x->dim() == 4 && w->dim() == 4, "x must be [n][h][w][row], w [o][kh][kw][row]") ||
        !call.require(c > 0 && stride > 0 && groups > 0 && c % groups == 0, "groups must divide channels") ||
        !call.require(extent(*x, 3) == eq_row_bytes(c) && extent(*w, 3) == eq_row_bytes(c / groups),
                      "rows of x or w do not have row_bytes(channels) bytes"))
      return;
    op = {extent(*x, 0),
          extent(*x, 1),
          extent(*x, 2),
          c,
          extent(*w, 0),
          extent(*w, 1),
          extent(*w, 2),
          stride,
          stride,
          0,
          0,
          0,
          0,
          groups};
    eq_conv2d_same(&op);
  }

  void run(Call &call, const eq_epilogue &e) const {
    if (!call.good()) return;
    const eq_threads *threads = threads_for(uint64_t{op.n} * op.out_h * op.out_w * op.o * op.kh * op.kw * op.c / 64);
    const size_t bytes = eq_conv2d_b1b1_scratch(&op, &e, threads);
    void *scratch = call.scratch(bytes);
    const void *tiles = call.tiles(eq_tiles_conv2d_b1b1_bytes(&op),
                                   [&](void *to) { return eq_tiles_conv2d_b1b1(&op, data<uint8_t>(w), to); });
    if (call.good())
      call.finish(tiles ? eq_conv2d_b1b1_tiled(&op, data<uint8_t>(x), tiles, &e, threads, scratch, bytes)
                        : eq_conv2d_b1b1(&op, data<uint8_t>(x), data<uint8_t>(w), &e, threads, scratch, bytes));
  }
};

// conv2d_b1b1.out(Tensor x, Tensor w, int channels, int stride, int groups, *, Tensor(a!) out): int32 accumulators
void conv2d_b1b1(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::conv2d_b1b1.out", 5, 1);
  const Conv conv(call);
  eq_epilogue e{};
  e.out_acc = static_cast<int32_t *>(
      call.out(Int, {conv.op.n, conv.op.out_h, conv.op.out_w, conv.op.o}, "out must be int32 [n][h][w][o]"));
  conv.run(call, e);
}

// conv2d_b1b1_fused.out(Tensor x, Tensor w, int channels, int stride, int groups, int act, Tensor params, Tensor?
// local,
//   Tensor? block, Tensor? gain, int want, *, Tensor(a!) out, Tensor(b!) bits, Tensor(c!) mean)
void conv2d_b1b1_fused(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::conv2d_b1b1_fused.out", 11, 3);
  const Conv conv(call);
  eq_epilogue e{};
  take_activation(call, conv.op.o, &e);
  take_residuals(call, conv.op.n, conv.op.o, &e);
  take_outs(call, conv.op, &e);
  conv.run(call, e);
}

// conv2d_b1b1_tuned.out: see Tuned
void conv2d_b1b1_tuned(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::conv2d_b1b1_tuned.out", 14, 4);
  Tuned tuned(call);
  const Conv conv(call);
  eq_epilogue e{};
  take_activation(call, conv.op.o, &e);
  take_residuals(call, conv.op.n, conv.op.o, &e);
  take_outs(call, conv.op, &e, &tuned);
  conv.run(call, e);
}

// linear_b1b1.out(Tensor x, Tensor w, int k, *, Tensor(a!) out): u8 [..., row], u8 [o][row] -> int32 [..., o]
void linear_b1b1(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::linear_b1b1.out", 3, 1);
  const Tensor *x = call.tensor(Byte, "x must be u8");
  const Tensor *w = call.tensor(Byte, "w must be u8");
  const uint32_t k = call.integer(kMost, "k must be positive");
  if (!call.require(x && w && x->dim() >= 1 && w->dim() == 2 && k > 0 && extent(*w, 1) == eq_row_bytes(k) &&
                        extent(*x, x->dim() - 1) == eq_row_bytes(k) && rows(*x) <= kMost,
                    "x must be [..., row_bytes(k)], w [o][row_bytes(k)]"))
    return;
  const eq_linear op{static_cast<uint32_t>(rows(*x)), k, extent(*w, 0)};
  eq_epilogue e{};
  e.out_acc = static_cast<int32_t *>(call.out_like(Int, *x, op.o, "out must be int32 [..., o]"));
  const eq_threads *threads = threads_for(uint64_t{op.m} * op.o * op.k / 64);
  if (!call.good()) return;
  const size_t bytes = eq_linear_b1b1_scratch(&op, &e, threads);
  void *scratch = call.scratch(bytes);
  const void *tiles = call.tiles(eq_tiles_b1b1_bytes(op.o, op.k),
                                 [&](void *to) { return eq_tiles_b1b1(op.o, op.k, data<uint8_t>(w), to); });
  if (call.good())
    call.finish(tiles ? eq_linear_b1b1_tiled(&op, data<uint8_t>(x), tiles, &e, threads, scratch, bytes)
                      : eq_linear_b1b1(&op, data<uint8_t>(x), data<uint8_t>(w), &e, threads, scratch, bytes));
}

const bool registered = register_operators({{"edgeq::pack_sign.out", pack_sign},
                                            {"edgeq::conv2d_b1b1.out", conv2d_b1b1},
                                            {"edgeq::conv2d_b1b1_fused.out", conv2d_b1b1_fused},
                                            {"edgeq::conv2d_b1b1_tuned.out", conv2d_b1b1_tuned},
                                            {"edgeq::linear_b1b1.out", linear_b1b1}});

} // namespace
} // namespace edgeq
