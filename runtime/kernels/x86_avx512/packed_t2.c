/* Few rows against packed ternary weights with VNNI: sixteen outputs in a register. */
#include "packed_t2.h"
#include "v16.h"

typedef __m512i bytes;
enum { VECTOR_OUTPUTS = 16 };

INLINE bytes bytes_load(const uint8_t *p) { return _mm512_load_si512(p); }
INLINE bytes bytes_all(char value) { return _mm512_set1_epi8(value); }
INLINE bytes words_all(int32_t value) { return _mm512_set1_epi32(value); }
INLINE bytes bytes_and(bytes a, bytes b) { return _mm512_and_si512(a, b); }
INLINE bytes words_dot(bytes sum, bytes codes, bytes x) { return _mm512_dpbusd_epi32(sum, codes, x); }
INLINE bytes words_add(bytes a, bytes b) { return _mm512_add_epi32(a, b); }
INLINE bytes words_sub(bytes a, bytes b) { return _mm512_sub_epi32(a, b); }
INLINE bytes words_shift(bytes a, int by) { return _mm512_sra_epi32(a, _mm_cvtsi32_si128(by)); }
INLINE void words_store(int32_t *to, bytes a) { _mm512_storeu_si512(to, a); }

#include "kernels/simd/packed_t2.h"

void eq_dot_packed_t2_avx512(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows,
                             const eq_packed_t2 *w, int32_t *acc, size_t pitch) {
  switch (rows) {
  case 1: all_dots(x, x_pitch, sums, 1, w, 4, acc, pitch); break;
  case 2: all_dots(x, x_pitch, sums, 2, w, 2, acc, pitch); break;
  case 3: all_dots(x, x_pitch, sums, 3, w, 1, acc, pitch); break;
  default: all_dots(x, x_pitch, sums, 4, w, 1, acc, pitch); break;
  }
}
