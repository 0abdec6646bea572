/* int8 activations with the dot product extension: SDOT adds four products to each of four outputs. */
#include "kernels/neon/v16.h"

enum { PRODUCT_PIXELS = 4, OFFSET = 0 };

typedef struct {
  int32x4_t quad[4];
} sum16;

INLINE void sum16_begin(sum16 *s) {
  for (int i = 0; i < 4; i++) s->quad[i] = vdupq_n_s32(0);
}

INLINE void sum16_add(sum16 *s, const uint8_t *x, const int8_t *w) {
  uint32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  const int8x16_t a = vreinterpretq_s8_u32(vdupq_n_u32(word));
  for (int i = 0; i < 4; i++) s->quad[i] = vdotq_s32(s->quad[i], vld1q_s8(w + 16 * i), a);
}

INLINE void sum16_store(const sum16 *s, int32_t *to) {
  for (int i = 0; i < 4; i++) vst1q_s32(to + 4 * i, s->quad[i]);
}

#include "kernels/simd/product_i8.h"

const eq_integer_kernels eq_integer_neon_dotprod = EQ_INTEGER_TABLE(false, .expand_t2 = expand_t2_plain);
