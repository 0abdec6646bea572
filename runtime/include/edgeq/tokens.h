/* What surrounds the products of a network over tokens: packed embedding tables and normalisation. */
#ifndef EDGEQ_TOKENS_H
#define EDGEQ_TOKENS_H

#include "integer.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* out[i][0..k) = row ids[i] of a packed table of `rows` rows. EQ_BAD_ARGUMENT, with nothing written, when an id is not
 * in [0, rows).
 *   b1  scale[row] * +-1             w [rows][row bytes of k]
 *   t2  scale[row] * -1, 0, +1       w [2][rows][row bytes of k]
 *   i8  (float)code * scale[row]     w [rows][k] int8 */
typedef struct {
  const int64_t *ids; /* [count] */
  size_t count;
  uint32_t rows, k;
} eq_lookup;
eq_status eq_embedding_b1(const eq_lookup *op, const uint8_t *w, const float *scale, float *out);
eq_status eq_embedding_t2(const eq_lookup *op, const uint8_t *w, const float *scale, float *out);
eq_status eq_embedding_i8(const eq_lookup *op, const int8_t *w, const float *scale, float *out);

/* (float)(code - zero) * scale of the group, of a table of `rows` rows of k. */
eq_status eq_embedding_i4(const eq_lookup *op, const eq_weights_i4 *w, float *out);

/* y = ((z - mean) * (1 / sqrt(var + eps))) * gamma + beta over each row of k, z = x + residual.
 * mean = sum z / k, var = sum (z - mean)^2 / k; sums in sixteen parts, part i for the channels j = i mod 16 in rising
 * order from 0, then parts i + 8, i + 4, i + 2, i + 1 added to part i. */
typedef struct {
  size_t rows;
  uint32_t k;
  float eps;
  const float *x, *residual; /* [rows][k]; residual may be NULL */
  const float *gamma, *beta; /* [k] */
  const float *threshold;    /* [k], for the bits; NULL: 0 */
  float *out;                /* [rows][k], or NULL; may be x or residual itself */
  uint8_t *out_bits;         /* [rows][row bytes of k] y >= threshold, or NULL */
  uint8_t *out_t2;           /* [2][rows][row bytes of k] y > threshold, y != threshold, or NULL */
} eq_norm;
eq_status eq_layer_norm(const eq_norm *op);

/* The tuned twin, over images of rows / images tokens each: gamma and beta take the corrections of eq_tuning, with
 * `images` for its n. moments, which need `out`, are over those tokens of an image that count, or over all where none
 * does: mean = sum y / count, then sum (y - mean)^2 / count, added token by token from 0. */
size_t eq_layer_norm_tuned_scratch(uint32_t k);
eq_status eq_layer_norm_tuned(const eq_norm *op, uint32_t images, const eq_tuning *tuning,
                              const uint8_t *mask, /* [rows] 0: the token does not count; NULL: all do */
                              void *scratch, size_t scratch_bytes);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
