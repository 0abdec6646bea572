/* Rows against packed ternary weights where VPDPBUSD is: codes of two bits times signed activations.
 *
 * A byte holds codes of four panels, c0 + 4 c1 + 16 c2 + 64 c3, that meet the same activation. Products of the byte as
 * it is, of its lower six, four and two bits need three masks for four products; differences of their sums are the
 * sums of c3, c2 and c1, 64, 16 and 4 times too large. The including file gives: bytes (a register), VECTOR_OUTPUTS,
 * MOST_ROWS at once, and bytes_load, bytes_all, words_all, bytes_and, words_dot, words_add, words_sub, words_shift,
 * words_store. */
#include "core/tiles_t2.h"

enum { FIELDS = EQ_BLOCK / EQ_LANES, STEP_BYTES = EQ_LANES * EQ_STEP, MOST_CHAINS = 4 };
enum { AHEAD = 2048 }; /* bytes that are fetched before they are read */

INLINE bytes four_inputs(const uint8_t *x) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  return words_all(word);
}

/* Outputs from `first` on of each panel; steps take turns with `chains` sums, lest one waits for the one before. */
INLINE void dots(const uint8_t *x, size_t x_pitch, const int32_t *sums, int rows, const eq_packed_t2 *w, int first,
                 int chains, int32_t *acc, size_t pitch) {
  const bytes mask[FIELDS - 1] = {bytes_all(0x03), bytes_all(0x0f), bytes_all(0x3f)};
  const uint8_t *codes = w->codes + (size_t)first * EQ_STEP;
  bytes sum[MOST_ROWS][MOST_CHAINS][FIELDS];
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < chains; c++)
      for (int f = 0; f < FIELDS; f++) sum[r][c][f] = words_all(0);
  for (uint32_t step = 0; step < w->words * EQ_T2_WORD_STEPS; step += (uint32_t)chains)
    for (int c = 0; c < chains; c++, codes += STEP_BYTES, x += EQ_STEP) {
      const bytes all = bytes_load(codes);
      if (rows <= EQ_FEW_ROWS) __builtin_prefetch(codes + AHEAD);
      const bytes part[FIELDS] = {bytes_and(all, mask[0]), bytes_and(all, mask[1]), bytes_and(all, mask[2]), all};
      for (int r = 0; r < rows; r++) {
        const bytes a = four_inputs(x + (size_t)r * x_pitch);
        for (int f = 0; f < FIELDS; f++) sum[r][c][f] = words_dot(sum[r][c][f], part[f], a);
      }
    }
  for (int r = 0; r < rows; r++) {
    bytes below = words_all(0);
    for (int f = 0; f < FIELDS; f++) {
      bytes total = sum[r][0][f];
      for (int c = 1; c < chains; c++) total = words_add(total, sum[r][c][f]);
      const bytes own = words_shift(words_sub(total, below), 2 * f);
      words_store(acc + (size_t)r * pitch + f * EQ_LANES + first,
                  words_sub(own, words_all(sums[r]))); /* codes: w + 1 */
      below = total;
    }
  }
}

INLINE void all_dots(const uint8_t *x, size_t x_pitch, const int32_t *sums, int rows, const eq_packed_t2 *w, int chains,
                     int32_t *acc, size_t pitch) {
  for (int first = 0; first < EQ_LANES; first += VECTOR_OUTPUTS)
    dots(x, x_pitch, sums, rows, w, first, chains, acc, pitch);
}
