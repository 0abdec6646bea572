/* Rows against packed ternary weights with AVX-VNNI: eight outputs in a register. */
#include "packed_t2.h"
#include "kernels/x86_avx2/v16.h"

typedef __m256i bytes;
enum { VECTOR_OUTPUTS = 8, MOST_ROWS = 2 };

INLINE bytes bytes_load(const uint8_t *p) { return _mm256_load_si256((const void *)p); }
INLINE bytes bytes_all(char value) { return _mm256_set1_epi8(value); }
INLINE bytes words_all(int32_t value) { return _mm256_set1_epi32(value); }
INLINE bytes bytes_and(bytes a, bytes b) { return _mm256_and_si256(a, b); }
INLINE bytes words_dot(bytes sum, bytes codes, bytes x) { return _mm256_dpbusd_avx_epi32(sum, codes, x); }
INLINE bytes words_add(bytes a, bytes b) { return _mm256_add_epi32(a, b); }
INLINE bytes words_sub(bytes a, bytes b) { return _mm256_sub_epi32(a, b); }
INLINE bytes words_shift(bytes a, int by) { return _mm256_sra_epi32(a, _mm_cvtsi32_si128(by)); }
INLINE void words_store(int32_t *to, bytes a) { _mm256_storeu_si256((void *)to, a); }

#include "kernels/simd/packed_t2.h"

void eq_dot_packed_t2_avx_vnni(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows,
                               const eq_packed_t2 *w, int32_t *acc, size_t pitch) {
  for (; rows >= 2; rows -= 2, x += 2 * x_pitch, sums += 2, acc += 2 * pitch)
    all_dots(x, x_pitch, sums, 2, w, 1, acc, pitch);
  if (rows) all_dots(x, x_pitch, sums, 1, w, 2, acc, pitch);
}
