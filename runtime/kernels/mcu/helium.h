/* Inner products for Helium (MVE of Armv8.1-M), 128 bits at once: kernels/mcu takes these where the compiler says that
 * they are there. Exact in integers, so that their order does not matter. docs/kernels.md has the counts. */
#ifndef EQ_KERNELS_MCU_HELIUM_H
#define EQ_KERNELS_MCU_HELIUM_H

#include <arm_mve.h>
#include <stddef.h>
#include <stdint.h>

/* Ones in every four bits. */
static inline uint8x16_t eq_nibbles_helium(uint8x16_t v) {
  const uint8x16_t halves = vdupq_n_u8(0x55), quarters = vdupq_n_u8(0x33);
  v = vsubq_u8(v, vandq_u8(vshrq_n_u8(v, 1), halves));
  return vaddq_u8(vandq_u8(v, quarters), vandq_u8(vshrq_n_u8(v, 2), quarters));
}

static inline uint8x16_t eq_differing_helium(const uint8_t *x, const uint8_t *w) {
  return veorq_u8(vldrbq_u8(x), vldrbq_u8(w));
}

/* count + ones in x ^ w over `bytes`, a multiple of 16; any addresses. */
static inline uint32_t eq_count_helium(uint32_t count, const uint8_t *x, const uint8_t *w, uint32_t bytes) {
  enum { VECTOR = 16 };
  const uint8x16_t low = vdupq_n_u8(0x0f);
  for (; bytes >= 2 * VECTOR;
       bytes -= 2 * VECTOR, x += 2 * VECTOR, w += 2 * VECTOR) { /* at most 8: four bits hold it */
    const uint8x16_t two = vaddq_u8(eq_nibbles_helium(eq_differing_helium(x, w)),
                                    eq_nibbles_helium(eq_differing_helium(x + VECTOR, w + VECTOR)));
    count = vaddvaq_u8(count, vaddq_u8(vandq_u8(two, low), vshrq_n_u8(two, 4)));
  }
  if (bytes) {
    const uint8x16_t one = eq_nibbles_helium(eq_differing_helium(x, w));
    count = vaddvaq_u8(count, vaddq_u8(vandq_u8(one, low), vshrq_n_u8(one, 4)));
  }
  return count;
}

/* Sum of x * w over k. */
static inline int32_t eq_dot_i8_helium(const int8_t *x, const int8_t *w, uint32_t k) {
  enum { VECTOR = 16 };
  int32_t sum = 0;
  for (; k >= VECTOR; k -= VECTOR, x += VECTOR, w += VECTOR) sum = vmladavaq_s8(sum, vldrbq_s8(w), vldrbq_s8(x));
  if (k) {
    const mve_pred16_t there = vctp8q(k);
    sum = vmladavaq_p_s8(sum, vldrbq_z_s8(w, there), vldrbq_z_s8(x, there), there);
  }
  return sum;
}

#endif
