/* One head of attention over floats: keys in the lanes of the scores, channels in those of the context, up to
 * EQ_QUERIES queries at a time. */
#include "declare.h"
#include "functions.h"

enum { PAIR = 2 }; /* registers of keys or channels at once */

/* scores [rows][h->keys] of the keys from `first` on, PAIR or one register of them */
INLINE void score(const eq_float_head *h, const float *q, size_t q_pitch, uint32_t rows, uint32_t first, uint32_t pair,
                  float *scores) {
  v16 sum[EQ_QUERIES][PAIR];
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t r = 0; r < pair; r++) sum[i][r] = v16_set(0.0f);
  const float *keys = h->keys_by_channel + first;
  for (uint32_t c = 0; c < h->d; c++, keys += h->keys) {
    v16 key[PAIR];
    for (uint32_t r = 0; r < pair; r++) key[r] = v16_load(keys + r * EQ_LANES);
    for (uint32_t i = 0; i < rows; i++) {
      const v16 x = v16_set(q[i * q_pitch + c]);
      for (uint32_t r = 0; r < pair; r++) sum[i][r] = v16_add(sum[i][r], v16_mul(x, key[r]));
    }
  }
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t r = 0; r < pair; r++)
      v16_store(scores + (size_t)i * h->keys + first + r * EQ_LANES, v16_mul(sum[i][r], v16_set(h->step)));
}

/* Of the keys that are seen, which are all where the caller says so. */
INLINE float maximum(const eq_float_head *h, const float *scores, bool all) {
  const v16 one = v16_set(1.0f), least = v16_set(-__builtin_inff());
  v16 most = least;
  for (uint32_t j = 0; j < h->keys; j += EQ_LANES) { /* a > b ? a : b: NaN in a gives b */
    const v16 s = v16_load(scores + j);
    most = v16_max(all ? s : v16_choose_ge(v16_load(h->seen + j), one, s, least), most);
  }
  float each[EQ_LANES];
  v16_store(each, most);
  for (uint32_t i = 1; i < EQ_LANES; i++) each[0] = each[i] > each[0] ? each[i] : each[0];
  return each[0];
}

/* In place; their sum in sixteen parts. */
INLINE v16 exponentials(const eq_float_head *h, float *scores, bool all) {
  const v16 most = v16_set(maximum(h, scores, all));
  v16 sum = v16_set(0.0f);
  for (uint32_t j = 0; j < h->keys; j += EQ_LANES) {
    const v16 x = v16_sub(v16_load(scores + j), most);
    const v16 e = all ? v16_exp_below(x) : v16_mul(v16_exp(x), v16_load(h->seen + j));
    v16_store(scores + j, e);
    sum = v16_add(sum, e);
  }
  return sum;
}

/* The channels from `first` on: `pair` registers of them, of which `lanes` floats are stored. */
INLINE void context(const eq_float_head *h, const float *e, const float *sums, uint32_t rows, uint32_t first,
                    uint32_t pair, uint32_t lanes, float *out, size_t out_pitch) {
  v16 sum[EQ_QUERIES][PAIR];
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t r = 0; r < pair; r++) sum[i][r] = v16_set(0.0f);
  const float *values = h->values + first;
  for (uint32_t j = 0; j < h->used; j++, values += h->pitch) {
    v16 value[PAIR];
    for (uint32_t r = 0; r < pair; r++) value[r] = v16_load(values + r * EQ_LANES);
    for (uint32_t i = 0; i < rows; i++) {
      const v16 weight = v16_set(e[(size_t)i * h->keys + j]);
      for (uint32_t r = 0; r < pair; r++) sum[i][r] = v16_add(sum[i][r], v16_mul(weight, value[r]));
    }
  }
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t r = 0; r < pair; r++) {
      const v16 y = v16_mul(sum[i][r], v16_set(1.0f / sums[i]));
      float *to = out + i * out_pitch + first + r * EQ_LANES;
      if (lanes == pair * EQ_LANES)
        v16_store(to, y);
      else
        v16_store_n(to, y, lanes);
    }
}

INLINE void attend(const eq_float_head *h, const float *q, size_t q_pitch, uint32_t rows, float *scores, float *out,
                   size_t out_pitch) {
  uint32_t j = 0, c = 0;
  for (; j + PAIR * EQ_LANES <= h->keys; j += PAIR * EQ_LANES) score(h, q, q_pitch, rows, j, PAIR, scores);
  if (j < h->keys) score(h, q, q_pitch, rows, j, 1, scores);
  v16 parts[EQ_QUERIES];
  for (uint32_t i = 0; i < EQ_QUERIES; i++)
    parts[i] = i < rows ? exponentials(h, scores + (size_t)i * h->keys, h->all) : v16_set(0.0f);
  float sums[EQ_QUERIES];
  v16_fold_four(parts, sums);
  for (; c + PAIR * EQ_LANES <= h->d; c += PAIR * EQ_LANES)
    context(h, scores, sums, rows, c, PAIR, PAIR * EQ_LANES, out, out_pitch);
  for (; c + EQ_LANES <= h->d; c += EQ_LANES) context(h, scores, sums, rows, c, 1, EQ_LANES, out, out_pitch);
  if (c < h->d) context(h, scores, sums, rows, c, 1, h->d - c, out, out_pitch);
}

void EQ_NAME(eq_attend_f32)(const eq_float_head *h, const float *q, size_t q_pitch, uint32_t queries, float *scores,
                            float *out, size_t out_pitch) {
  for (; queries >= EQ_QUERIES; queries -= EQ_QUERIES, q += EQ_QUERIES * q_pitch, out += EQ_QUERIES * out_pitch)
    attend(h, q, q_pitch, EQ_QUERIES, scores, out, out_pitch);
  for (; queries; queries--, q += q_pitch, out += out_pitch) attend(h, q, q_pitch, 1, scores, out, out_pitch);
}
