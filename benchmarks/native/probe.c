/* What this core needs at least, and the loop that public binary engines fall back to on x86.
 *
 * The probes count one 1-bit multiply and add as two operations, like the benchmarks. They work in registers only, so
 * they give the ceiling of the instruction mix, not of memory; probe_read is the ceiling of memory. */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define REPEAT8(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

/* xor, popcount, add of 8 words of 512 bits a step: 8 * 512 * 2 operations. */
__attribute__((target("avx512f,avx512vpopcntdq"))) void probe_popcount_avx512(uint64_t steps) {
  for (uint64_t i = 0; i < steps; i++) {
#define STEP(j)                                                                                                        \
  __asm__ volatile("vpxorq %%zmm16, %%zmm1" #j ", %%zmm" #j "\n\t"                                                     \
                   "vpopcntq %%zmm" #j ", %%zmm" #j "\n\t"                                                             \
                   "vpaddq %%zmm" #j ", %%zmm2" #j ", %%zmm2" #j::                                                     \
                       : "xmm" #j, "xmm2" #j);
    REPEAT8(STEP)
#undef STEP
  }
}

/* Two table look-ups by nibbles and two byte sums for each of 8 words of 256 bits a step: 8 * 256 * 2 operations. */
__attribute__((target("avx2"))) void probe_popcount_avx2(uint64_t steps) {
  for (uint64_t i = 0; i < steps; i++) {
#define STEP(j)                                                                                                        \
  __asm__ volatile("vpshufb %%ymm15, %%ymm14, %%ymm12\n\t"                                                             \
                   "vpaddb %%ymm12, %%ymm" #j ", %%ymm" #j "\n\t"                                                      \
                   "vpshufb %%ymm11, %%ymm10, %%ymm13\n\t"                                                             \
                   "vpaddb %%ymm13, %%ymm" #j ", %%ymm" #j::                                                           \
                       : "xmm" #j, "xmm12", "xmm13");
    REPEAT8(STEP)
#undef STEP
  }
}

/* Reads bytes (a multiple of 128) once. */
__attribute__((target("avx2"))) uint64_t probe_read(const void *data, size_t bytes) {
  const __m256i *p = data;
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (size_t i = 0; i + 4 <= bytes / 32; i += 4) {
    a = _mm256_xor_si256(a, _mm256_loadu_si256(p + i));
    b = _mm256_xor_si256(b, _mm256_loadu_si256(p + i + 1));
    c = _mm256_xor_si256(c, _mm256_loadu_si256(p + i + 2));
    d = _mm256_xor_si256(d, _mm256_loadu_si256(p + i + 3));
  }
  a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
  return (uint64_t)_mm256_extract_epi64(a, 0);
}

/* out[m][o] = alpha[o] * (k - 2 * popcount(x ^ w)), four output channels by two rows, one 64-bit word at a time: the
 * shape of the portable loop that Larq Compute Engine runs on x86 (own code). x [m][words], w [o / 4][words][4]. */
__attribute__((target("popcnt"), optimize("no-tree-vectorize"))) void
scalar_4x2(const uint64_t *x, const uint64_t *w, const float *alpha, uint32_t m, uint32_t k, uint32_t o, float *out) {
  const size_t words = k / 64;
  for (size_t row = 0; row < m; row += 2) {
    const uint64_t *a0 = x + row * words, *a1 = row + 1 < m ? a0 + words : a0;
    const uint64_t *panel = w;
    for (size_t n = 0; n < o; n += 4) {
      int64_t count[2][4] = {{0}};
      for (size_t i = 0; i < words; i++, panel += 4)
        for (int j = 0; j < 4; j++) {
          count[0][j] += __builtin_popcountll(panel[j] ^ a0[i]);
          count[1][j] += __builtin_popcountll(panel[j] ^ a1[i]);
        }
      for (size_t r = 0; r < 2 && row + r < m; r++)
        for (int j = 0; j < 4; j++)
          out[(row + r) * o + n + (size_t)j] = alpha[n + (size_t)j] * (float)((int64_t)k - 2 * count[r][j]);
    }
  }
}
