/* Counter-based random numbers: no state, so that noise is made again instead of being kept. */
#ifndef EQ_TUNE_RANDOM_H
#define EQ_TUNE_RANDOM_H

#include <stdint.h>

enum { EQ_STREAM_BATCH = 0, EQ_STREAM_AC = 1, EQ_STREAM_LATENT = 2, EQ_STREAM_HEAD = 5 };

#define EQ_STREAM_STRIDE 0x9E3779B97F4A7C15ull

static inline uint64_t eq_mix(uint64_t z) {
  z ^= z >> 30;
  z *= 0xBF58476D1CE4E5B9ull;
  z ^= z >> 27;
  z *= 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

/* What all words of a stream and step have in common. */
static inline uint64_t eq_stream(uint64_t run, uint32_t stream, uint64_t step) {
  return eq_mix(run + ((uint64_t)stream + 1) * EQ_STREAM_STRIDE) + step * 0xD1342543DE82EF95ull;
}

static inline uint64_t eq_word(uint64_t stream, uint64_t k) { return eq_mix(stream + k * EQ_STREAM_STRIDE); }

/* Sum of four uniform numbers of 16 bits: mean 0, variance 1, within +-3.46. */
static inline float eq_gauss(uint64_t word) {
  const int32_t sum =
      (int32_t)((word & 65535u) + (word >> 16 & 65535u) + (word >> 32 & 65535u) + (word >> 48)) - 131070;
  return (float)sum * 2.6429011e-5f;
}

static inline uint32_t eq_pick(uint64_t word, uint32_t below) { return (uint32_t)((word >> 32) * below >> 32); }

/* Noise of one row: signs, 64 of them a word, the lowest bit first; or one Gaussian number a word. */
typedef struct {
  uint64_t stream, k; /* the words k, k + 1 ... of the stream */
  uint32_t gauss;
} eq_noise;

static inline eq_noise eq_noise_signs(uint64_t stream, uint32_t row, uint32_t entries) {
  return (eq_noise){stream, (uint64_t)row * ((entries + 63u) / 64u), 0};
}

static inline eq_noise eq_noise_gauss(uint64_t stream) { return (eq_noise){stream, 0, 1}; }

/* Entry e. */
static inline float eq_noise_at(const eq_noise *noise, uint32_t e) {
  if (noise->gauss) return eq_gauss(eq_word(noise->stream, noise->k + e));
  return eq_word(noise->stream, noise->k + e / 64) >> e % 64 & 1 ? 1.0f : -1.0f;
}

/* to[e] = from[e] + x * noise[e] for e in [0, count); `to` may be `from`. */
void eq_noise_add(const eq_noise *noise, const float *from, float x, float *to, uint32_t count);

#endif
