/* Noise on many values at once: nothing is stored. */
#include "tune/four.h"
#include "tune/number.h"
#include "tune/random.h"

/* add_32: 32 values, each with x where its bit is set and with -x where it is not; `to` may be `from`. */
#if defined(__SSE2__) || defined(__ARM_NEON)
/* As many signs at once as the processor has lanes. */
#define EIGHT(bit)                                                                                                     \
  1u << (bit), 2u << (bit), 4u << (bit), 8u << (bit), 16u << (bit), 32u << (bit), 64u << (bit), 128u << (bit)
static const uint32_t bit_of[32] = {EIGHT(0), EIGHT(8), EIGHT(16), EIGHT(24)};
typedef float signed_x[1];

static void sign(float x, signed_x signs) { signs[0] = x; }

static void add_32(uint32_t bits, const float *from, const signed_x signs, float *to) {
  const uint32_t plus = eq_bits_of(signs[0]), minus = plus ^ 0x80000000u;
  float sum[32]; /* all are read before one is written */
  for (uint32_t j = 0; j < 32; j++) sum[j] = from[j] + eq_float_of(bits & bit_of[j] ? plus : minus);
  __builtin_memcpy(to, sum, sizeof sum);
}
#else
/* Four values by a table of what their four bits add. */
typedef float signed_x[16][4];

static void sign(float x, signed_x signs) {
  for (uint32_t bits = 0; bits < 16; bits++)
    for (uint32_t j = 0; j < 4; j++) signs[bits][j] = bits >> j & 1u ? x : -x;
}

static void add_32(uint32_t bits, const float *from, const signed_x signs, float *to) {
#pragma GCC unroll 8
  for (uint32_t j = 0; j < 32; j += 4) eq_add_four(&to, &from, signs[bits >> j & 15u]);
}
#endif

void eq_noise_add(const eq_noise *noise, const float *from, float x, float *to, uint32_t count) {
  uint32_t e = 0;
  if (!noise->gauss && count >= 64) {
    signed_x signs;
    sign(x, signs);
    for (; e + 64 <= count; e += 64) {
      const uint64_t word = eq_word(noise->stream, noise->k + e / 64);
      add_32((uint32_t)word, from + e, signs, to + e);
      add_32((uint32_t)(word >> 32), from + e + 32, signs, to + e + 32);
    }
  }
  for (; e < count; e++) to[e] = from[e] + x * eq_noise_at(noise, e);
}
