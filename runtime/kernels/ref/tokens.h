/* Networks over tokens: attention, embedding tables, normalisation. */
#ifndef EQ_KERNELS_REF_TOKENS_H
#define EQ_KERNELS_REF_TOKENS_H

#include "core/attention.h"
#include "ref.h"

static inline void eq_set_bit(uint8_t *row, size_t i) { row[i / 8] = (uint8_t)(row[i / 8] | 1u << (i % 8)); }

/* Sixteen partial sums folded pairwise: 8, 4, 2, 1. */
static inline float eq_fold(float p[16]) {
  for (uint32_t half = 8; half >= 1; half /= 2)
    for (uint32_t j = 0; j < half; j++) p[j] += p[j + half];
  return p[0];
}

/* dots [keys], kept [keys]: room to work in */
void eq_attention_b1_ref(const eq_attention *op, uint32_t planes, const uint8_t *q, const uint8_t *k, const uint8_t *v,
                         const eq_keep *keep, const eq_context *to, int32_t *dots, uint8_t *kept);

/* Floats that attention_i8 holds at a time: one row of probabilities, or all where a code depends on all. */
static inline uint64_t eq_probabilities_held(const eq_attention *op, const eq_probability *q) {
  const bool whole = eq_p_needs_range(q) && !q->per_row;
  return whole ? (uint64_t)op->batch * op->heads * op->queries * op->used : op->used;
}
/* p [eq_probabilities_held()]: room to work in */
void eq_attention_i8_ref(const eq_attention *op, const eq_attention_codes *x, const eq_probability *q, float *out,
                         float *p);

/* scores [used]: room to work in */
void eq_attention_f32_ref(const eq_attention *op, const eq_attention_floats *x, float *out, float *scores);

void eq_embedding_b1_ref(const eq_lookup *op, const uint8_t *w, const float *scale, float *out);
void eq_embedding_t2_ref(const eq_lookup *op, const uint8_t *w, const float *scale, float *out);
void eq_embedding_i8_ref(const eq_lookup *op, const int8_t *w, const float *scale, float *out);
void eq_embedding_i4_ref(const eq_lookup *op, const eq_weights_i4 *w, float *out);

static inline float eq_norm_input(const eq_norm *op, size_t row, uint32_t i) {
  const size_t at = row * op->k + i;
  return op->residual ? op->x[at] + op->residual[at] : op->x[at];
}
void eq_layer_norm_ref(const eq_norm *op, size_t begin, size_t end); /* rows [begin, end) */

#endif
