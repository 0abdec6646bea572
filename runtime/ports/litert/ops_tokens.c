/* Packed embedding tables and layer normalisation. */
#include "operators.h"

/* Float vectors of k for each id. */
static float *take_vectors(eql_call *c, const eql_tensor *ids, uint32_t k) {
  uint32_t extents[EQL_RANK + 1];
  for (uint32_t d = 0; d < ids->rank; d++) extents[d] = ids->size[d];
  extents[ids->rank] = k;
  return eql_out(c, EQL_F32, ids->rank + 1, extents);
}

/* embedding_{b1,t2}(Tensor ids, Tensor w, Tensor scale, int k): w u8 [rows][row], [2][rows][row] */
static void embedding_planes(eql_call *c, uint32_t planes) {
  const eql_tensor *ids = eql_take(c, EQL_I64, "ids must be int64"), *w = eql_take(c, EQL_U8, "w must be u8"),
                   *scale = eql_take(c, EQL_F32, "scale must be float");
  const uint32_t k = eql_integer(c, EQL_MOST / 4, "k must be positive");
  if (!eql_require(c,
                   k > 0 && w->rank == planes + 1 && (planes == 1 || w->size[0] == 2) && eql_last(w) == eq_row_bytes(k),
                   "w must be [rows][row_bytes(k)], ternary [2][rows][row_bytes(k)]"))
    return;
  const eq_lookup op = {eql_data(ids), ids->count, w->size[planes - 1], k};
  eql_require(c, scale->count == op.rows, "scale must be [rows]");
  float *out = take_vectors(c, ids, k);
  if (eql_ready_plain(c))
    eql_finish(c, (planes == 1 ? eq_embedding_b1 : eq_embedding_t2)(&op, eql_data(w), eql_floats(scale), out));
}
static void embedding_b1(eql_call *c) { embedding_planes(c, 1); }
static void embedding_t2(eql_call *c) { embedding_planes(c, 2); }

/* embedding_i8(Tensor ids, Tensor w, Tensor scale): w int8 [rows][k] */
static void embedding_i8(eql_call *c) {
  const eql_tensor *ids = eql_take(c, EQL_I64, "ids must be int64"), *w = eql_take(c, EQL_I8, "w must be int8"),
                   *scale = eql_take(c, EQL_F32, "scale must be float");
  if (!eql_require(c, w->rank == 2, "w must be [rows][k]")) return;
  const eq_lookup op = {eql_data(ids), ids->count, w->size[0], w->size[1]};
  eql_require(c, scale->count == op.rows, "scale must be [rows]");
  float *out = take_vectors(c, ids, op.k);
  if (eql_ready_plain(c)) eql_finish(c, eq_embedding_i8(&op, eql_data(w), eql_floats(scale), out));
}

bool eql_take_weights_i4(eql_call *c, uint32_t k, uint32_t *rows, eq_weights_i4 *weights, const eql_tensor **codes) {
  const eql_tensor *w = eql_take(c, EQL_U8, "w must be u8"), *scale = eql_take(c, EQL_F16, "scale must be half"),
                   *zero = eql_take_any(c, "zero must be u8, half or None");
  const uint32_t group = eql_integer(c, EQL_MOST, "group must be positive");
  if (k == 0) k = eql_peek_integer(c); /* an embedding's comes behind its weights */
  if (!eql_require(c, group > 0 && k > 0 && k <= EQL_MOST / 4 && w->rank == 2 && eql_last(w) == eq_row_bytes(4 * k),
                   "the rows of w do not hold k codes"))
    return false;
  const uint32_t groups = (uint32_t)(((uint64_t)k + group - 1) / group);
  const bool fractional = zero && zero->type == EQL_F16;
  *codes = w;
  *rows = w->size[0];
  *weights = (eq_weights_i4){.codes = eql_data(w),
                             .scale = eql_data(scale),
                             .zero_kind = !zero        ? EQ_ZERO_EIGHT
                                          : fractional ? EQ_ZERO_F16
                                                       : EQ_ZERO_U4,
                             .zero = eql_data(zero),
                             .group = group};
  eql_require(c, scale->rank == 2 && scale->size[0] == *rows && scale->size[1] == groups,
              "scale must be [rows][groups]");
  eql_require(c,
              !zero || c->untyped ||
                  ((fractional || zero->type == EQL_U8) && zero->rank == 2 && zero->size[0] == *rows &&
                   zero->size[1] == (fractional ? groups : (groups + 1) / 2)),
              "zero must be u8 [rows][(groups + 1) / 2], half [rows][groups] or None");
  return !c->fault && w->known && scale->known && (!zero || zero->known);
}

/* embedding_i4(Tensor ids, Tensor w, Tensor scale, Tensor? zero, int group, int k)
 *   w u8 [rows][row_bytes(4 k)], scale half [rows][G], zero u8 [rows][(G + 1) / 2] or half [rows][G] */
static void embedding_i4(eql_call *c) {
  const eql_tensor *ids = eql_take(c, EQL_I64, "ids must be int64");
  eq_weights_i4 weights;
  uint32_t rows;
  const eql_tensor *w;
  eql_take_weights_i4(c, 0, &rows, &weights, &w);
  if (c->fault) return;
  const eq_lookup op = {eql_data(ids), ids->count, rows, eql_integer(c, EQL_MOST / 4, "k must be positive")};
  float *out = take_vectors(c, ids, op.k);
  if (eql_ready_plain(c)) eql_finish(c, eq_embedding_i4(&op, &weights, out));
}

/* layer_norm(Tensor x, Tensor? residual, Tensor gamma, Tensor beta, float eps, Tensor? threshold, int want): map and
 *   bits; float [..., k], bits u8 [..., row], ternary [2][..., row]
 *   tuned: see eql_tuned, or NULL; x is [n][tokens][k], and behind x comes Tensor? mask, u8 [n][tokens] */
static void norm(eql_call *c, eql_tuned *tuned) {
  const eql_tensor *x = eql_take(c, EQL_F32, "x must be float"),
                   *mask = tuned ? eql_take_optional(c, EQL_U8, "mask must be u8 or None") : NULL,
                   *residual = eql_take_optional(c, EQL_F32, "residual must be float or None"),
                   *gamma = eql_take(c, EQL_F32, "gamma must be float"),
                   *beta = eql_take(c, EQL_F32, "beta must be float");
  const float eps = eql_number(c, "eps must be a float");
  const eql_tensor *threshold = eql_take_optional(c, EQL_F32, "threshold must be float or None");
  const uint32_t want = eql_integer(c, EQL_ALL | (tuned ? EQL_MOMENTS : 0), "want must be 1 to 17, with moments 49"),
                 k = eql_last(x), row = (uint32_t)eq_row_bytes(k), rows = eql_rows(x);
  eql_require(c, gamma->count == k && beta->count == k && eql_one_row(threshold, k),
              "gamma, beta and threshold must be [k]");
  eql_require(c, !residual || residual->count == x->count, "residual must have the extents of x");
  eql_require(c, !tuned || (x->rank == 3 && eql_one_row(mask, rows)), "x must be [n][tokens][k], mask [n][tokens]");
  eq_norm op = {.rows = rows,
                .k = k,
                .eps = eps,
                .x = eql_floats(x),
                .residual = eql_floats(residual),
                .gamma = eql_floats(gamma),
                .beta = eql_floats(beta),
                .threshold = eql_floats(threshold)};
  if (want & EQL_MAP) op.out = eql_out_like(c, EQL_F32, 0, x, 0, k);
  if (want & EQL_T2)
    op.out_t2 = eql_out_like(c, EQL_U8, 2, x, 0, row);
  else if (want & EQL_BITS)
    op.out_bits = eql_out_like(c, EQL_U8, 0, x, 0, row);
  if (!tuned) {
    if (eql_ready_plain(c)) eql_finish(c, eq_layer_norm(&op));
    return;
  }
  const uint32_t images = eql_extent(x, 0);
  eq_epilogue e = {0};
  eql_set_tuned(c, tuned, want, images, k, &e);
  if (c->fault) return;
  const size_t bytes = eq_layer_norm_tuned_scratch(k);
  if (eql_ready(c, bytes))
    eql_finish(c, eq_layer_norm_tuned(&op, images, e.tuning, mask ? eql_data(mask) : NULL, c->scratch, bytes));
}
static void layer_norm(eql_call *c) { norm(c, NULL); }
static void layer_norm_tuned(eql_call *c) {
  eql_tuned tuned;
  eql_take_tuned(c, &tuned);
  norm(c, &tuned);
}

const eql_entry eql_token_operators[] = {{"edgeq.embedding_b1", embedding_b1},
                                         {"edgeq.embedding_t2", embedding_t2},
                                         {"edgeq.embedding_i8", embedding_i8},
                                         {"edgeq.embedding_i4", embedding_i4},
                                         {"edgeq.layer_norm", layer_norm},
                                         {"edgeq.layer_norm_tuned", layer_norm_tuned},
                                         {NULL, NULL}};
