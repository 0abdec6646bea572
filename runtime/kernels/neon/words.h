/* Eight 64-bit words side by side: the vocabulary of kernels/simd for bits. */
#ifndef EQ_NEON_WORDS_H
#define EQ_NEON_WORDS_H

#include "v16.h"

enum { WORDS = 8 };
typedef struct {
  uint64x2_t q[4];
} words;

#define WORDS_EACH(expression)                                                                                         \
  words r;                                                                                                             \
  for (int i = 0; i < 4; i++) r.q[i] = (expression);                                                                   \
  return r

INLINE words words_zero(void) { WORDS_EACH(vdupq_n_u64(0)); }
INLINE words words_set(uint64_t word) { WORDS_EACH(vdupq_n_u64(word)); }
INLINE words words_load(const uint64_t *p) { WORDS_EACH(vld1q_u64(p + 2 * i)); }
INLINE words words_and(words a, words b) { WORDS_EACH(vandq_u64(a.q[i], b.q[i])); }
/* n & (a ^ b) */
INLINE words words_differing(words n, words a, words b) { WORDS_EACH(vandq_u64(n.q[i], veorq_u64(a.q[i], b.q[i]))); }
INLINE uint64x2_t pair_ones(uint64x2_t v) {
  return vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vcntq_u8(vreinterpretq_u8_u64(v)))));
}
/* total + ones of each word */
INLINE words words_count(words total, words bits) { WORDS_EACH(vaddq_u64(total.q[i], pair_ones(bits.q[i]))); }
/* to[i] = (int32_t)(a[i] - 2 * b[i]) + plus[i], for sixteen */
INLINE void words_store_sixteen(int32_t *to, const words a[2], const words b[2], const int32_t *plus) {
  for (int i = 0; i < 8; i++) {
    const uint64x2_t difference = vsubq_u64(a[i / 4].q[i % 4], vshlq_n_u64(b[i / 4].q[i % 4], 1));
    vst1_s32(to + 2 * i, vadd_s32(vreinterpret_s32_u32(vmovn_u64(difference)), vld1_s32(plus + 2 * i)));
  }
}

#endif
