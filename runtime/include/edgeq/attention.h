/* Attention between tokens, whole: scores, which keys count and how much, and the weighted sum of the values. */
#ifndef EDGEQ_ATTENTION_H
#define EDGEQ_ATTENTION_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* A key exists if it is below `used`; a query sees it if, besides, mask does not hide it and causal allows it: query i
 * then sees the keys up to used - queries + i. */
typedef struct {
  uint32_t batch, heads, d; /* d channels a head; a token's row holds heads * d channels, head by head */
  uint32_t queries, keys;   /* tokens of q; of k and v */
  uint32_t used;            /* 1 to keys: the others are the empty part of a cache */
  bool causal;              /* then queries <= used */
  const uint8_t *mask;      /* [batch][keys], 0: hidden; NULL: none is */
} eq_attention;

/* ---- signs: the weight of a key is 0 or 1
 * dot_j = q . k_j; a query that sees no key at all takes all that causal allows under SOFTMAX, and none otherwise.
 *   POSITIVE  dot_j > 0
 *   NEAR      dot_j >= max dot - margin                                                              (BiViT, with ln 4)
 *   SOFTMAX   e_j > cut * sum e,  e_j = exp(-(max dot - dot_j) * step), step >= 0       (BiT: cut = half the alpha of
 * P) max and sum over the keys that the query sees; the sum in sixteen parts, part i for the keys j = i mod 16 in
 * rising order from 0, then parts i + 8, i + 4, i + 2, i + 1 added to part i. */
typedef enum { EQ_KEEP_POSITIVE = 0, EQ_KEEP_NEAR, EQ_KEEP_SOFTMAX } eq_keep_kind;
typedef struct {
  eq_keep_kind kind;
  uint32_t margin;
  float step, cut;
} eq_keep;

/* y = (float)(sum of the kept values' signs) * scale, stored wherever a pointer is given. */
typedef struct {
  float scale;
  const float *threshold; /* [heads * d], NULL: 0 */
  float *out;             /* [batch][queries][heads * d] */
  uint8_t *out_t2;        /* [2][batch][queries][row]: y > threshold, y != threshold */
} eq_context;

/* q [planes][batch][queries][row], k and v [planes][batch][keys][row], row = eq_row_bytes(heads * d);
 * planes 1: b1, 2: t2 (sign(0) = 0). */
size_t eq_attention_b1_scratch(const eq_attention *op, uint32_t planes, const eq_keep *keep, const eq_threads *threads);
eq_status eq_attention_b1(const eq_attention *op, uint32_t planes, const uint8_t *q, const uint8_t *k, const uint8_t *v,
                          const eq_keep *keep, const eq_context *to, const eq_threads *threads, void *scratch,
                          size_t scratch_bytes);

/* ---- int8 codes: softmax, its probabilities quantised
 * s_j = (float)(q . k_j) * step_scores;  e_j = exp(s_j - max s);  p_j = e_j / sum e   (max and sum as above)
 * p_j of a key that exists and is not seen is 0; a query that sees none takes all that causal allows.
 * Codes c of p, 0 to top, and what they mean:
 *   STEP   c = clip(rint(p / step), 0, top)               value step * c
 *   UNIT   c = rint(p * top)                              value (1 / top) * c
 *   SHIFT  c = clip(rint((p - m) / step), 0, top)         value step * c + m              m = min p
 *   RANGE  c = rint((p - m) / r * top)                    value (r / top) * c + m         r = (max p - m) + 1e-8
 * min and max over the existing keys: of the query and head (per_row) or of the whole call.
 * out = (float)(sum c_j v_j) * (unit * step_v), unit being what multiplies c above; SHIFT and RANGE add
 * (float)(sum v_j) * (m * step_v). Sums over the existing keys. */
typedef enum { EQ_P_STEP = 0, EQ_P_UNIT, EQ_P_SHIFT, EQ_P_RANGE } eq_probability_kind;
typedef struct {
  eq_probability_kind kind;
  bool per_row;
  float step;   /* STEP, SHIFT */
  uint32_t top; /* 1 to 255 */
} eq_probability;

typedef struct {
  const int8_t *q, *k, *v; /* [batch][queries or keys][heads * d] */
  float step_scores, step_v;
} eq_attention_codes;

size_t eq_attention_i8_scratch(const eq_attention *op, const eq_probability *p, const eq_threads *threads);
eq_status eq_attention_i8(const eq_attention *op, const eq_attention_codes *x, const eq_probability *p, float *out,
                          const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* ---- floats
 * s_j = (q_0 k_j0 + q_1 k_j1 + ..., from 0 in rising order) * step;  e_j = exp(s_j - max s), 0 where j is not seen
 * out_c = (e_0 v_0c + e_1 v_1c + ..., from 0 over the existing keys in rising order) * (1 / sum e)
 * max and sum over the seen keys, the sum in parts as above; NaN is left out of the maximum, exp(NaN) = exp(-87). A
 * query that sees no key takes all that causal allows. */
typedef struct {
  const float *q, *k, *v;    /* [batch][queries or keys] rows, of which the first heads * d floats are read */
  size_t q_pitch, key_pitch; /* floats from a row to the next: of q; of k and of v */
  float step;
} eq_attention_floats;

size_t eq_attention_f32_scratch(const eq_attention *op, const eq_threads *threads);
eq_status eq_attention_f32(const eq_attention *op, const eq_attention_floats *x, float *out, const eq_threads *threads,
                           void *scratch, size_t scratch_bytes);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
