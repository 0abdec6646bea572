/* Attention between tokens, over signs and over int8 codes. */
#include "operators.h"

/* mask (u8 [batch][keys] or None), used (int64 [1] or None), causal. */
static void take_keys(eql_call *c, eq_attention *op) {
  const eql_tensor *mask = eql_take_optional(c, EQL_U8, "mask must be u8 or None"),
                   *used = eql_take_optional(c, EQL_I64, "used must be int64 or None");
  op->causal = eql_integer(c, 1, "causal must be 0 or 1") != 0;
  eql_require(c, !mask || mask->count == (uint64_t)op->batch * op->keys, "mask must be [batch][keys]");
  op->mask = eql_data(mask);
  op->used = op->keys;
  if (!used || !eql_require(c, used->count == 1, "used must be [1]") || !used->known) return;
  const int64_t count = *(const int64_t *)used->data;
  if (eql_require(c, count >= 1 && count <= op->keys, "used must be 1 to the number of keys"))
    op->used = (uint32_t)count;
}

/* Three floats. */
static void take_steps(eql_call *c, float *steps) {
  const eql_tensor *t = eql_take(c, EQL_F32, "steps must be float [3]");
  if (!eql_require(c, t->count == 3, "steps must be float [3]") || !t->known) return;
  for (int i = 0; i < 3; i++) steps[i] = eql_floats(t)[i];
}

static bool same_extents(const eql_tensor *a, const eql_tensor *b) {
  bool same = a->rank == b->rank;
  for (uint32_t d = 0; same && d < a->rank; d++) same = a->size[d] == b->size[d];
  return same;
}

/* attention_b1(Tensor q, Tensor k, Tensor v, int channels, int heads, int keep, int margin, Tensor steps, Tensor?
 *   threshold, Tensor? mask, Tensor? used, int causal, int want): map, t2
 *   q u8 [planes][batch][queries][row], k and v u8 [planes][batch][keys][row]; steps: of the scores, cut, scale */
static void attention_b1(eql_call *c) {
  const eql_tensor *q = eql_take(c, EQL_U8, "q must be u8"), *k = eql_take(c, EQL_U8, "k must be u8"),
                   *v = eql_take(c, EQL_U8, "v must be u8");
  const uint32_t channels = eql_integer(c, EQL_MOST, "channels must be positive"),
                 heads = eql_integer(c, EQL_MOST, "heads must be positive"),
                 kind = eql_integer(c, EQ_KEEP_SOFTMAX, "keep must be 0 positive, 1 near or 2 softmax"),
                 margin = eql_integer(c, EQL_MOST, "margin must not be negative");
  float steps[3] = {0};
  take_steps(c, steps);
  const eql_tensor *threshold = eql_take_optional(c, EQL_F32, "threshold must be float or None");
  if (!eql_require(c,
                   q->rank == 4 && same_extents(k, v) && k->rank == 4 && eql_last(q) == eq_row_bytes(channels) &&
                       q->size[0] == k->size[0] && q->size[1] == k->size[1] && q->size[3] == k->size[3],
                   "q must be [planes][batch][queries][row_bytes(channels)], k and v [planes][batch][keys][row]") ||
      !eql_require(c, heads > 0 && channels > 0 && channels % heads == 0, "heads must divide channels") ||
      !eql_require(c, eql_one_row(threshold, channels), "threshold must be [channels]"))
    return;
  const uint32_t planes = q->size[0], batch = q->size[1], queries = q->size[2];
  eq_attention op = {.batch = batch, .heads = heads, .d = channels / heads, .queries = queries, .keys = k->size[2]};
  take_keys(c, &op);
  const uint32_t want = eql_integer(c, EQL_ALL, "want must be 1, 16 or 17");
  const eq_keep keep = {(eq_keep_kind)kind, margin, steps[0], steps[1]};
  eq_context to = {.scale = steps[2], .threshold = eql_floats(threshold)};
  if (want & EQL_MAP) to.out = eql_out(c, EQL_F32, 3, (const uint32_t[]){batch, queries, channels});
  if (want & EQL_T2)
    to.out_t2 = eql_out(c, EQL_U8, 4, (const uint32_t[]){2, batch, queries, (uint32_t)eq_row_bytes(channels)});
  if (c->fault) return;
  const eq_threads *threads = eql_threads(c, (uint64_t)batch * queries * op.keys * channels / 64);
  const size_t bytes = eq_attention_b1_scratch(&op, planes, &keep, threads);
  if (eql_ready(c, bytes))
    eql_finish(
        c, eq_attention_b1(&op, planes, eql_data(q), eql_data(k), eql_data(v), &keep, &to, threads, c->scratch, bytes));
}

/* attention_i8(Tensor q, Tensor k, Tensor v, int heads, int probability, int top, int per_row, Tensor steps, Tensor?
 *   mask, Tensor? used, int causal)
 *   q int8 [batch][queries][channels], k and v int8 [batch][keys][channels]; steps: of scores, v, probabilities */
static void attention_i8(eql_call *c) {
  const eql_tensor *q = eql_take(c, EQL_I8, "q must be int8"), *k = eql_take(c, EQL_I8, "k must be int8"),
                   *v = eql_take(c, EQL_I8, "v must be int8");
  const uint32_t heads = eql_integer(c, EQL_MOST, "heads must be positive"),
                 kind = eql_integer(c, EQ_P_RANGE, "probability must be 0 step, 1 unit, 2 shift or 3 range"),
                 top = eql_integer(c, UINT8_MAX, "top must be 1 to 255"),
                 per_row = eql_integer(c, 1, "per_row must be 0 or 1");
  float steps[3] = {1, 1, 1};
  take_steps(c, steps);
  if (!eql_require(
          c, q->rank == 3 && k->rank == 3 && same_extents(k, v) && k->size[0] == q->size[0] && k->size[2] == q->size[2],
          "q must be [batch][queries][channels], k and v [batch][keys][channels]"))
    return;
  const uint32_t channels = q->size[2];
  if (!eql_require(c, heads > 0 && channels % heads == 0, "heads must divide channels")) return;
  eq_attention op = {
      .batch = q->size[0], .heads = heads, .d = channels / heads, .queries = q->size[1], .keys = k->size[1]};
  take_keys(c, &op);
  const eq_probability p = {(eq_probability_kind)kind, per_row != 0, steps[2], top};
  const eq_attention_codes x = {eql_data(q), eql_data(k), eql_data(v), steps[0], steps[1]};
  float *out = eql_out(c, EQL_F32, 3, (const uint32_t[]){op.batch, op.queries, channels});
  if (c->fault) return;
  const eq_threads *threads = eql_threads(c, (uint64_t)op.batch * op.queries * op.keys * channels);
  const size_t bytes = eq_attention_i8_scratch(&op, &p, threads);
  if (eql_ready(c, bytes)) eql_finish(c, eq_attention_i8(&op, &x, &p, out, threads, c->scratch, bytes));
}

/* attention_f32(Tensor qkv, int heads, float step, Tensor? mask)
 *   qkv float [batch][tokens][3 * channels]: query, key and value of a token; mask u8 [batch][tokens] */
static void attention_f32(eql_call *c) {
  const eql_tensor *qkv = eql_take(c, EQL_F32, "qkv must be float");
  const uint32_t heads = eql_integer(c, EQL_MOST, "heads must be positive");
  const float step = eql_number(c, "step must be a float");
  const eql_tensor *mask = eql_take_optional(c, EQL_U8, "mask must be u8 or None");
  if (!eql_require(c, qkv->rank == 3 && heads > 0 && qkv->size[2] % (3 * (uint64_t)heads) == 0,
                   "qkv must be [batch][tokens][3 * channels], heads must divide channels"))
    return;
  const uint32_t batch = qkv->size[0], tokens = qkv->size[1], channels = qkv->size[2] / 3;
  eql_require(c, !mask || mask->count == (uint64_t)batch * tokens, "mask must be [batch][tokens]");
  const eq_attention op = {.batch = batch,
                           .heads = heads,
                           .d = channels / heads,
                           .queries = tokens,
                           .keys = tokens,
                           .used = tokens,
                           .mask = eql_data(mask)};
  float *out = eql_out(c, EQL_F32, 3, (const uint32_t[]){batch, tokens, channels});
  if (c->fault) return;
  const float *q = eql_floats(qkv);
  const size_t next = qkv->known ? channels : 0;
  const eq_attention_floats x = {q, q + next, q + 2 * next, (size_t)3 * channels, (size_t)3 * channels, step};
  const eq_threads *threads = eql_threads(c, (uint64_t)2 * batch * tokens * tokens * channels);
  const size_t bytes = eq_attention_f32_scratch(&op, threads);
  if (eql_ready(c, bytes)) eql_finish(c, eq_attention_f32(&op, &x, out, threads, c->scratch, bytes));
}

const eql_entry eql_attention_operators[] = {{"edgeq.attention_b1", attention_b1},
                                             {"edgeq.attention_i8", attention_i8},
                                             {"edgeq.attention_f32", attention_f32},
                                             {NULL, NULL}};
