/* Ones in x ^ w, and how to add them up in few instructions. */
#ifndef EQ_KERNELS_MCU_POPCOUNT_H
#define EQ_KERNELS_MCU_POPCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "inline.h"

#if defined(__ARM_FEATURE_DSP) || defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#define EQ_HAS_USADA8 1
#endif
#ifdef __wasm_simd128__
#include "kernels/wasm_simd128/dots.h"
#endif
#ifdef __ARM_FEATURE_MVE
#include "helium.h"
#endif

/* Stops the compiler from taking x for a constant: as a register operand it goes into an instruction with a shift. */
#define EQ_OPAQUE(x) __asm__("" : "+r"(x))

enum { EQ_PIECE = 1024 }; /* words that a count may run over before eq_ones_total */

typedef struct {
  uint32_t ones, twos, fours, halves;
} eq_masks;

static inline eq_masks eq_masks_load(void) {
  eq_masks m = {0x55555555u, 0x33333333u, 0x0f0f0f0fu, 0x00ff00ffu};
  EQ_OPAQUE(m.ones);
  EQ_OPAQUE(m.twos);
  EQ_OPAQUE(m.fours);
#ifndef EQ_HAS_USADA8
  EQ_OPAQUE(m.halves);
#endif
  return m;
}

/* At any address; compilers make one load of it where the machine allows. */
static inline uint32_t eq_load_any(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint32_t eq_load_word(const uint8_t *p) {
  uint32_t v;
  __builtin_memcpy(&v, __builtin_assume_aligned(p, 4), 4);
  return v;
}
static inline uint32_t eq_load(const uint8_t *p, bool aligned) { return aligned ? eq_load_word(p) : eq_load_any(p); }

/* Counts of ones in every 4 bits, of 4 at most; then in every byte. */
static inline uint32_t eq_nibbles(uint32_t x, const eq_masks *m) {
  x -= x >> 1 & m->ones;
  return (x & m->twos) + (x >> 2 & m->twos);
}
static inline uint32_t eq_bytes(uint32_t nibbles, const eq_masks *m) {
  return (nibbles & m->fours) + (nibbles >> 4 & m->fours);
}

/* Adds four byte counts to a running count. */
static inline uint32_t eq_ones_add(uint32_t count, uint32_t bytes, const eq_masks *m) {
#ifdef EQ_HAS_USADA8
  (void)m;
  return __usada8(bytes, 0, count);
#else
  return count + (bytes & m->halves) + (bytes >> 8 & m->halves);
#endif
}
static inline uint32_t eq_ones_total(uint32_t count) {
#ifdef EQ_HAS_USADA8
  return count;
#else
  return (count + (count >> 16)) & 0xffff;
#endif
}

/* Full adder over 32 bits at once: *high = majority(a, b, c), returns a ^ b ^ c (Harley and Seal). */
static inline uint32_t eq_carry_save(uint32_t *high, uint32_t a, uint32_t b, uint32_t c) {
  const uint32_t u = a ^ b;
  *high = (a & b) | (u & c);
  return u ^ c;
}

/* Running count of ones in x ^ w over `words` <= EQ_PIECE words. x word aligned. */
static inline EQ_INLINE uint32_t eq_count_differing(uint32_t count, const uint32_t *x, const uint8_t *w, uint32_t words,
                                                    bool aligned, const eq_masks *m) {
#define EQ_DIFFERENCE(i) (x[i] ^ eq_load(w + 4 * (i), aligned))
#if defined(__riscv_zbb) || defined(__wasm__) /* which count bits in an instruction */
  (void)m;
#ifdef __wasm_simd128__
  const uint32_t wide = words & ~3u;
  count += eq_differing_wasm((const uint8_t *)x, w, 4 * wide);
  words -= wide, x += wide, w += 4 * wide;
#endif
  for (; words; words--, x++, w += 4) count += (uint32_t)__builtin_popcount(EQ_DIFFERENCE(0));
#else
#ifdef __ARM_FEATURE_MVE
  const uint32_t wide = words & ~3u;
  count = eq_count_helium(count, (const uint8_t *)x, w, 4 * wide);
  words -= wide, x += wide, w += 4 * wide;
#endif
  for (; words >= 8; words -= 8, x += 8, w += 32) { /* 7 words become a sum of 1 + 2 + 4 */
    uint32_t two0, two1, two2, four;
    uint32_t one = eq_carry_save(&two0, EQ_DIFFERENCE(0), EQ_DIFFERENCE(1), EQ_DIFFERENCE(2));
    one = eq_carry_save(&two1, one, EQ_DIFFERENCE(3), EQ_DIFFERENCE(4));
    one = eq_carry_save(&two2, one, EQ_DIFFERENCE(5), EQ_DIFFERENCE(6));
    const uint32_t two = eq_carry_save(&four, two0, two1, two2);
    const uint32_t single = eq_nibbles(one, m) + eq_nibbles(EQ_DIFFERENCE(7), m); /* at most 8 */
    const uint32_t many = eq_nibbles(two, m) + 2 * eq_nibbles(four, m);           /* at most 12 */
    count = eq_ones_add(count, eq_bytes(single, m) + 2 * eq_bytes(many, m), m);
  }
  if (words & 4) {
    const uint32_t a = eq_nibbles(EQ_DIFFERENCE(0), m) + eq_nibbles(EQ_DIFFERENCE(1), m),
                   b = eq_nibbles(EQ_DIFFERENCE(2), m) + eq_nibbles(EQ_DIFFERENCE(3), m);
    count = eq_ones_add(count, eq_bytes(a, m) + eq_bytes(b, m), m);
    x += 4, w += 16;
  }
  if (words & 2) {
    count = eq_ones_add(count, eq_bytes(eq_nibbles(EQ_DIFFERENCE(0), m) + eq_nibbles(EQ_DIFFERENCE(1), m), m), m);
    x += 2, w += 8;
  }
  if (words & 1) count = eq_ones_add(count, eq_bytes(eq_nibbles(EQ_DIFFERENCE(0), m), m), m);
#endif
#undef EQ_DIFFERENCE
  return count;
}

#endif
