/* Noise on many values at once: nothing is stored, and a processor with vectors makes as many signs as it has lanes. */
#include "tune/number.h"
#include "tune/random.h"

#define EIGHT(bit)                                                                                                     \
  1u << (bit), 2u << (bit), 4u << (bit), 8u << (bit), 16u << (bit), 32u << (bit), 64u << (bit), 128u << (bit)
static const uint32_t bit_of[32] = {EIGHT(0), EIGHT(8), EIGHT(16), EIGHT(24)};

/* 32 values, each with x where its bit is set and with -x where it is not. */
static void add_32(uint32_t bits, const float *from, float x, float *to) {
  const uint32_t plus = eq_bits_of(x), minus = plus ^ 0x80000000u;
  float sum[32]; /* `to` may be `from`: all are read before one is written */
  for (uint32_t j = 0; j < 32; j++) sum[j] = from[j] + eq_float_of(bits & bit_of[j] ? plus : minus);
  __builtin_memcpy(to, sum, sizeof sum);
}

void eq_noise_add(const eq_noise *noise, const float *from, float x, float *to, uint32_t count) {
  uint32_t e = 0;
  for (; !noise->gauss && e + 64 <= count; e += 64) {
    const uint64_t word = eq_word(noise->stream, noise->k + e / 64);
    add_32((uint32_t)word, from + e, x, to + e);
    add_32((uint32_t)(word >> 32), from + e + 32, x, to + e + 32);
  }
  for (; e < count; e++) to[e] = from[e] + x * eq_noise_at(noise, e);
}
