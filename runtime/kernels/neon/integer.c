/* int8 activations with baseline NEON: products of bytes as 16 bits, added in pairs. */
#include "v16.h"

enum { PRODUCT_PIXELS = 2, OFFSET = 0 };

typedef struct {
  int32x4_t pairs[8]; /* two sums of pairs for each output */
} sum16;

INLINE void sum16_begin(sum16 *s) {
  for (int i = 0; i < 8; i++) s->pairs[i] = vdupq_n_s32(0);
}

INLINE void sum16_add(sum16 *s, const uint8_t *x, const int8_t *w) {
  uint32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  const int8x16_t a = vreinterpretq_s8_u32(vdupq_n_u32(word));
  for (int i = 0; i < 4; i++) {
    const int8x16_t weights = vld1q_s8(w + 16 * i);
    s->pairs[2 * i] = vpadalq_s16(s->pairs[2 * i], vmull_s8(vget_low_s8(weights), vget_low_s8(a)));
    s->pairs[2 * i + 1] = vpadalq_s16(s->pairs[2 * i + 1], vmull_high_s8(weights, a));
  }
}

INLINE void sum16_store(const sum16 *s, int32_t *to) {
  for (int i = 0; i < 4; i++) vst1q_s32(to + 4 * i, vpaddq_s32(s->pairs[2 * i], s->pairs[2 * i + 1]));
}

#include "kernels/simd/product_i8.h"

const eq_integer_kernels eq_integer_neon = EQ_INTEGER_TABLE(false, .expand_t2 = expand_t2_plain);
