// Quantisers to signed 8 bits, and products of such and of float activations with weights of every type.
#include <iterator>
#include <optional>
#include <utility>

#include "epilogue.h"

namespace edgeq {
namespace {

constexpr auto Byte = ScalarType::Byte;
constexpr auto Char = ScalarType::Char;
constexpr auto Float = ScalarType::Float;
constexpr auto Half = ScalarType::Half;

// quantise_i8.out(Tensor x, Tensor grid, *, Tensor(a!) out): float [..., k] -> int8 of the same extents
void quantise(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::quantise_i8.out", 2, 1);
  const Tensor *x = call.tensor(Float, "x must be float");
  const eq_codes q{EQ_CODES_STATIC, grid_of(call, call.tensor(Float, "grid must be float")), 0};
  if (!call.require(x && x->dim() >= 1, "x must have at least one dimension")) return;
  const uint32_t k = extent(*x, x->dim() - 1);
  auto *out = static_cast<int8_t *>(call.out_like(Char, *x, k, "out must be int8, extents as x"));
  const eq_threads *threads = threads_for(uint64_t{rows(*x)} * k * EQ_CODES_COST);
  if (call.good()) call.finish(eq_quantise_i8(&q, data<float>(x), rows(*x), k, out, nullptr, nullptr, threads));
}

// quantise_rows_i8.out(Tensor x, int kind, float clip, *, Tensor(a!) out, Tensor(b!) rows)
void quantise_rows(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::quantise_rows_i8.out", 3, 2);
  const Tensor *x = call.tensor(Float, "x must be float");
  const uint32_t kind = call.integer(EQ_CODES_BLOCK32_SYM, "kind must be 1 to 5");
  const auto clip = static_cast<float>(call.number("clip must be a float"));
  if (!call.require(x && x->dim() >= 1 && kind > 0 && rows(*x) <= kMost, "x must be [..., k], kind 1 to 5")) return;
  const uint32_t k = extent(*x, x->dim() - 1);
  const uint64_t m = rows(*x), blocks = (uint64_t{k} + EQ_CODES_BLOCK - 1) / EQ_CODES_BLOCK;
  const bool asymmetric = kind == EQ_CODES_ROW_ASYM || kind == EQ_CODES_TENSOR_ASYM,
             block = kind == EQ_CODES_BLOCK32_SYM;
  auto *out = static_cast<int8_t *>(call.out_like(Char, *x, k, "out must be int8, extents as x"));
  auto *steps = static_cast<float *>(call.out(Float,
                                              {block        ? m
                                               : asymmetric ? 2u
                                                            : 1u,
                                               block ? blocks : m},
                                              "rows must be float [1 or 2][rows], or [rows][blocks]"));
  const eq_codes q{static_cast<eq_codes_kind>(kind), {}, clip};
  const eq_threads *threads = threads_for(m * k * EQ_CODES_COST);
  if (call.good())
    call.finish(eq_quantise_i8(&q, data<float>(x), m, k, out, steps, asymmetric ? steps + m : nullptr, threads));
}

// An operator of one weight and one activation type; planes 0: weights are int8 or float.
template <class Geometry>
struct Product {
  const char *name, *tuned_name;
  ScalarType x_type, w_type;
  unsigned planes;
  size_t (*scratch)(const Geometry *, const eq_epilogue *, const eq_threads *);
  eq_status (*run)(const Geometry *, const void *x, const void *w, const eq_epilogue *, const eq_threads *, void *,
                   size_t);
};
#define EQ_PRODUCT(operation, type, activations, element, x_type, w_type, planes)                                      \
  {"edgeq::" #operation "_" #type #activations ".out",                                                                 \
   "edgeq::" #operation "_" #type #activations "_tuned.out",                                                           \
   x_type,                                                                                                             \
   w_type,                                                                                                             \
   planes,                                                                                                             \
   eq_##operation##_##type##activations##_scratch,                                                                     \
   [](const eq_##operation *op, const void *x, const void *w, const eq_epilogue *e, const eq_threads *threads,         \
      void *scratch, size_t bytes) {                                                                                   \
     return eq_##operation##_##type##activations(op, static_cast<const element *>(x), w, e, threads, scratch, bytes);  \
   }}
#define EQ_OVER_I8(operation, type, w_type, planes) EQ_PRODUCT(operation, type, i8, int8_t, Char, w_type, planes)
#define EQ_OVER_F32(operation, type, w_type, planes) EQ_PRODUCT(operation, type, f32, float, Float, w_type, planes)
constexpr Product<eq_conv2d> kConv2d[] = {EQ_OVER_I8(conv2d, b1, Byte, 1),  EQ_OVER_I8(conv2d, t2, Byte, 2),
                                          EQ_OVER_I8(conv2d, s2, Byte, 2),  EQ_OVER_I8(conv2d, s3, Byte, 3),
                                          EQ_OVER_I8(conv2d, s4, Byte, 4),  EQ_OVER_I8(conv2d, i8, Char, 0),
                                          EQ_OVER_F32(conv2d, s2, Byte, 2), EQ_OVER_F32(conv2d, s3, Byte, 3),
                                          EQ_OVER_F32(conv2d, s4, Byte, 4), EQ_OVER_F32(conv2d, f32, Float, 0)};
constexpr Product<eq_linear> kLinear[] = {
    EQ_OVER_I8(linear, b1, Byte, 1),  EQ_OVER_I8(linear, t2, Byte, 2),  EQ_OVER_I8(linear, s2, Byte, 2),
    EQ_OVER_I8(linear, s3, Byte, 3),  EQ_OVER_I8(linear, s4, Byte, 4),  EQ_OVER_I8(linear, i8, Char, 0),
    EQ_OVER_F32(linear, b1, Byte, 1), EQ_OVER_F32(linear, t2, Byte, 2), EQ_OVER_F32(linear, s2, Byte, 2),
    EQ_OVER_F32(linear, s3, Byte, 3), EQ_OVER_F32(linear, s4, Byte, 4), EQ_OVER_F32(linear, f32, Float, 0)};

// A product whose weights can be tiled ahead.
struct TiledLinear {
  size_t (*tile_bytes)(uint32_t o, uint32_t k);
  eq_status (*make)(uint32_t o, uint32_t k, const void *w, void *tiles);
  size_t (*scratch)(const eq_linear *op, const void *tiles, const eq_epilogue *e, const eq_threads *threads);
  eq_status (*run)(const eq_linear *op, const int8_t *x, const void *tiles, const eq_epilogue *e,
                   const eq_threads *threads, void *scratch, size_t bytes);
};
#define EQ_TILED(tiles, types)                                                                                         \
  {eq_tiles_##tiles##_bytes, eq_tiles_##tiles, eq_linear_##types##_tiled_scratch, eq_linear_##types##_tiled}
constexpr TiledLinear kTiles[] = {EQ_TILED(t2, t2i8), EQ_TILED(s2, s2i8), EQ_TILED(s3, s3i8), EQ_TILED(s4, s4i8),
                                  EQ_TILED(i8, i8i8)};
constexpr const TiledLinear *kTiledLinear[std::size(kLinear)] = {nullptr,    &kTiles[0], &kTiles[1],
                                                                 &kTiles[2], &kTiles[3], &kTiles[4]};

enum { MAP = 1, BITS = 2, MEAN = 4, CODES = 8, T2 = 16, ALL = 31, MOMENTS = Tuned::kMoments };

void take_map(Call &call, uint32_t want, std::initializer_list<uint64_t> extents, eq_epilogue *e) {
  if (want & MAP)
    e->out = static_cast<float *>(call.out(Float, extents, "out must be float, the output's extents"));
  else
    call.skip();
}

// The outputs [n][h][w][o] of a convolution.
void take_image(Call &call, uint32_t want, const eq_conv2d &op, eq_epilogue *e) {
  take_map(call, want, {op.n, op.out_h, op.out_w, op.o}, e);
  if (want & T2)
    e->out_t2 = static_cast<uint8_t *>(
        call.out(Byte, {2, op.n, op.out_h, op.out_w, eq_row_bytes(op.o)}, "bits: u8 [2][n][h][w][row]"));
  else if (want & BITS)
    e->out_bits = static_cast<uint8_t *>(
        call.out(Byte, {op.n, op.out_h, op.out_w, eq_row_bytes(op.o)}, "bits: u8 [n][h][w][row]"));
  else
    call.skip();
  if (want & MEAN)
    e->out_mean = static_cast<float *>(call.out(Float, {op.n, op.o}, "mean must be float [n][o]"));
  else
    call.skip();
  if (want & CODES)
    e->out_i8 =
        static_cast<int8_t *>(call.out(Char, {op.n, op.out_h, op.out_w, op.o}, "codes must be int8 [n][h][w][o]"));
  else
    call.skip();
}

// conv2d_{b1,t2,s2,s3,s4,i8}i8.out and conv2d_{s2,s3,s4,f32}f32.out(Tensor x, Tensor w, int stride, int padding, int
// groups, Tensor? rows, int act,
//   Tensor params, Tensor? skip, Tensor? skip_step, Tensor? grid, int want, *, Tensor(a!) out, Tensor(b!) bits,
//   Tensor(c!) mean, Tensor(d!) codes)
//   x int8 or float [n][h][w][c]; w u8 [planes][o][kh][kw][row], depthwise [planes][kh][kw][row of o]; int8 or float
//   [o][kh][kw][c / groups]
// conv2d_*_tuned.out: see Tuned
template <size_t index, bool is_tuned>
void conv2d(KernelRuntimeContext &context, Span<EValue *> stack) {
  constexpr const Product<eq_conv2d> &product = kConv2d[index];
  constexpr size_t before = is_tuned ? 3 : 0;
  Call call(context, stack, is_tuned ? product.tuned_name : product.name, before + 12, is_tuned ? 5 : 4);
  [[maybe_unused]] std::optional<Tuned> tuned;
  if constexpr (is_tuned) tuned.emplace(call);
  const Tensor *x = call.tensor(product.x_type, "x must be int8, or float"),
               *w = call.tensor(product.w_type, "w must be u8 planes, int8 or float");
  const uint32_t stride = call.integer(1 << 16, "stride must be positive"),
                 padding = call.integer(1 << 16, "padding must not be negative"),
                 groups = call.integer(kMost, "groups must be positive");
  if (!call.require(x && w && x->dim() == 4 && stride > 0 && groups > 0, "x must be [n][h][w][c], stride positive"))
    return;
  const uint32_t c = extent(*x, 3);
  const bool depthwise = product.planes && groups == c && groups > 1;
  const ssize_t taps = product.planes && !depthwise ? 2 : 1; // where the kernel's extents are
  if (!call.require(w->dim() == taps + 3 && c % groups == 0 && (!product.planes || extent(*w, 0) == product.planes),
                    "w must be [planes][o][kh][kw][row], depthwise [planes][kh][kw][row], i8 [o][kh][kw][c / groups]"))
    return;
  // A depthwise row may hold up to 63 channels less than its bits: params tell how many there are.
  const EValue *params = stack.size() > before + 7 ? stack[before + 7] : nullptr;
  const bool known = params && params->isTensor() && params->toTensor().dim() == 2;
  if (!call.require(known, "params must be [rows][output channels]")) return;
  eq_conv2d op{extent(*x, 0),
               extent(*x, 1),
               extent(*x, 2),
               c,
               extent(params->toTensor(), 1),
               extent(*w, taps),
               extent(*w, taps + 1),
               stride,
               stride,
               padding,
               padding,
               0,
               0,
               groups};
  const size_t row = product.planes ? eq_row_bytes(depthwise ? op.o : c / groups) : c / groups;
  if (!call.require(extent(*w, taps + 2) == row && (depthwise || extent(*w, taps - 1) == op.o),
                    "w does not fit the channels of x and params") ||
      !call.require(uint64_t{op.h} + 2 * padding >= op.kh && uint64_t{op.w} + 2 * padding >= op.kw,
                    "the kernel is larger than the padded image"))
    return;
  op.out_h = (op.h + 2 * padding - op.kh) / stride + 1;
  op.out_w = (op.w + 2 * padding - op.kw) / stride + 1;
  eq_epilogue e{};
  take_integer(call, op.n, op.out_h, op.out_w, op.o, &e);
  const uint32_t want = call.integer(ALL | (is_tuned ? MOMENTS : 0), "want must be 1 to 31, or with moments to 63");
  take_image(call, want, op, &e);
  if constexpr (is_tuned) {
    tuned->fill(call, op.n, op.o, &e);
    tuned->take_moments(call, want, op.n, op.o);
  }
  if (!call.good()) return;
  const eq_threads *threads = threads_for(uint64_t{op.n} * op.out_h * op.out_w * op.o * op.kh * op.kw * (c / groups));
  const size_t bytes = product.scratch(&op, &e, threads);
  void *scratch = call.scratch(bytes);
  if (call.good()) call.finish(product.run(&op, x->const_data_ptr(), w->const_data_ptr(), &e, threads, scratch, bytes));
}

// What ends the linear operators: rows, act, params, skip, skip_step, grid, want and the outputs [..., o].
void take_linear(Call &call, const Tensor &x, uint32_t o, eq_epilogue *e) {
  take_integer(call, static_cast<uint32_t>(rows(x)), 1, 1, o, e);
  const uint32_t want = call.integer(ALL, "want must be 1 to 31");
  if (want & MAP)
    e->out = static_cast<float *>(call.out_like(Float, x, o, "out must be float [..., o]"));
  else
    call.skip();
  if (want & T2)
    e->out_t2 = static_cast<uint8_t *>(call.planes_like(2, x, eq_row_bytes(o), "bits must be u8 [2][..., row]"));
  else if (want & BITS)
    e->out_bits = static_cast<uint8_t *>(call.out_like(Byte, x, eq_row_bytes(o), "bits must be u8 [..., row]"));
  else
    call.skip();
  if (want & CODES)
    e->out_i8 = static_cast<int8_t *>(call.out_like(Char, x, o, "codes must be int8 [..., o]"));
  else
    call.skip();
}

// linear_{b1,t2,s2,s3,s4,i8}i8.out and linear_{b1,t2,s2,s3,s4,f32}f32.out(Tensor x, Tensor w, Tensor? rows, int act,
// Tensor params, Tensor? skip,
//   Tensor? skip_step, Tensor? grid, int want, *, Tensor(a!) out, Tensor(b!) bits, Tensor(c!) codes)
//   x int8 or float [..., k]; w u8 [planes][o][row]; int8 or float [o][k]
template <size_t index>
void linear(KernelRuntimeContext &context, Span<EValue *> stack) {
  constexpr const Product<eq_linear> &product = kLinear[index];
  Call call(context, stack, product.name, 9, 3);
  const Tensor *x = call.tensor(product.x_type, "x must be int8, or float"),
               *w = call.tensor(product.w_type, "w must be u8 planes, int8 or float");
  const ssize_t rank = product.planes ? 3 : 2;
  if (!call.require(x && w && x->dim() >= 1 && w->dim() == rank && rows(*x) <= kMost &&
                        (!product.planes || extent(*w, 0) == product.planes),
                    "x must be [..., k], w [planes][o][row], i8 [o][k]"))
    return;
  const eq_linear op{static_cast<uint32_t>(rows(*x)), extent(*x, x->dim() - 1), extent(*w, rank - 2)};
  call.require(extent(*w, rank - 1) == (product.planes ? eq_row_bytes(op.k) : op.k), "w does not fit the rows of x");
  eq_epilogue e{};
  take_linear(call, *x, op.o, &e);
  if (!call.good()) return;
  const eq_threads *threads = threads_for(uint64_t{op.m} * op.o * op.k);
  const TiledLinear *tiled = kTiledLinear[index];
  const void *weights = w->const_data_ptr(), *tiles = nullptr;
  if (tiled)
    tiles = call.tiles(tiled->tile_bytes(op.o, op.k), [&](void *to) { return tiled->make(op.o, op.k, weights, to); });
  const size_t bytes = tiles ? tiled->scratch(&op, tiles, &e, threads) : product.scratch(&op, &e, threads);
  void *scratch = call.scratch(bytes);
  if (!call.good()) return;
  call.finish(tiles ? tiled->run(&op, data<int8_t>(x), tiles, &e, threads, scratch, bytes)
                    : product.run(&op, x->const_data_ptr(), weights, &e, threads, scratch, bytes));
}

// 4-bit weights as arguments: Tensor w, Tensor scale, Tensor? zero, int group
//   w u8 [o][row_bytes(4 k)], scale half [o][G], zero u8 [o][(G + 1) / 2] or half [o][G]
struct WeightsI4 {
  const Tensor *w, *scale, *zero;
  uint32_t group;

  explicit WeightsI4(Call &call) {
    w = call.tensor(Byte, "w must be u8");
    scale = call.tensor(Half, "scale must be half");
    zero = call.optional_tensor("zero must be u8, half or None");
    group = call.integer(kMost, "group must be positive");
  }

  bool there() const { return w && scale && w->dim() == 2 && scale->dim() == 2 && group > 0; }

  // Of o rows of k inputs, checked.
  eq_weights_i4 rows(Call &call, uint32_t o, uint64_t k) const {
    const uint64_t groups = (k + group - 1) / group;
    const bool fractional = zero && zero->scalar_type() == Half;
    call.require(k <= kMost / 4 && extent(*w, 1) == eq_row_bytes(static_cast<uint32_t>(4 * k)),
                 "the rows of w do not hold k codes");
    call.require(extent(*w, 0) == o && extent(*scale, 0) == o && extent(*scale, 1) == groups,
                 "scale must be [o][groups]");
    call.require(!zero || ((fractional || zero->scalar_type() == Byte) && zero->dim() == 2 && extent(*zero, 0) == o &&
                           extent(*zero, 1) == (fractional ? groups : (groups + 1) / 2)),
                 "zero must be u8 [o][(groups + 1) / 2], half [o][groups] or None");
    return {data<uint8_t>(w), data<uint16_t>(scale),
            !zero        ? EQ_ZERO_EIGHT
            : fractional ? EQ_ZERO_F16
                         : EQ_ZERO_U4,
            zero ? zero->const_data_ptr() : nullptr, group};
  }
};

// linear_i4i8.out(Tensor x, weights, Tensor? block_step, then as linear): block_step float [m][k / 32]
void linear_i4i8(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::linear_i4i8.out", 13, 3);
  const Tensor *x = call.tensor(Char, "x must be int8");
  const WeightsI4 given(call);
  const Tensor *block_step = call.optional_tensor(Float, "block_step must be float or None");
  if (!call.require(x && given.there() && x->dim() >= 1 && rows(*x) <= kMost,
                    "x must be [..., k], w [o][row], scale [o][groups]"))
    return;
  const eq_linear op{static_cast<uint32_t>(rows(*x)), extent(*x, x->dim() - 1), extent(*given.w, 0)};
  const eq_weights_i4 weights = given.rows(call, op.o, op.k);
  const uint64_t blocks = (uint64_t{op.k} + 31) / 32;
  call.require(!block_step || static_cast<uint64_t>(block_step->numel()) == op.m * blocks,
               "block_step must be [rows][ceil(k / 32)]");
  eq_epilogue e{};
  take_linear(call, *x, op.o, &e);
  if (!call.good()) return;
  const eq_threads *threads = threads_for(uint64_t{op.m} * op.o * op.k);
  const void *tiles = call.tiles(eq_tiles_i4_bytes(op.o, op.k, &weights),
                                 [&](void *to) { return eq_tiles_i4(op.o, op.k, &weights, to); });
  const size_t bytes = tiles ? eq_linear_i4i8_tiled_scratch(&op, tiles, &e, threads)
                             : eq_linear_i4i8_scratch(&op, &weights, &e, threads);
  void *scratch = call.scratch(bytes);
  if (!call.good()) return;
  const int8_t *codes = data<int8_t>(x);
  const float *steps = data<float>(block_step);
  call.finish(tiles ? eq_linear_i4i8_tiled(&op, codes, steps, tiles, &e, threads, scratch, bytes)
                    : eq_linear_i4i8(&op, codes, steps, &weights, &e, threads, scratch, bytes));
}

// conv2d_i4i8.out(Tensor x, int kernel_h, int kernel_w, weights, int stride, int padding, then rows and on as conv2d)
//   x int8 [n][h][w][c]; k = kernel_h * kernel_w * c
void conv2d_i4i8(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::conv2d_i4i8.out", 16, 4);
  const Tensor *x = call.tensor(Char, "x must be int8");
  const uint32_t kernel_h = call.integer(1 << 12, "kernel_h must be positive"),
                 kernel_w = call.integer(1 << 12, "kernel_w must be positive");
  const WeightsI4 given(call);
  const uint32_t stride = call.integer(1 << 16, "stride must be positive"),
                 padding = call.integer(1 << 16, "padding must not be negative");
  if (!call.require(x && given.there() && x->dim() == 4 && kernel_h > 0 && kernel_w > 0 && stride > 0,
                    "x must be [n][h][w][c], w [o][row], scale [o][groups], kernel and stride positive"))
    return;
  eq_conv2d op{extent(*x, 0),
               extent(*x, 1),
               extent(*x, 2),
               extent(*x, 3),
               extent(*given.w, 0),
               kernel_h,
               kernel_w,
               stride,
               stride,
               padding,
               padding,
               0,
               0,
               1};
  const eq_weights_i4 weights = given.rows(call, op.o, uint64_t{kernel_h} * kernel_w * op.c);
  if (!call.require(uint64_t{op.h} + 2 * padding >= op.kh && uint64_t{op.w} + 2 * padding >= op.kw,
                    "the kernel is larger than the padded image"))
    return;
  op.out_h = (op.h + 2 * padding - op.kh) / stride + 1;
  op.out_w = (op.w + 2 * padding - op.kw) / stride + 1;
  eq_epilogue e{};
  take_integer(call, op.n, op.out_h, op.out_w, op.o, &e);
  take_image(call, call.integer(ALL, "want must be 1 to 31"), op, &e);
  if (!call.good()) return;
  const eq_threads *threads = threads_for(uint64_t{op.n} * op.out_h * op.out_w * op.o * op.kh * op.kw * op.c);
  const size_t bytes = eq_conv2d_i4i8_scratch(&op, &weights, &e, threads);
  void *scratch = call.scratch(bytes);
  if (call.good()) call.finish(eq_conv2d_i4i8(&op, data<int8_t>(x), &weights, &e, threads, scratch, bytes));
}

template <size_t... I>
bool register_conv2d(std::index_sequence<I...>) {
  return register_operators({{kConv2d[I].name, conv2d<I, false>}..., {kConv2d[I].tuned_name, conv2d<I, true>}...});
}
template <size_t... I>
bool register_linear(std::index_sequence<I...>) {
  return register_operators({{kLinear[I].name, linear<I>}...});
}

const bool registered = register_operators({{"edgeq::quantise_i8.out", quantise},
                                            {"edgeq::quantise_rows_i8.out", quantise_rows},
                                            {"edgeq::linear_i4i8.out", linear_i4i8},
                                            {"edgeq::conv2d_i4i8.out", conv2d_i4i8}}) &&
                        register_conv2d(std::make_index_sequence<std::size(kConv2d)>()) &&
                        register_linear(std::make_index_sequence<std::size(kLinear)>());

} // namespace
} // namespace edgeq
