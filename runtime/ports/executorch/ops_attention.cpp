// Attention between tokens, over signs and over int8 codes.
#include "call.h"

namespace edgeq {
namespace {

constexpr auto Byte = ScalarType::Byte;
constexpr auto Char = ScalarType::Char;
constexpr auto Float = ScalarType::Float;
constexpr auto Long = ScalarType::Long;

enum { MAP = 1, T2 = 16, ALL = 31 };

// mask (u8 [batch][keys] or None), used (int64 [1] or None), causal.
void take_keys(Call &call, eq_attention *op) {
  const Tensor *mask = call.optional_tensor(Byte, "mask must be u8 or None"),
               *used = call.optional_tensor(Long, "used must be int64 or None");
  op->causal = call.integer(1, "causal must be 0 or 1") != 0;
  call.require(!mask || static_cast<uint64_t>(mask->numel()) == uint64_t{op->batch} * op->keys,
               "mask must be [batch][keys]");
  op->mask = data<uint8_t>(mask);
  op->used = op->keys;
  if (!used || !call.require(used->numel() == 1, "used must be [1]")) return;
  const int64_t count = *data<int64_t>(used);
  if (call.require(count >= 1 && count <= op->keys, "used must be 1 to the number of keys"))
    op->used = static_cast<uint32_t>(count);
}

// Three floats.
const float *take_steps(Call &call, const Tensor *steps) {
  return call.require(steps && steps->numel() == 3, "steps must be float [3]") ? data<float>(steps) : nullptr;
}

// attention_b1.out(Tensor q, Tensor k, Tensor v, int channels, int heads, int keep, int margin, Tensor steps,
//   Tensor? threshold, Tensor? mask, Tensor? used, int causal, int want, *, Tensor(a!) out, Tensor(b!) t2)
//   q u8 [planes][batch][queries][row], k and v u8 [planes][batch][keys][row]; steps: of the scores, cut, scale
void attention_b1(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::attention_b1.out", 13, 2);
  const Tensor *q = call.tensor(Byte, "q must be u8"), *k = call.tensor(Byte, "k must be u8"),
               *v = call.tensor(Byte, "v must be u8");
  const uint32_t channels = call.integer(kMost, "channels must be positive"),
                 heads = call.integer(kMost, "heads must be positive"),
                 kind = call.integer(EQ_KEEP_SOFTMAX, "keep must be 0 positive, 1 near or 2 softmax"),
                 margin = call.integer(kMost, "margin must not be negative");
  const float *steps = take_steps(call, call.tensor(Float, "steps must be float [3]"));
  const Tensor *threshold = call.optional_tensor(Float, "threshold must be float or None");
  if (!call.require(q && k && v && steps && q->dim() == 4 && k->dim() == 4 && v->dim() == 4,
                    "q must be [planes][batch][queries][row], k and v [planes][batch][keys][row]") ||
      !call.require(heads > 0 && channels > 0 && channels % heads == 0, "heads must divide channels"))
    return;
  bool alike = extent(*q, 3) == eq_row_bytes(channels) && extent(*q, 0) == extent(*k, 0) &&
               extent(*q, 1) == extent(*k, 1) && extent(*q, 3) == extent(*k, 3);
  for (ssize_t d = 0; d < 4; d++) alike = alike && k->size(d) == v->size(d);
  if (!call.require(alike, "q, k and v must agree in planes, batch and row_bytes(channels), k and v in all extents") ||
      !call.require(!threshold || static_cast<uint64_t>(threshold->numel()) == channels,
                    "threshold must be [channels]"))
    return;
  eq_attention op{extent(*q, 1), heads, channels / heads, extent(*q, 2), extent(*k, 2), 0, false, nullptr};
  take_keys(call, &op);
  const uint32_t want = call.integer(ALL, "want must be 1, 16 or 17");
  const eq_keep keep{static_cast<eq_keep_kind>(kind), margin, steps[0], steps[1]};
  eq_context to{steps[2], data<float>(threshold), nullptr, nullptr};
  if (want & MAP)
    to.out = static_cast<float *>(
        call.out(Float, {op.batch, op.queries, channels}, "out must be float [batch][queries][channels]"));
  else
    call.skip();
  if (want & T2)
    to.out_t2 = static_cast<uint8_t *>(
        call.out(Byte, {2, op.batch, op.queries, eq_row_bytes(channels)}, "t2 must be u8 [2][batch][queries][row]"));
  else
    call.skip();
  if (!call.good()) return;
  const eq_threads *threads = threads_for(uint64_t{op.batch} * op.queries * op.keys * channels / 64);
  const size_t bytes = eq_attention_b1_scratch(&op, extent(*q, 0), &keep, threads);
  void *scratch = call.scratch(bytes);
  if (call.good())
    call.finish(eq_attention_b1(&op, extent(*q, 0), data<uint8_t>(q), data<uint8_t>(k), data<uint8_t>(v), &keep, &to,
                                threads, scratch, bytes));
}

// attention_i8.out(Tensor q, Tensor k, Tensor v, int heads, int probability, int top, int per_row, Tensor steps,
//   Tensor? mask, Tensor? used, int causal, *, Tensor(a!) out)
//   q int8 [batch][queries][channels], k and v int8 [batch][keys][channels]; steps: of scores, v, probabilities
void attention_i8(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::attention_i8.out", 11, 1);
  const Tensor *q = call.tensor(Char, "q must be int8"), *k = call.tensor(Char, "k must be int8"),
               *v = call.tensor(Char, "v must be int8");
  const uint32_t heads = call.integer(kMost, "heads must be positive"),
                 kind = call.integer(EQ_P_RANGE, "probability must be 0 step, 1 unit, 2 shift or 3 range"),
                 top = call.integer(UINT8_MAX, "top must be 1 to 255"),
                 per_row = call.integer(1, "per_row must be 0 or 1");
  const float *steps = take_steps(call, call.tensor(Float, "steps must be float [3]"));
  if (!call.require(q && k && v && steps && q->dim() == 3 && k->dim() == 3 && v->dim() == 3,
                    "q must be [batch][queries][channels], k and v [batch][keys][channels]"))
    return;
  const uint32_t channels = extent(*q, 2);
  if (!call.require(heads > 0 && channels % heads == 0, "heads must divide channels") ||
      !call.require(k->size(0) == q->size(0) && k->size(2) == q->size(2) && v->size(0) == k->size(0) &&
                        v->size(1) == k->size(1) && v->size(2) == k->size(2),
                    "q, k and v must agree in batch and channels, k and v in all extents"))
    return;
  eq_attention op{extent(*q, 0), heads, channels / heads, extent(*q, 1), extent(*k, 1), 0, false, nullptr};
  take_keys(call, &op);
  const eq_probability p{static_cast<eq_probability_kind>(kind), per_row != 0, steps[2], top};
  const eq_attention_codes x{data<int8_t>(q), data<int8_t>(k), data<int8_t>(v), steps[0], steps[1]};
  auto *out = static_cast<float *>(
      call.out(Float, {op.batch, op.queries, channels}, "out must be float [batch][queries][channels]"));
  if (!call.good()) return;
  const eq_threads *threads = threads_for(uint64_t{op.batch} * op.queries * op.keys * channels);
  const size_t bytes = eq_attention_i8_scratch(&op, &p, threads);
  void *scratch = call.scratch(bytes);
  if (call.good()) call.finish(eq_attention_i8(&op, &x, &p, out, threads, scratch, bytes));
}

// attention_f32.out(Tensor qkv, int heads, float step, Tensor? mask, *, Tensor(a!) out)
//   qkv float [batch][tokens][3 * channels]: query, key and value of a token; mask u8 [batch][tokens]
void attention_f32(KernelRuntimeContext &context, Span<EValue *> stack) {
  Call call(context, stack, "edgeq::attention_f32.out", 4, 1);
  const Tensor *qkv = call.tensor(Float, "qkv must be float");
  const uint32_t heads = call.integer(kMost, "heads must be positive");
  const auto step = static_cast<float>(call.number("step must be a float"));
  const Tensor *mask = call.optional_tensor(Byte, "mask must be u8 or None");
  if (!call.require(qkv && qkv->dim() == 3 && heads > 0 && extent(*qkv, 2) % (uint64_t{3} * heads) == 0,
                    "qkv must be [batch][tokens][3 * channels], heads must divide channels"))
    return;
  const uint32_t batch = extent(*qkv, 0), tokens = extent(*qkv, 1), channels = extent(*qkv, 2) / 3;
  call.require(!mask || static_cast<uint64_t>(mask->numel()) == uint64_t{batch} * tokens,
               "mask must be [batch][tokens]");
  const eq_attention op{batch, heads, channels / heads, tokens, tokens, tokens, false, data<uint8_t>(mask)};
  auto *out =
      static_cast<float *>(call.out(Float, {batch, tokens, channels}, "out must be float [batch][tokens][channels]"));
  if (!call.good()) return;
  const float *q = data<float>(qkv);
  const eq_attention_floats x{q,   q + channels, q + size_t{2} * channels, size_t{3} * channels, size_t{3} * channels,
                              step};
  const eq_threads *threads = threads_for(uint64_t{2} * batch * tokens * tokens * channels);
  const size_t bytes = eq_attention_f32_scratch(&op, threads);
  void *scratch = call.scratch(bytes);
  if (call.good()) call.finish(eq_attention_f32(&op, &x, out, threads, scratch, bytes));
}

const bool registered = register_operators({{"edgeq::attention_b1.out", attention_b1},
                                            {"edgeq::attention_i8.out", attention_i8},
                                            {"edgeq::attention_f32.out", attention_f32}});

} // namespace
} // namespace edgeq
