/* One query of one head over signs: scores of all keys side by side, which of them count, and the sums of their values
 * with all channels side by side. The loops over 64-bit words are plain C: where there is a vector popcount the
 * compiler finds it. */
#include "declare.h"
#include "functions.h"

INLINE uint64_t ones(uint64_t word) { return (uint64_t)__builtin_popcountll(word); }

/* dots[j] = q . k_j over the nonzero bits of both, plus what hides the key. */
static void score(const eq_bit_head *h, const uint64_t *q, const uint64_t *q_nonzero, const int32_t *hidden,
                  int32_t *dots) {
  for (uint32_t j = 0; j < h->keys; j += EQ_LANES) {
    uint64_t both[EQ_LANES] = {0}, differing[EQ_LANES] = {0};
    for (uint32_t w = 0; w < h->words; w++) {
      const uint64_t *k = h->key_signs + (size_t)w * h->keys + j, *k_nonzero = h->key_nonzero + (size_t)w * h->keys + j;
      for (uint32_t i = 0; i < EQ_LANES; i++) {
        const uint64_t n = q_nonzero[w] & k_nonzero[i];
        both[i] += ones(n);
        differing[i] += ones(n & (q[w] ^ k[i]));
      }
    }
    for (uint32_t i = 0; i < EQ_LANES; i++) dots[j + i] = (int32_t)(both[i] - 2 * differing[i]) + hidden[j + i];
  }
}

INLINE v16 below(v16 most, const int32_t *dots) { return v16_sub(most, v16_of_i32(dots)); }

INLINE void keep_lanes(uint64_t *kept, uint32_t j, uint32_t bits) { kept[j / 64] |= (uint64_t)bits << (j % 64); }

/* Sets the bits of the keys that count. e [keys]: room for exponentials. */
static void choose(const eq_bit_head *h, const eq_keep *keep, const float *seen, const int32_t *dots, float *e,
                   uint64_t *kept) {
  for (uint32_t w = 0; w < h->key_words; w++) kept[w] = 0;
  if (keep->kind == EQ_KEEP_POSITIVE) {
    for (uint32_t j = 0; j < h->keys; j += EQ_LANES) keep_lanes(kept, j, v16_gt(v16_of_i32(dots + j), v16_set(0.0f)));
    return;
  }
  int32_t greatest = INT32_MIN;
  for (uint32_t j = 0; j < h->keys; j++) greatest = dots[j] > greatest ? dots[j] : greatest;
  if (greatest <= EQ_HIDDEN / 2) return; /* all are hidden */
  const v16 most = v16_set((float)greatest);
  if (keep->kind == EQ_KEEP_NEAR) {
    for (uint32_t j = 0; j < h->keys; j += EQ_LANES)
      keep_lanes(kept, j, v16_ge(v16_set((float)keep->margin), below(most, dots + j)));
    return;
  }
  v16 sum = v16_set(0.0f);
  const v16 step = v16_set(0.0f - keep->step);
  for (uint32_t j = 0; j < h->keys; j += EQ_LANES) {
    const v16 term = v16_mul(v16_exp(v16_mul(below(most, dots + j), step)), v16_load(seen + j));
    v16_store(e + j, term);
    sum = v16_add(sum, term);
  }
  float p[EQ_LANES];
  v16_store(p, sum);
  for (uint32_t half = 8; half >= 1; half /= 2)
    for (uint32_t i = 0; i < half; i++) p[i] += p[i + half];
  const v16 limit = v16_set(keep->cut * p[0]);
  for (uint32_t j = 0; j < h->keys; j += EQ_LANES) keep_lanes(kept, j, v16_gt(v16_load(e + j), limit));
}

/* sums[c] = over the kept keys, +1, 0 or -1 */
static void add_values(const eq_bit_head *h, const uint64_t *kept, int32_t *sums) {
  for (uint32_t c = 0; c < h->channels; c += EQ_LANES) {
    uint64_t plus[EQ_LANES] = {0}, all[EQ_LANES] = {0};
    for (uint32_t w = 0; w < h->key_words; w++) {
      const uint64_t p = kept[w];
      const uint64_t *positive = h->value_positive + (size_t)w * h->channels + c;
      const uint64_t *nonzero = h->value_nonzero + (size_t)w * h->channels + c;
      for (uint32_t i = 0; i < EQ_LANES; i++) {
        plus[i] += ones(p & positive[i]);
        all[i] += ones(p & nonzero[i]);
      }
    }
    for (uint32_t i = 0; i < EQ_LANES; i++) sums[c + i] = (int32_t)(2 * plus[i] - all[i]);
  }
}

void EQ_NAME(eq_attend_b1)(const eq_bit_head *h, const eq_keep *keep, const uint64_t *q, const uint64_t *q_nonzero,
                           const int32_t *hidden, const float *seen, const eq_bit_room *room, int32_t *sums) {
  score(h, q, q_nonzero, hidden, room->dots);
  choose(h, keep, seen, room->dots, room->exponentials, room->kept);
  add_values(h, room->kept, sums);
}
