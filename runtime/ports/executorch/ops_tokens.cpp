// Packed embedding tables and layer normalisation.
#include "epilogue.h"

namespace edgeq {
namespace {

constexpr auto Byte = ScalarType::Byte;
constexpr auto Char = ScalarType::Char;
constexpr auto Float = ScalarType::Float;
constexpr auto Half = ScalarType::Half;
constexpr auto Long = ScalarType::Long;

float *take_vectors(Call &call, const Tensor &ids, uint32_t k) {
  Extents extents;
  for (ssize_t d = 0; d < ids.dim(); d++) extents = extents.then(static_cast<uint64_t>(ids.size(d)));
  return static_cast<float *>(call.out(Float, extents.then(k), "out must be float, ids' extents and k"));
}

// embedding_{b1,t2}.out(Tensor ids, Tensor w, Tensor scale, int k, *, Tensor(a!) out): w u8 [rows][row], [2][rows][row]
void embedding_planes(KernelRuntimeContext &context, Span<EValue *> stack, ssize_t planes) {
  Call call(context, stack, planes == 1 ? "edgeq::embedding_b1.out" : "edgeq::embedding_t2.out", 4, 1);
  const Tensor *ids = call.tensor(Long, "ids must be int64"), *w = call.tensor(Byte, "w must be u8"),
               *scale = call.tensor(Float, "scale must be float");
  const uint32_t k = call.integer(kMost / 4, "k must be positive");
  if (!call.require(ids && w && scale && k > 0 && w->dim() == planes + 1 && (planes == 1 || extent(*w, 0) == 2) &&
                        extent(*w, planes) == eq_row_bytes(k),
                    "w must be [rows][row_bytes(k)], ternary [2][rows][row_bytes(k)]"))
    return;
  const eq_lookup op{data<int64_t>(ids), static_cast<size_t>(ids->numel()), extent(*w, planes - 1), k};
  call.require(static_cast<uint64_t>(scale->numel()) == op.rows, "scale must be [rows]");
  float *out = take_vectors(call, *ids, k);
  if (!call.good()) return;
  call.finish((planes == 1 ? eq_embedding_b1 : eq_embedding_t2)(&op, data<uint8_t>(w), data<float>(scale), out));
}
void embedding_b1(KernelRuntimeContext &context, Span<EValue *> stack) { embedding_planes(context, stack, 1); }
void embedding_t2(KernelRuntimeContext &context, Span<EValue *> stack) { embedding_planes(context, stack, 2); }

// embedding_i8.out(Tensor ids, Tensor w, Tensor scale, *, Tensor(a!) out): w int8 [rows][k]
void embedding_i8(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::embedding_i8.out", 3, 1);
  const Tensor *ids = call.tensor(Long, "ids must be int64"), *w = call.tensor(Char, "w must be int8"),
               *scale = call.tensor(Float, "scale must be float");
  if (!call.require(ids && w && scale && w->dim() == 2, "w must be [rows][k]")) return;
  const eq_lookup op{data<int64_t>(ids), static_cast<size_t>(ids->numel()), extent(*w, 0), extent(*w, 1)};
  call.require(static_cast<uint64_t>(scale->numel()) == op.rows, "scale must be [rows]");
  float *out = take_vectors(call, *ids, op.k);
  if (call.good()) call.finish(eq_embedding_i8(&op, data<int8_t>(w), data<float>(scale), out));
}

// embedding_i4.out(Tensor ids, Tensor w, Tensor scale, Tensor? zero, int group, int k, *, Tensor(a!) out)
//   w u8 [rows][row_bytes(4 k)], scale half [rows][G], zero u8 [rows][(G + 1) / 2] or half [rows][G]
void embedding_i4(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::embedding_i4.out", 6, 1);
  const Tensor *ids = call.tensor(Long, "ids must be int64"), *w = call.tensor(Byte, "w must be u8"),
               *scale = call.tensor(Half, "scale must be half"),
               *zero = call.optional_tensor("zero must be u8, half or None");
  const uint32_t group = call.integer(kMost, "group must be positive"),
                 k = call.integer(kMost / 4, "k must be positive");
  if (!call.require(ids && w && scale && k > 0 && group > 0 && w->dim() == 2 && scale->dim() == 2 &&
                        extent(*w, 1) == eq_row_bytes(4 * k),
                    "w must be [rows][row_bytes(4 k)]"))
    return;
  const eq_lookup op{data<int64_t>(ids), static_cast<size_t>(ids->numel()), extent(*w, 0), k};
  const uint64_t groups = (uint64_t{k} + group - 1) / group;
  const bool fractional = zero && zero->scalar_type() == Half;
  call.require(extent(*scale, 0) == op.rows && extent(*scale, 1) == groups, "scale must be [rows][groups]");
  call.require(!zero || ((fractional || zero->scalar_type() == Byte) && zero->dim() == 2 &&
                         extent(*zero, 0) == op.rows && extent(*zero, 1) == (fractional ? groups : (groups + 1) / 2)),
               "zero must be u8 [rows][(groups + 1) / 2], half [rows][groups] or None");
  float *out = take_vectors(call, *ids, k);
  if (!call.good()) return;
  const eq_weights_i4 weights{data<uint8_t>(w), data<uint16_t>(scale),
                              !zero        ? EQ_ZERO_EIGHT
                              : fractional ? EQ_ZERO_F16
                                           : EQ_ZERO_U4,
                              zero ? zero->const_data_ptr() : nullptr, group};
  call.finish(eq_embedding_i4(&op, &weights, out));
}

// layer_norm.out(Tensor x, Tensor? residual, Tensor gamma, Tensor beta, float eps, Tensor? threshold, int want, *,
//   Tensor(a!) out, Tensor(b!) bits): float [..., k]; bits u8 [..., row], ternary [2][..., row]
// tuned: see Tuned; x is [n][tokens][k], and behind x comes Tensor? mask, u8 [n][tokens]
void norm(Call &call, Tuned *tuned) {
  enum { MAP = 1, BITS = 2, T2 = 16, ALL = 31 };
  const Tensor *x = call.tensor(Float, "x must be float"),
               *mask = tuned ? call.optional_tensor(Byte, "mask must be u8 or None") : nullptr,
               *residual = call.optional_tensor(Float, "residual must be float or None"),
               *gamma = call.tensor(Float, "gamma must be float"), *beta = call.tensor(Float, "beta must be float");
  const auto eps = static_cast<float>(call.number("eps must be a float"));
  const Tensor *threshold = call.optional_tensor(Float, "threshold must be float or None");
  const uint32_t want =
      call.integer(ALL | (tuned ? Tuned::kMoments : 0u), "want must be 1 to 17, or with moments to 49");
  if (!call.require(x && gamma && beta && (tuned ? x->dim() == 3 : x->dim() >= 1), "x must be [..., k]")) return;
  eq_norm op{};
  op.rows = rows(*x);
  op.k = extent(*x, x->dim() - 1);
  op.eps = eps;
  const auto holds_k = [&](const Tensor *t) { return !t || static_cast<uint64_t>(t->numel()) == op.k; };
  call.require(holds_k(gamma) && holds_k(beta) && holds_k(threshold), "gamma, beta and threshold must be [k]");
  call.require(!residual || residual->numel() == x->numel(), "residual must have the extents of x");
  call.require(!mask || static_cast<uint64_t>(mask->numel()) == op.rows, "mask must be [n][tokens]");
  op.x = data<float>(x);
  op.residual = data<float>(residual);
  op.gamma = data<float>(gamma);
  op.beta = data<float>(beta);
  op.threshold = data<float>(threshold);
  const Extents row = Extents(*x, 0).then(eq_row_bytes(op.k));
  if (want & MAP)
    op.out = static_cast<float *>(call.out_like(Float, *x, op.k, "out must be float, extents as x"));
  else
    call.skip();
  if (want & T2)
    op.out_t2 = static_cast<uint8_t *>(call.out(Byte, row.behind(2), "bits must be u8 [2][..., row]"));
  else if (want & BITS)
    op.out_bits = static_cast<uint8_t *>(call.out(Byte, row, "bits must be u8 [..., row]"));
  else
    call.skip();
  if (!tuned) {
    if (call.good()) call.finish(eq_layer_norm(&op));
    return;
  }
  const uint32_t images = extent(*x, 0);
  eq_epilogue e{};
  tuned->fill(call, images, op.k, &e);
  tuned->take_moments(call, want, images, op.k);
  const size_t bytes = eq_layer_norm_tuned_scratch(op.k);
  void *scratch = call.good() ? call.scratch(bytes) : nullptr;
  if (call.good()) call.finish(eq_layer_norm_tuned(&op, images, e.tuning, data<uint8_t>(mask), scratch, bytes));
}

void layer_norm(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::layer_norm.out", 7, 2);
  norm(call, nullptr);
}
void layer_norm_tuned(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::layer_norm_tuned.out", 11, 3);
  Tuned tuned(call);
  norm(call, &tuned);
}

const bool registered = register_operators({{"edgeq::embedding_b1.out", embedding_b1},
                                            {"edgeq::embedding_t2.out", embedding_t2},
                                            {"edgeq::embedding_i8.out", embedding_i8},
                                            {"edgeq::embedding_i4.out", embedding_i4},
                                            {"edgeq::layer_norm.out", layer_norm},
                                            {"edgeq::layer_norm_tuned.out", layer_norm_tuned}});

} // namespace
} // namespace edgeq
