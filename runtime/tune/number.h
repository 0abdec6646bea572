/* Arithmetic that gives the same bits everywhere: + - * / in single precision, and what is built from them here. */
#ifndef EQ_TUNE_NUMBER_H
#define EQ_TUNE_NUMBER_H

#include "core/functions.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint32_t eq_bits_of(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float eq_float_of(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

static inline bool eq_finite(float x) { return (eq_bits_of(x) & 0x7f800000u) != 0x7f800000u; }

static inline bool eq_all_finite(const float *x, size_t count) {
  uint32_t bad = 0;
  for (size_t i = 0; i < count; i++) bad |= !eq_finite(x[i]);
  return !bad;
}

/* Below 2^-60 nothing is left, so that a processor which flushes subnormal numbers sees what others see. */
static inline float eq_flush(float x) { return (eq_bits_of(x) & 0x7fffffffu) < 67u << 23 ? 0.0f : x; }

static inline float eq_abs(float x) { return eq_float_of(eq_bits_of(x) & 0x7fffffffu); }
static inline float eq_clip(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

/* Correctly rounded, by integers: no instruction and no library is needed. x >= 0; subnormal numbers count as 0. */
static inline float eq_sqrt_integer(float x) {
  const uint32_t bits = eq_bits_of(x), exponent = bits >> 23;
  if (exponent == 0 || exponent >= 255) return exponent == 0 ? 0.0f : x;
  const uint32_t odd = (exponent + 1) & 1; /* 2^(exponent - 127) has an odd power */
  uint64_t rest = (uint64_t)((bits & 0x7fffffu) | 0x800000u) << (23 + odd), root = 0;
  for (uint64_t bit = 1ull << 46; bit; bit >>= 2) {
    if (rest >= root + bit) {
      rest -= root + bit;
      root = (root >> 1) + bit;
    } else
      root >>= 1;
  }
  if (rest > root) root++;                            /* above root + 1/2; a tie is impossible */
  const uint32_t half = (exponent - odd + 127u) >> 1; /* exponent of the root */
  return eq_float_of((half << 23) + (uint32_t)root - 0x800000u);
}

/* The processor's own square root is the same number, where it has one. */
static inline float eq_sqrt(float x) {
#if defined(__NO_MATH_ERRNO__) && (defined(__SSE2__) || defined(__aarch64__))
  return __builtin_sqrtf(x);
#elif defined(__thumb2__) && defined(__ARM_FP) && (__ARM_FP & 4) /* freestanding: gcc would call a library's */
  float root;
  __asm__("vsqrt.f32 %0, %1" : "=t"(root) : "t"(x));
  return root;
#else
  return eq_sqrt_integer(x);
#endif
}

/* Natural logarithm of a normal positive number, relative error below 2e-7: x = 2^e m, sqrt(1/2) <= m < sqrt(2),
 * log m = 2 atanh((m - 1) / (m + 1)). */
static inline float eq_log(float x) {
  const uint32_t bits = eq_bits_of(x) - 0x3f3504f3u; /* sqrt(1/2) becomes exponent 0 */
  const int32_t e = (int32_t)bits >> 23;
  const float m = eq_float_of((bits & 0x7fffffu) + 0x3f3504f3u);
  const float z = (m - 1.0f) / (m + 1.0f), q = z * z;
  const float odd = (((0.111111111f * q + 0.142857143f) * q + 0.2f) * q + 0.333333333f) * q;
  return (float)e * EQ_LN2_HIGH + (2.0f * (z + z * odd) + (float)e * EQ_LN2_LOW);
}

/* To half precision, half to even; beyond 65504 infinity. */
static inline uint16_t eq_to_half(float x) {
  const uint32_t bits = eq_bits_of(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
  if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
  if (size < 0x33000001u) return (uint16_t)sign; /* 2^-25 and less */
  const uint32_t exponent = size >> 23;
  const uint32_t drop = exponent < 113u ? 126u - exponent : 13u; /* subnormal halves lose more bits */
  const uint32_t from = exponent < 113u ? (size & 0x7fffffu) | 0x800000u : size - (112u << 23);
  const uint32_t kept = from >> drop, rest = from & ((1u << drop) - 1), tie = 1u << (drop - 1);
  return (uint16_t)(sign | (kept + (rest > tie || (rest == tie && (kept & 1)))));
}

/* From 1 at the first step to 0 after the last: (1 + cos(pi (step - 1) / steps)) / 2 as (1 - sin(pi u)) / 2. */
static inline float eq_cosine(uint32_t step, uint32_t steps) {
  const float u = (float)(step - 1) / (float)steps - 0.5f, q = u * u;
  const float sine =
      u * (3.14159265f -
           q * (5.16771278f - q * (2.55016404f - q * (0.599264529f - q * (0.0821458866f - q * 0.00737043095f)))));
  return eq_clip(0.5f - 0.5f * sine, 0.0f, 1.0f);
}

#endif
