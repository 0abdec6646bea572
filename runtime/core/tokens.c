/* Embedding tables and normalisation. */
#include "kernels/ref/tokens.h"
#include "arena.h"
#include "check.h"
#include "functions.h"
#include "isa.h"

static eq_status check_lookup(const eq_lookup *op, const void *w, const void *scale, const float *out) {
  if (!op || !op->ids || !w || !scale || !out) return EQ_BAD_ARGUMENT;
  if (!eq_extent_ok(op->rows, op->k, 1, 1) || op->k > INT32_MAX / 4 || op->count == 0 || op->count > INT32_MAX ||
      !eq_extent_ok((uint32_t)op->count, op->k, 1, 1))
    return EQ_BAD_SHAPE;
  for (size_t i = 0; i < op->count; i++)
    if (op->ids[i] < 0 || op->ids[i] >= op->rows) return EQ_BAD_ARGUMENT;
  return EQ_OK;
}

eq_status eq_embedding_b1(const eq_lookup *op, const uint8_t *w, const float *scale, float *out) {
  const eq_status status = check_lookup(op, w, scale, out);
  if (status != EQ_OK) return status;
  const eq_kernels *kernels = eq_kernels_current();
  if (!kernels) {
    eq_embedding_b1_ref(op, w, scale, out);
    return EQ_OK;
  }
  for (size_t i = 0; i < op->count; i++, out += op->k)
    kernels->expand(w + (size_t)op->ids[i] * eq_row_bytes(op->k), (const uint8_t *)0, op->k, scale[op->ids[i]], out);
  return EQ_OK;
}

eq_status eq_embedding_t2(const eq_lookup *op, const uint8_t *w, const float *scale, float *out) {
  const eq_status status = check_lookup(op, w, scale, out);
  if (status != EQ_OK) return status;
  const eq_kernels *kernels = eq_kernels_current();
  if (!kernels) {
    eq_embedding_t2_ref(op, w, scale, out);
    return EQ_OK;
  }
  const size_t row = eq_row_bytes(op->k);
  for (size_t i = 0; i < op->count; i++, out += op->k) {
    const uint8_t *sign = w + (size_t)op->ids[i] * row;
    kernels->expand(sign, sign + op->rows * row, op->k, scale[op->ids[i]], out);
  }
  return EQ_OK;
}

eq_status eq_embedding_i8(const eq_lookup *op, const int8_t *w, const float *scale, float *out) {
  const eq_status status = check_lookup(op, w, scale, out);
  if (status == EQ_OK) eq_embedding_i8_ref(op, w, scale, out);
  return status;
}

eq_status eq_embedding_i4(const eq_lookup *op, const eq_weights_i4 *w, float *out) {
  if (!w || (unsigned)w->zero_kind > EQ_ZERO_F16 || (w->zero_kind != EQ_ZERO_EIGHT) != (w->zero != (const void *)0))
    return EQ_BAD_ARGUMENT;
  const eq_status status = check_lookup(op, w->codes, w->scale, out);
  if (status != EQ_OK) return status;
  if (w->group == 0) return EQ_BAD_SHAPE;
  eq_embedding_i4_ref(op, w, out);
  return EQ_OK;
}

static eq_status check_norm(const eq_norm *op) {
  if (!op || !op->x || !op->gamma || !op->beta) return EQ_BAD_ARGUMENT;
  if ((!op->out && !op->out_bits && !op->out_t2) || !(op->eps >= 0.0f)) return EQ_BAD_ARGUMENT;
  if (op->rows == 0 || op->rows > INT32_MAX || !eq_extent_ok((uint32_t)op->rows, op->k, 1, 1)) return EQ_BAD_SHAPE;
  return EQ_OK;
}

static void normalise(const eq_norm *op, size_t begin, size_t end) {
  const eq_kernels *kernels = eq_kernels_current();
  (kernels ? kernels->layer_norm : eq_layer_norm_ref)(op, begin, end);
}

eq_status eq_layer_norm(const eq_norm *op) {
  const eq_status status = check_norm(op);
  if (status == EQ_OK) normalise(op, 0, op->rows);
  return status;
}

size_t eq_layer_norm_tuned_scratch(uint32_t k) { return 2 * (size_t)k * sizeof(float); }

/* Sums over the tokens of an image that count: of y, or with a mean of the squared distance from it; over `count`. */
static void average(const float *y, const uint8_t *mask, size_t tokens, uint32_t k, const float *mean, float count,
                    float *out) {
  for (uint32_t j = 0; j < k; j++) out[j] = 0.0f;
  for (size_t token = 0; token < tokens; token++, y += k) {
    if (mask && !mask[token]) continue;
    for (uint32_t j = 0; j < k; j++) {
      const float away = y[j] - (mean ? mean[j] : 0.0f);
      out[j] += mean ? away * away : away;
    }
  }
  for (uint32_t j = 0; j < k; j++) out[j] = out[j] / count;
}

static void moments_of(const float *y, const uint8_t *mask, size_t tokens, uint32_t k, float *mean) {
  size_t count = 0;
  for (size_t token = 0; mask && token < tokens; token++) count += mask[token] != 0;
  if (count == 0) {
    mask = (const uint8_t *)0;
    count = tokens;
  }
  average(y, mask, tokens, k, (const float *)0, (float)count, mean);
  average(y, mask, tokens, k, mean, (float)count, mean + k);
}

eq_status eq_layer_norm_tuned(const eq_norm *op, uint32_t images, const eq_tuning *tuning, const uint8_t *mask,
                              void *scratch, size_t scratch_bytes) {
  const eq_status status = check_norm(op);
  if (status != EQ_OK) return status;
  if (!tuning || !tuning->a || !tuning->c || (tuning->moments && !op->out)) return EQ_BAD_ARGUMENT;
  if (images == 0 || op->rows % images || (tuning->rows != 1 && tuning->rows != images)) return EQ_BAD_SHAPE;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_layer_norm_tuned_scratch(op->k))) return EQ_NO_SCRATCH;
  const size_t tokens = op->rows / images;
  float *gamma = scratch, *beta = gamma + op->k;
  eq_norm corrected = *op;
  corrected.gamma = gamma;
  corrected.beta = beta;
  for (uint32_t n = 0; n < images; n++) {
    const size_t row = tuning->rows > 1 ? n * tuning->pitch : 0, first = n * tokens;
    for (uint32_t j = 0; j < op->k; j++) gamma[j] = op->gamma[j] * eq_exp(tuning->a[row + j]);
    for (uint32_t j = 0; j < op->k; j++) beta[j] = op->beta[j] + tuning->sigma * tuning->c[row + j];
    normalise(&corrected, first, first + tokens);
    if (tuning->moments)
      moments_of(op->out + first * op->k, mask ? mask + first : mask, tokens, op->k,
                 tuning->moments + (size_t)n * 2 * op->k);
  }
  return EQ_OK;
}
