// 8- and 4-bit weights against fake-quantised float activations.
#include <algorithm>

#include "epilogue.h"

namespace edgeq {
namespace {

constexpr auto Byte = ScalarType::Byte;
constexpr auto Char = ScalarType::Char;
constexpr auto Float = ScalarType::Float;

// The arguments that both convolutions have: x, w, steps, quant, stride, same, groups, act, params.
struct Conv {
  const Tensor *x, *w;
  eq_quant quant{};
  eq_conv2d op{};
  eq_epilogue e{};

  explicit Conv(Call &call) {
    x = call.tensor(Float, "x must be float");
    w = call.tensor(Char, "w must be int8");
    if (!call.require(x && w && x->dim() == 4 && w->dim() == 4, "x must be [n][h][w][c], w [o][kh][kw][c / groups]"))
      return;
    const uint32_t c = extent(*x, 3);
    quant = take_quant(call, c);
    const uint32_t stride = call.integer(1 << 16, "stride must be positive"),
                   same = call.integer(1, "same must be 0 or 1"),
                   groups = call.integer(kMost, "groups must be positive");
    if (!call.require(stride > 0 && groups > 0 && c % groups == 0 && extent(*w, 3) == c / groups,
                      "groups must divide the channels, and w have c / groups of them"))
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
    if (!call.require(same || (op.kh <= op.h && op.kw <= op.w), "the kernel is larger than the image")) return;
    (same ? eq_conv2d_same : eq_conv2d_valid)(&op);
    take_activation(call, op.o, &e);
  }

  void run(Call &call) const {
    if (!call.good()) return;
    const uint64_t outputs = uint64_t{op.n} * op.out_h * op.out_w * op.o;
    const eq_threads *threads = threads_for(outputs * op.kh * op.kw * (op.c / op.groups));
    const size_t bytes = eq_conv2d_i8f32_scratch(&op, &e, threads);
    void *scratch = call.scratch(bytes);
    if (call.good())
      call.finish(eq_conv2d_i8f32(&op, data<float>(x), &quant, data<int8_t>(w), &e, threads, scratch, bytes));
  }
};

// conv2d_i8f32.out(Tensor x, Tensor w, Tensor? steps, int quant, int stride, int same, int groups, int act, Tensor
// params, *,
//   Tensor(a!) out)
void conv2d_i8f32(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::conv2d_i8f32.out", 9, 1);
  Conv conv(call);
  const eq_conv2d &op = conv.op;
  conv.e.out =
      static_cast<float *>(call.out(Float, {op.n, op.out_h, op.out_w, op.o}, "out must be float [n][h][w][o]"));
  conv.run(call);
}

// conv2d_i8f32_fused.out(as above, int want, *, Tensor(a!) out, Tensor(b!) bits, Tensor(c!) mean)
void conv2d_i8f32_fused(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::conv2d_i8f32_fused.out", 10, 3);
  Conv conv(call);
  take_outs(call, conv.op, &conv.e);
  conv.run(call);
}

// conv2d_i8f32_tuned.out: see Tuned
void conv2d_i8f32_tuned(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::conv2d_i8f32_tuned.out", 13, 4);
  Tuned tuned(call);
  Conv conv(call);
  take_outs(call, conv.op, &conv.e, &tuned);
  conv.run(call);
}

// linear_i8f32.out(Tensor x, Tensor w, Tensor? steps, int quant, int act, Tensor params, *, Tensor(a!) out):
//   float [..., k], int8 [o][k] -> float [..., o]; linear_i4f32.out: the same with w u8 [o][row_bytes(4 k)]
void linear(KernelRuntimeContext &context, Span<EValue *> stack, bool four_bits) {
  Call call(context, stack, four_bits ? "edgeq::linear_i4f32.out" : "edgeq::linear_i8f32.out", 6, 1);
  const Tensor *x = call.tensor(Float, "x must be float");
  const Tensor *w = call.tensor(four_bits ? Byte : Char, four_bits ? "w must be u8" : "w must be int8");
  if (!call.require(x && w && x->dim() >= 1 && w->dim() == 2 && rows(*x) <= kMost, "x must be [..., k], w [o][...]"))
    return;
  const eq_linear op{static_cast<uint32_t>(rows(*x)), extent(*x, x->dim() - 1), extent(*w, 0)};
  call.require(op.k <= kMost / 4 && extent(*w, 1) == (four_bits ? eq_row_bytes(4 * op.k) : op.k),
               "the rows of w do not hold k weights");
  const eq_quant quant = take_quant(call, op.k);
  eq_epilogue e{};
  take_activation(call, op.o, &e);
  e.out = static_cast<float *>(call.out_like(Float, *x, op.o, "out must be float [..., o]"));
  if (!call.good()) return;
  const eq_threads *threads = threads_for(uint64_t{op.m} * op.o * op.k);
  const size_t bytes = (four_bits ? eq_linear_i4f32_scratch : eq_linear_i8f32_scratch)(&op, &e, threads);
  void *scratch = call.scratch(bytes);
  if (!call.good()) return;
  call.finish(four_bits ? eq_linear_i4f32(&op, data<float>(x), &quant, data<uint8_t>(w), &e, threads, scratch, bytes)
                        : eq_linear_i8f32(&op, data<float>(x), &quant, data<int8_t>(w), &e, threads, scratch, bytes));
}
void linear_i8f32(KernelRuntimeContext &context, Span<EValue *> stack) { linear(context, stack, false); }
void linear_i4f32(KernelRuntimeContext &context, Span<EValue *> stack) { linear(context, stack, true); }

// fake_quantise.out(Tensor x, Tensor? steps, int quant, *, Tensor(a!) out): float [..., k] -> the values of its grid
void fake_quantise(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::fake_quantise.out", 3, 1);
  const Tensor *x = call.tensor(Float, "x must be float");
  if (!call.require(x && x->dim() >= 1, "x must be [..., k]")) return;
  const uint32_t k = extent(*x, x->dim() - 1);
  const eq_quant quant = take_quant(call, k);
  auto *out = static_cast<float *>(call.out_like(Float, *x, k, "out must be float, extents as x"));
  if (call.good()) call.finish(eq_fake_quantise(&quant, data<float>(x), rows(*x), k, out));
}

// squeeze_excite_i4f32.out(Tensor mean, Tensor codes, Tensor params, int hidden, int quant1, int quant2, *, Tensor(a!)
// out)
//   mean    [n][c]; out = hsigmoid(fc2(relu(fc1(mean)))), [n][o]
//   codes   fc1 [hidden][row_bytes(4 c)], then fc2 [o][row_bytes(4 hidden)]
//   params  steps of fc1 [2][c], its scale and bias [2][hidden], steps of fc2 [2][hidden], its scale and bias [2][o]
void squeeze_excite_i4f32(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::squeeze_excite_i4f32.out", 6, 1);
  const Tensor *mean = call.tensor(Float, "mean must be float");
  const Tensor *codes = call.tensor(Byte, "codes must be u8");
  const Tensor *params = call.tensor(Float, "params must be float");
  const uint32_t hidden = call.integer(kMost / 4, "hidden must be positive"),
                 quant1 = call.integer(kQuantKinds - 1, "quant1 must be 0 to 3"),
                 quant2 = call.integer(kQuantKinds - 1, "quant2 must be 0 to 3");
  if (!call.require(mean && codes && params && mean->dim() == 2 && hidden > 0, "mean must be [n][c]")) return;
  const uint32_t n = extent(*mean, 0), c = extent(*mean, 1);
  const uint64_t fixed = 2 * uint64_t{c} + 4 * uint64_t{hidden}, count = static_cast<uint64_t>(params->numel());
  if (!call.require(c <= kMost / 4 && count > fixed && (count - fixed) % 2 == 0, "params do not fit c and hidden"))
    return;
  const auto o = static_cast<uint32_t>((count - fixed) / 2);
  const uint64_t codes1 = hidden * uint64_t{eq_row_bytes(4 * c)}, codes2 = o * uint64_t{eq_row_bytes(4 * hidden)};
  call.require(static_cast<uint64_t>(codes->numel()) == codes1 + codes2, "codes do not fit c, hidden and o");
  auto *out = static_cast<float *>(call.out(Float, {n, o}, "out must be float [n][o]"));
  if (!call.good()) return;

  const float *steps1 = data<float>(params), *affine1 = steps1 + 2 * uint64_t{c},
              *steps2 = affine1 + 2 * uint64_t{hidden}, *affine2 = steps2 + 2 * uint64_t{hidden};
  const eq_linear fc1{n, c, hidden}, fc2{n, hidden, o};
  const eq_quant q1 = quant_of(quant1, steps1, c), q2 = quant_of(quant2, steps2, hidden);
  eq_epilogue e1{}, e2{};
  e1.scale = affine1;
  e1.bias = affine1 + hidden;
  e1.act = EQ_ACT_RELU;
  e2.scale = affine2;
  e2.bias = affine2 + o;
  e2.act = EQ_ACT_HSIGMOID;
  e1.out = e2.out = out; // e1's own place is known below; scratch depends on which results are stored

  const size_t between = (uint64_t{n} * hidden * sizeof(float) + 63) / 64 * 64,
               bytes =
                   std::max(eq_linear_i4f32_scratch(&fc1, &e1, nullptr), eq_linear_i4f32_scratch(&fc2, &e2, nullptr));
  auto *memory = static_cast<uint8_t *>(call.scratch(between + bytes));
  if (!call.good()) return;
  e1.out = reinterpret_cast<float *>(memory);
  const uint8_t *w = data<uint8_t>(codes);
  call.finish(eq_linear_i4f32(&fc1, data<float>(mean), &q1, w, &e1, nullptr, memory + between, bytes));
  if (call.good()) call.finish(eq_linear_i4f32(&fc2, e1.out, &q2, w + codes1, &e2, nullptr, memory + between, bytes));
}

const bool registered = register_operators({{"edgeq::conv2d_i8f32.out", conv2d_i8f32},
                                            {"edgeq::conv2d_i8f32_fused.out", conv2d_i8f32_fused},
                                            {"edgeq::conv2d_i8f32_tuned.out", conv2d_i8f32_tuned},
                                            {"edgeq::linear_i8f32.out", linear_i8f32},
                                            {"edgeq::linear_i4f32.out", linear_i4f32},
                                            {"edgeq::fake_quantise.out", fake_quantise},
                                            {"edgeq::squeeze_excite_i4f32.out", squeeze_excite_i4f32}});

} // namespace
} // namespace edgeq
