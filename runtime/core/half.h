/* IEEE half precision, exactly. */
#ifndef EQ_CORE_HALF_H
#define EQ_CORE_HALF_H

#include <stdint.h>

static inline float eq_half(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 1023u;
  if (exponent == 0) { /* zero and subnormals: fraction * 2^-24 */
    const float size = (float)fraction * 5.9604644775390625e-8f;
    return sign ? -size : size;
  }
  const uint32_t bits = sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | fraction << 13;
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

#endif
