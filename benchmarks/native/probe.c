/* What this core needs at least, and the loop that public binary engines fall back to on x86.
 *
 * The probes count one 1-bit multiply and add as two operations, like the benchmarks. They work in registers only, so
 * they give the ceiling of the instruction mix, not of memory; probe_read is the ceiling of memory. */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define REPEAT8(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define REPEAT12(X) REPEAT8(X) X(8) X(9) X(10) X(11)

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

/* VPDPBUSD of 12 registers a step: 12 * 64 * 2 operations on bytes, 12 * 32 * 2 with 256 bits. Two start in a cycle and
 * each takes five, so that fewer than ten sums would measure their latency. */
__attribute__((target("avx512f,avx512vnni"))) void probe_dot_avx512(uint64_t steps) {
  for (uint64_t i = 0; i < steps; i++) {
#define STEP(j) __asm__ volatile("vpdpbusd %%zmm16, %%zmm17, %%zmm" #j::: "xmm" #j);
    REPEAT12(STEP)
#undef STEP
  }
}

__attribute__((target("avx2"))) void probe_dot_avx_vnni(uint64_t steps) {
  for (uint64_t i = 0; i < steps; i++) {
#define STEP(j) __asm__ volatile("%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #j::: "xmm" #j);
    REPEAT12(STEP)
#undef STEP
  }
}

/* VPMADDUBSW and a sum in 16 bits, what AVX2 needs at least where the products are small: 8 * 32 * 2 operations. */
__attribute__((target("avx2"))) void probe_dot_avx2(uint64_t steps) {
  for (uint64_t i = 0; i < steps; i++) {
#define STEP(j)                                                                                                        \
  __asm__ volatile("vpmaddubsw %%ymm14, %%ymm15, %%ymm13\n\t"                                                          \
                   "vpaddw %%ymm13, %%ymm" #j ", %%ymm" #j::                                                           \
                       : "xmm" #j, "xmm13");
    REPEAT8(STEP)
#undef STEP
  }
}

static volatile uint64_t read; /* keeps the compiler from leaving out what nobody looks at */

__attribute__((target("avx512f"))) static void read_wide(const __m512i *p, size_t bytes) {
  __m512i a = _mm512_setzero_si512(), b = a;
  for (size_t i = 0; i < bytes / 64; i += 2) {
    a = _mm512_xor_si512(a, _mm512_loadu_si512(p + i));
    b = _mm512_xor_si512(b, _mm512_loadu_si512(p + i + 1));
  }
  read = (uint64_t)_mm512_reduce_add_epi64(_mm512_xor_si512(a, b));
}

/* Reads bytes (a multiple of 128) once, in the widest loads there are. */
__attribute__((target("avx2"))) int probe_read(const void *data, size_t bytes) {
  if (__builtin_cpu_supports("avx512f")) {
    read_wide(data, bytes / 128 * 128);
    return 0;
  }
  const __m256i *p = data;
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (size_t i = 0; i + 4 <= bytes / 32; i += 4) {
    a = _mm256_xor_si256(a, _mm256_loadu_si256(p + i));
    b = _mm256_xor_si256(b, _mm256_loadu_si256(p + i + 1));
    c = _mm256_xor_si256(c, _mm256_loadu_si256(p + i + 2));
    d = _mm256_xor_si256(d, _mm256_loadu_si256(p + i + 3));
  }
  a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
  read = (uint64_t)_mm256_extract_epi64(a, 0);
  return 0;
}

/* out[m][o] = alpha[o] * (k - 2 * popcount(x ^ w)), four output channels by two rows, one 64-bit word at a time: the
 * shape of the portable loop that Larq Compute Engine runs on x86 (own code). x [m][words], w [o / 4][words][4]. */
__attribute__((target("popcnt"), optimize("no-tree-vectorize"))) int
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
  return 0;
}

/* Sums of 16-bit lanes. */
__attribute__((target("avx2"))) static inline int32_t total(__m256i sums) {
  const __m256i words = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

/* out[m][o] = row_scale[m] * scale[o] * sum of (code - 1) * x: ternary weights as BitNet's I2_S lays them out, 128
 * codes of two bits in 32 bytes, a quarter in each pair of bits, the first in the highest (own code). w [o][k / 4], k a
 * multiple of 128, sums [m] of x. Up to four rows share the unpacking. */
__attribute__((target("avx2"))) int i2s_avx2(const int8_t *x, const int32_t *sums, const float *row_scale,
                                             const uint8_t *w, const float *scale, uint32_t m, uint32_t k, uint32_t o,
                                             float *out) {
  enum { ROWS = 4, BLOCK = 128, QUARTER = 32, MOST = 16 /* blocks in 16 bits: 4 * 508 each */ };
  const __m256i low = _mm256_set1_epi8(3);
  for (size_t row = 0; row < m; row += ROWS) {
    const size_t rows = m - row < ROWS ? m - row : ROWS;
    for (size_t n = 0; n < o; n++) {
      const uint8_t *codes = w + n * (k / 4);
      int32_t sum[ROWS] = {0};
      for (size_t first = 0; first < k; first += MOST * BLOCK) {
        const size_t end = k - first < MOST * BLOCK ? k : first + MOST * BLOCK;
        __m256i part[ROWS];
        for (size_t r = 0; r < ROWS; r++) part[r] = _mm256_setzero_si256();
        for (size_t i = first; i < end; i += BLOCK) {
          const __m256i all = _mm256_loadu_si256((const void *)(codes + i / 4));
          const __m256i quarter[4] = {_mm256_and_si256(_mm256_srli_epi16(all, 6), low),
                                      _mm256_and_si256(_mm256_srli_epi16(all, 4), low),
                                      _mm256_and_si256(_mm256_srli_epi16(all, 2), low), _mm256_and_si256(all, low)};
#define ROW(r)                                                                                                         \
  if (r < rows)                                                                                                        \
    for (size_t q = 0; q < 4; q++)                                                                                     \
      part[r] = _mm256_add_epi16(                                                                                      \
          part[r],                                                                                                     \
          _mm256_maddubs_epi16(quarter[q], _mm256_loadu_si256((const void *)(x + (row + r) * k + i + q * QUARTER))));
          ROW(0) ROW(1) ROW(2) ROW(3)
#undef ROW
        }
        for (size_t r = 0; r < rows; r++) sum[r] += total(part[r]);
      }
      for (size_t r = 0; r < rows; r++)
        out[(row + r) * o + n] = (float)(sum[r] - sums[row + r]) * (row_scale[row + r] * scale[n]);
    }
  }
  return 0;
}

/* Calls of the core one after the other, so that a timing holds one foreign call. All arguments are numbers and
 * pointers. Returns the first status that is not 0. */
typedef struct {
  int (*function)(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t,
                  uintptr_t);
  uintptr_t a[10];
} prepared;

int probe_sequence(const prepared *calls, size_t count) {
  for (const prepared *c = calls; c < calls + count; c++) {
    const int status =
        c->function(c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5], c->a[6], c->a[7], c->a[8], c->a[9]);
    if (status) return status;
  }
  return 0;
}

/* sums[m] of the rows of x [m][k] */
int probe_row_sums(const int8_t *x, size_t m, size_t k, int32_t *sums) {
  for (size_t row = 0; row < m; row++, x += k) {
    sums[row] = 0;
    for (size_t i = 0; i < k; i++) sums[row] += x[i];
  }
  return 0;
}
