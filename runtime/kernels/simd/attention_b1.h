/* One query of one head over signs: scores of all keys side by side, which of them count, and the sums of their values
 * with all channels side by side. */
#include "declare.h"
#include "functions.h"

/* dots[j] = q . k_j over the nonzero bits of both, plus what hides the key. */
INLINE void score(const eq_bit_head *h, const uint64_t *q, const uint64_t *q_nonzero, const int32_t *hidden,
                  int32_t *dots) {
  for (uint32_t j = 0; j < h->keys; j += 2 * WORDS) {
    words both[2] = {words_zero(), words_zero()}, differing[2] = {words_zero(), words_zero()};
    for (uint32_t w = 0; w < h->words; w++)
      for (uint32_t i = 0; i < 2; i++) {
        const size_t at = (size_t)w * h->keys + j + i * WORDS;
        const words n = words_and(words_set(q_nonzero[w]), words_load(h->key_nonzero + at));
        both[i] = words_count(both[i], n);
        differing[i] = words_count(differing[i], words_differing(n, words_set(q[w]), words_load(h->key_signs + at)));
      }
    words_store_sixteen(dots + j, both, differing, hidden + j);
  }
}

INLINE v16 below(v16 most, const int32_t *dots) { return v16_sub(most, v16_of_i32(dots)); }

/* The bits of 64 keys from the comparisons of sixteen; `lanes` is an expression in j. */
#define KEEP(lanes)                                                                                                    \
  for (uint32_t w = 0; w < h->key_words; w++) {                                                                        \
    uint64_t bits = 0;                                                                                                 \
    for (uint32_t i = 0; i < 64; i += EQ_LANES) {                                                                      \
      const uint32_t j = 64 * w + i;                                                                                   \
      bits |= (uint64_t)(lanes) << i;                                                                                  \
    }                                                                                                                  \
    kept[w] = bits;                                                                                                    \
  }

/* Sets the bits of the keys that count. e [keys]: room for exponentials. */
static void choose(const eq_bit_head *h, const eq_keep *keep, const float *seen, const int32_t *dots, float *e,
                   uint64_t *kept) {
  if (keep->kind == EQ_KEEP_POSITIVE) {
    KEEP(v16_gt(v16_of_i32(dots + j), v16_set(0.0f)))
    return;
  }
  int32_t greatest = INT32_MIN;
  for (uint32_t j = 0; j < h->keys; j++) greatest = dots[j] > greatest ? dots[j] : greatest;
  const v16 most = v16_set((float)greatest);
  if (keep->kind == EQ_KEEP_NEAR) {
    const v16 margin = v16_set(greatest <= EQ_HIDDEN / 2 ? -1.0f : (float)keep->margin); /* if all are hidden, none */
    KEEP(v16_ge(margin, below(most, dots + j)))
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
  KEEP(v16_gt(v16_load(e + j), limit))
}

/* sums[c] = over the kept keys, +1, 0 or -1: those not 0, less twice the negative ones. */
INLINE void add_values(const eq_bit_head *h, const uint64_t *kept, int32_t *sums) {
  static const int32_t nothing[2 * WORDS];
  for (uint32_t c = 0; c < h->channels; c += 2 * WORDS) {
    words all[2] = {words_zero(), words_zero()}, negative[2] = {words_zero(), words_zero()};
    for (uint32_t w = 0; w < h->key_words; w++)
      for (uint32_t i = 0; i < 2; i++) {
        const words p = words_set(kept[w]);
        const size_t at = (size_t)w * h->channels + c + i * WORDS;
        all[i] = words_count(all[i], words_and(p, words_load(h->value_nonzero + at)));
        negative[i] = words_count(negative[i], words_and(p, words_load(h->value_negative + at)));
      }
    words_store_sixteen(sums + c, all, negative, nothing);
  }
}

void EQ_NAME(eq_attend_b1)(const eq_bit_head *h, const eq_keep *keep, const uint64_t *q, const uint64_t *q_nonzero,
                           const int32_t *hidden, const float *seen, const eq_bit_room *room, int32_t *sums) {
  score(h, q, q_nonzero, hidden, room->dots);
  choose(h, keep, seen, room->dots, room->exponentials, room->kept);
  add_values(h, room->kept, sums);
}
