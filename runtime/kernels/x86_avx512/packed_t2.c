/* Rows against packed ternary weights with VNNI: sixteen outputs in a register. */
#include "packed_t2.h"
#include "v16.h"

typedef __m512i bytes;
enum { VECTOR_OUTPUTS = 16, MOST_ROWS = EQ_FEW_ROWS };

INLINE bytes bytes_load(const uint8_t *p) { return _mm512_load_si512(p); }
INLINE bytes bytes_all(char value) { return _mm512_set1_epi8(value); }
INLINE bytes words_all(int32_t value) { return _mm512_set1_epi32(value); }
INLINE bytes bytes_and(bytes a, bytes b) { return _mm512_and_si512(a, b); }
/* VPDPBUSD written out: around the intrinsic gcc 12 copies every sum, twice a step. */
INLINE bytes words_dot(bytes sum, bytes codes, bytes x) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(x));
  return sum;
}
INLINE bytes words_add(bytes a, bytes b) { return _mm512_add_epi32(a, b); }
INLINE bytes words_sub(bytes a, bytes b) { return _mm512_sub_epi32(a, b); }
INLINE bytes words_shift(bytes a, int by) { return _mm512_sra_epi32(a, _mm_cvtsi32_si128(by)); }
INLINE void words_store(int32_t *to, bytes a) { _mm512_storeu_si512(to, a); }

#include "kernels/simd/packed_t2.h"

/* ---- more rows: two panels at once, so that all sums stay in registers ---- */

enum { RUN = 8, TWO = FIELDS / 2 };

/* The panels whose codes are the lower (half 0) or upper four bits of a byte: products of two of these bits and of all
 * four, which upper ones make 16 times too large. */
INLINE void run(const uint8_t *x, size_t x_pitch, const int32_t *sums, int rows, const eq_packed_t2 *w, int half,
                int32_t *acc, size_t pitch) {
  const __m512i mask[TWO] = {_mm512_set1_epi8((char)(0x03 << 4 * half)), _mm512_set1_epi8((char)(0x0f << 4 * half))};
  const uint8_t *codes = w->codes;
  __m512i sum[RUN][TWO];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = _mm512_setzero_si512();
  for (uint32_t step = 0; step < w->words * EQ_T2_WORD_STEPS; step++, codes += STEP_BYTES, x += EQ_STEP) {
    const __m512i all = _mm512_load_si512(codes);
    const __m512i low = _mm512_and_si512(all, mask[0]), both = _mm512_and_si512(all, mask[1]);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      const __m512i a = four_inputs(x + (size_t)r * x_pitch);
      sum[r][0] = words_dot(sum[r][0], low, a);
      sum[r][1] = words_dot(sum[r][1], both, a);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
    const __m512i ones = _mm512_set1_epi32(sums[r]); /* codes: w + 1 */
    int32_t *to = acc + (size_t)r * pitch + half * TWO * EQ_LANES;
    const __m512i first = _mm512_srai_epi32(sum[r][0], half ? 4 : 0);
    const __m512i second = _mm512_srai_epi32(_mm512_sub_epi32(sum[r][1], sum[r][0]), half ? 6 : 2);
    _mm512_storeu_si512(to, _mm512_sub_epi32(first, ones));
    _mm512_storeu_si512(to + EQ_LANES, _mm512_sub_epi32(second, ones));
  }
}

INLINE void halves(const uint8_t *x, size_t x_pitch, const int32_t *sums, int rows, const eq_packed_t2 *w, int32_t *acc,
                   size_t pitch) {
  for (int half = 0; half < 2; half++) run(x, x_pitch, sums, rows, w, half, acc, pitch);
}

static void some_rows(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows, const eq_packed_t2 *w,
                      int32_t *acc, size_t pitch) {
  switch (rows) {
  case 1: all_dots(x, x_pitch, sums, 1, w, 4, acc, pitch); break;
  case 2: all_dots(x, x_pitch, sums, 2, w, 2, acc, pitch); break;
  case 3: all_dots(x, x_pitch, sums, 3, w, 1, acc, pitch); break;
  case 4: all_dots(x, x_pitch, sums, 4, w, 1, acc, pitch); break;
  case 5: halves(x, x_pitch, sums, 5, w, acc, pitch); break;
  case 6: halves(x, x_pitch, sums, 6, w, acc, pitch); break;
  case 7: halves(x, x_pitch, sums, 7, w, acc, pitch); break;
  default: halves(x, x_pitch, sums, 8, w, acc, pitch); break;
  }
}

/* Runs of nearly the same number of rows. */
void eq_dot_packed_t2_avx512(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows,
                             const eq_packed_t2 *w, int32_t *acc, size_t pitch) {
  const uint32_t runs = (rows + RUN - 1) / RUN;
  for (uint32_t i = 0, first = 0, count; i < runs; i++, first += count) {
    count = (rows - first + runs - i - 1) / (runs - i);
    some_rows(x + first * x_pitch, x_pitch, sums + first, count, w, acc + first * pitch, pitch);
  }
}
