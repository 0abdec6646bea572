// Bit-planes other than signs: activations or weights with zeros, activations 0 and 1.
#include "epilogue.h"

namespace edgeq {
namespace {

constexpr auto Byte = ScalarType::Byte;
constexpr auto Char = ScalarType::Char;
constexpr auto Float = ScalarType::Float;

enum { MAP = 1, BITS = 2, MEAN = 4, CODES = 8, T2 = 16, ALL = 31 };

// pack_t2.out(Tensor x, Tensor? threshold, *, Tensor(a!) out): float [..., k] -> u8 [2][..., row_bytes(k)]
void pack_t2(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::pack_t2.out", 2, 1);
  const Tensor *x = call.tensor(Float, "x must be float");
  const Tensor *threshold = call.optional_tensor(Float, "threshold must be float or None");
  if (!call.require(x && x->dim() >= 1, "x must have at least one dimension")) return;
  const uint32_t k = extent(*x, x->dim() - 1);
  call.require(!threshold || static_cast<uint64_t>(threshold->numel()) == k, "threshold must be [k]");
  const Extents planes = Extents(*x, 0).then(eq_row_bytes(k)).behind(2);
  auto *out = static_cast<uint8_t *>(call.out(Byte, planes, "out must be u8 [2][..., row_bytes(k)]"));
  if (call.good()) call.finish(eq_pack_t2(data<float>(x), rows(*x), k, data<float>(threshold), out));
}

// act, params, skip, grid, want and the outputs out, bits, (mean,) codes of n images of h x w pixels with o channels,
// whose extents but for the last are `lead`.
void take_rest(Call &call, const Extents &lead, uint32_t n, uint32_t h, uint32_t w, uint32_t o, bool image,
               eq_epilogue *e) {
  take_activation(call, o, e);
  if (const Tensor *skip = call.optional_tensor(Float, "skip must be float or None")) {
    call.require(static_cast<uint64_t>(skip->numel()) == uint64_t{n} * h * w * o, "skip must have the output's shape");
    e->residual[0] = {data<float>(skip), h, w, o, EQ_RES_PAD, nullptr, 1.0f};
  }
  e->grid = grid_of(call, call.optional_tensor(Float, "grid must be float or None"));
  const uint32_t want = call.integer(ALL, "want must be 1 to 31");
  const Extents row = lead.then(eq_row_bytes(o));
  if (want & MAP)
    e->out = static_cast<float *>(call.out(Float, lead.then(o), "out must be float, the output's extents"));
  else
    call.skip();
  if (want & T2)
    e->out_t2 = static_cast<uint8_t *>(call.out(Byte, row.behind(2), "bits must be u8 [2][..., row]"));
  else if (want & BITS)
    e->out_bits = static_cast<uint8_t *>(call.out(Byte, row, "bits must be u8 [..., row]"));
  else
    call.skip();
  if (image && want & MEAN)
    e->out_mean = static_cast<float *>(call.out(Float, {n, o}, "mean must be float [n][o]"));
  else if (image)
    call.skip();
  if (want & CODES)
    e->out_i8 = static_cast<int8_t *>(call.out(Char, lead.then(o), "codes must be int8, the output's extents"));
  else
    call.skip();
}

struct Product {
  const char *name;
  ssize_t x_planes, w_planes;
  decltype(&eq_linear_b1t2_scratch) scratch;
  decltype(&eq_linear_b1t2) run;
  decltype(&eq_linear_b1t2_tiled) run_tiled; // over one plane of weights
};
constexpr Product kB1T2 = {"edgeq::linear_b1t2.out", 2, 1, eq_linear_b1t2_scratch, eq_linear_b1t2,
                           eq_linear_b1t2_tiled},
                  kB1U1 = {"edgeq::linear_b1u1.out", 1, 1, eq_linear_b1u1_scratch, eq_linear_b1u1,
                           eq_linear_b1u1_tiled},
                  kT2B1 = {"edgeq::linear_t2b1.out", 1, 2, eq_linear_t2b1_scratch, eq_linear_t2b1, nullptr};

// linear_{b1t2,b1u1,t2b1}.out(Tensor x, Tensor w, int k, int act, Tensor params, Tensor? skip, Tensor? grid, int want,
//   *, Tensor(a!) out, Tensor(b!) bits, Tensor(c!) codes): a ternary operand has two planes, [2][..., row]
template <const Product &product>
void linear(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, product.name, 8, 3);
  const Tensor *x = call.tensor(Byte, "x must be u8"), *w = call.tensor(Byte, "w must be u8");
  const uint32_t k = call.integer(kMost, "k must be positive");
  if (!call.require(x && w && k > 0 && x->dim() >= product.x_planes && w->dim() == product.w_planes + 1 &&
                        (product.x_planes == 1 || extent(*x, 0) == 2) && (product.w_planes == 1 || extent(*w, 0) == 2),
                    "x must be [..., row], w [o][row]; a ternary operand has two planes in front"))
    return;
  const uint32_t o = extent(*w, product.w_planes - 1);
  const uint64_t m = rows(*x) / static_cast<uint64_t>(product.x_planes);
  if (!call.require(extent(*x, x->dim() - 1) == eq_row_bytes(k) && extent(*w, product.w_planes) == eq_row_bytes(k) &&
                        m <= kMost,
                    "the rows of x and w must have row_bytes(k) bytes"))
    return;
  const eq_linear op{static_cast<uint32_t>(m), k, o};
  eq_epilogue e{};
  take_rest(call, Extents(*x, product.x_planes - 1), op.m, 1, 1, o, false, &e);
  if (!call.good()) return;
  const eq_threads *threads = threads_for(uint64_t{op.m} * o * k / 64);
  const size_t bytes = product.scratch(&op, &e, threads);
  void *scratch = call.scratch(bytes);
  if constexpr (product.w_planes == 1) {
    const void *tiles =
        call.tiles(eq_tiles_b1_bytes(o, k), [&](void *to) { return eq_tiles_b1(o, k, data<uint8_t>(w), to); });
    if (tiles) {
      call.finish(product.run_tiled(&op, data<uint8_t>(x), tiles, &e, threads, scratch, bytes));
      return;
    }
  }
  if (call.good()) call.finish(product.run(&op, data<uint8_t>(x), data<uint8_t>(w), &e, threads, scratch, bytes));
}

struct Convolution {
  const char *name;
  ssize_t x_planes, w_planes;
  decltype(&eq_conv2d_b1t2_scratch) scratch;
  decltype(&eq_conv2d_b1t2) run;
};
constexpr Convolution kConvB1T2 = {"edgeq::conv2d_b1t2.out", 2, 1, eq_conv2d_b1t2_scratch, eq_conv2d_b1t2},
                      kConvB1U1 = {"edgeq::conv2d_b1u1.out", 1, 1, eq_conv2d_b1u1_scratch, eq_conv2d_b1u1},
                      kConvT2B1 = {"edgeq::conv2d_t2b1.out", 1, 2, eq_conv2d_t2b1_scratch, eq_conv2d_t2b1};

// conv2d_{b1t2,b1u1,t2b1}.out(Tensor x, Tensor w, int channels, int stride, int padding, int groups, int act, Tensor
// params,
//   Tensor? skip, Tensor? grid, int want, *, Tensor(a!) out, Tensor(b!) bits, Tensor(c!) mean, Tensor(d!) codes)
//   x u8 [n][h][w][row], w u8 [o][kh][kw][row]; a ternary operand has two planes in front
template <const Convolution &conv>
void conv2d(KernelRuntimeContext &context, Span<EValue *> stack) {
  constexpr ssize_t of_x = conv.x_planes - 1, of_w = conv.w_planes - 1; // where their other extents begin
  Call call(context, stack, conv.name, 11, 4);
  const Tensor *x = call.tensor(Byte, "x must be u8"), *w = call.tensor(Byte, "w must be u8");
  const uint32_t c = call.integer(kMost, "channels must be positive"),
                 stride = call.integer(1 << 16, "stride must be positive"),
                 padding = call.integer(1 << 16, "padding must not be negative"),
                 groups = call.integer(kMost, "groups must be positive");
  if (!call.require(x && w && x->dim() == of_x + 4 && w->dim() == of_w + 4 && (of_x == 0 || extent(*x, 0) == 2) &&
                        (of_w == 0 || extent(*w, 0) == 2),
                    "x must be [n][h][w][row], w [o][kh][kw][row]; a ternary operand has two planes in front") ||
      !call.require(c > 0 && stride > 0 && groups > 0 && c % groups == 0, "groups must divide channels") ||
      !call.require(extent(*x, of_x + 3) == eq_row_bytes(c) && extent(*w, of_w + 3) == eq_row_bytes(c / groups),
                    "rows of x or w do not have row_bytes(channels) bytes"))
    return;
  eq_conv2d op{extent(*x, of_x),
               extent(*x, of_x + 1),
               extent(*x, of_x + 2),
               c,
               extent(*w, of_w),
               extent(*w, of_w + 1),
               extent(*w, of_w + 2),
               stride,
               stride,
               padding,
               padding,
               0,
               0,
               groups};
  if (!call.require(uint64_t{op.h} + 2 * padding >= op.kh && uint64_t{op.w} + 2 * padding >= op.kw,
                    "the kernel is larger than the padded image"))
    return;
  op.out_h = (op.h + 2 * padding - op.kh) / stride + 1;
  op.out_w = (op.w + 2 * padding - op.kw) / stride + 1;
  eq_epilogue e{};
  take_rest(call, Extents().then(op.n).then(op.out_h).then(op.out_w), op.n, op.out_h, op.out_w, op.o, true, &e);
  if (!call.good()) return;
  const eq_threads *threads = threads_for(uint64_t{op.n} * op.out_h * op.out_w * op.o * op.kh * op.kw * c / 64);
  const size_t bytes = conv.scratch(&op, &e, threads);
  void *scratch = call.scratch(bytes);
  if (call.good()) call.finish(conv.run(&op, data<uint8_t>(x), data<uint8_t>(w), &e, threads, scratch, bytes));
}

const bool registered = register_operators({{"edgeq::pack_t2.out", pack_t2},
                                            {kB1T2.name, linear<kB1T2>},
                                            {kB1U1.name, linear<kB1U1>},
                                            {kT2B1.name, linear<kT2B1>},
                                            {kConvB1T2.name, conv2d<kConvB1T2>},
                                            {kConvB1U1.name, conv2d<kConvB1U1>},
                                            {kConvT2B1.name, conv2d<kConvT2B1>}});

} // namespace
} // namespace edgeq
