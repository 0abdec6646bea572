/* Rows of a packed table as floats, sixteen at a time. */
#include "declare.h"

/* Byte i of the result is bit i. */
INLINE uint64_t spread(uint8_t bits) {
  const uint64_t chosen = bits * 0x0101010101010101u & 0x8040201008040201u;
  return (chosen + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u;
}

/* 1 where a bit is 1, else 0. */
INLINE v16 of_bits(uint8_t low, uint8_t high) {
  const uint64_t bytes[2] = {spread(low), spread(high)};
  return v16_of_i8((const int8_t *)bytes);
}

INLINE v16 expanded(const uint8_t *sign, const uint8_t *nonzero, uint32_t lanes, float scale) {
  const bool two = lanes > 8;
  const v16 ones = of_bits(sign[0], two ? sign[1] : 0), all = v16_set(scale);
  const v16 y = v16_choose(v16_sub(ones, v16_set(0.5f)), all, v16_mul(all, v16_set(-1.0f)));
  if (!nonzero) return y;
  const v16 kept = of_bits(nonzero[0], two ? nonzero[1] : 0);
  return v16_choose(v16_sub(kept, v16_set(0.5f)), y, v16_set(0.0f));
}

void EQ_NAME(eq_expand)(const uint8_t *sign, const uint8_t *nonzero, uint32_t k, float scale, float *out) {
  for (uint32_t i = 0; i < k; i += EQ_LANES) {
    const uint32_t lanes = k - i < EQ_LANES ? k - i : EQ_LANES;
    const v16 y = expanded(sign + i / 8, nonzero ? nonzero + i / 8 : (const uint8_t *)0, lanes, scale);
    if (lanes == EQ_LANES)
      v16_store(out + i, y);
    else
      v16_store_n(out + i, y, lanes);
  }
}
