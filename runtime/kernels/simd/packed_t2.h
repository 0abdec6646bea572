/* Few rows against packed ternary weights where VPDPBUSD is: codes of two bits times signed activations.
 *
 * Codes are multiplied where they lie in their bytes, 1, 4, 16 and 64 times too large, and their sums divided at the
 * end. The including file gives: bytes (a register), VECTOR_OUTPUTS, and bytes_load, bytes_all, words_all, bytes_and,
 * words_dot, words_add, words_shift, words_store. */
#include "core/tiles_t2.h"

enum { VECTORS = EQ_BLOCK / VECTOR_OUTPUTS, FIELDS = EQ_T2_WORD_STEPS };

INLINE bytes four_inputs(const uint8_t *x) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  return words_all(word);
}

INLINE void dots(const uint8_t *x, size_t x_pitch, const int32_t *sums, int rows, const eq_packed_t2 *w, int first,
                 int vectors, int32_t *acc, size_t pitch) {
  const bytes field[FIELDS] = {bytes_all(0x03), bytes_all(0x0c), bytes_all(0x30), bytes_all((char)0xc0)};
  const uint8_t *codes = w->codes + (size_t)first * VECTOR_OUTPUTS * 4;
  bytes sum[EQ_FEW_ROWS][VECTORS][FIELDS];
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++)
      for (int g = 0; g < FIELDS; g++) sum[r][v][g] = words_all(0);
  for (uint32_t word = 0; word < w->words; word++, codes += EQ_BLOCK * 4, x += EQ_T2_WORD)
    for (int v = 0; v < vectors; v++) {
      const bytes all = bytes_load(codes + v * VECTOR_OUTPUTS * 4);
      for (int g = 0; g < FIELDS; g++) {
        const bytes code = bytes_and(all, field[g]);
        for (int r = 0; r < rows; r++)
          sum[r][v][g] = words_dot(sum[r][v][g], code, four_inputs(x + (size_t)r * x_pitch + g * EQ_STEP));
      }
    }
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) {
      bytes total = words_add(sum[r][v][0], words_all(-sums[r])); /* codes are w + 1 */
      for (int g = 1; g < FIELDS; g++) total = words_add(total, words_shift(sum[r][v][g], 2 * g));
      words_store(acc + (size_t)r * pitch + (first + v) * VECTOR_OUTPUTS, total);
    }
}

INLINE void all_dots(const uint8_t *x, size_t x_pitch, const int32_t *sums, int rows, const eq_packed_t2 *w,
                     int vectors, int32_t *acc, size_t pitch) {
  for (int v = 0; v < VECTORS; v += vectors) dots(x, x_pitch, sums, rows, w, v, vectors, acc, pitch);
}
