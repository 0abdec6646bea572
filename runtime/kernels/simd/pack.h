/* Floats to bits: sixteen comparisons make two bytes. */
#include "core/arena.h"
#include "declare.h"

typedef enum { AT_LEAST, ABOVE, UNEQUAL } relation;

INLINE uint32_t compare(relation r, v16 x, v16 threshold) {
  return r == AT_LEAST ? v16_ge(x, threshold) : r == ABOVE ? v16_gt(x, threshold) : v16_ne(x, threshold);
}

/* Of the floats from i on. */
INLINE uint32_t sixteen(relation r, const float *x, const float *threshold, uint32_t i) {
  return compare(r, v16_load(x + i), threshold ? v16_load(threshold + i) : v16_set(0.0f));
}

enum { WORD = 64 }; /* bits that are written at once */

INLINE void pack_plane(relation r, const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  const size_t bytes = eq_row_bytes(k);
  const uint32_t whole = k / EQ_LANES * EQ_LANES, rest = k - whole;
  for (size_t row = 0; row < rows; row++, x += k, out += bytes) {
    uint32_t i = 0;
    for (; i + WORD <= whole; i += WORD) {
      uint64_t word = 0;
      for (uint32_t j = 0; j < WORD; j += EQ_LANES) word |= (uint64_t)sixteen(r, x, threshold, i + j) << j;
      __builtin_memcpy(out + i / 8, &word, sizeof word);
    }
    for (; i < whole; i += EQ_LANES) {
      const uint16_t bits = (uint16_t)sixteen(r, x, threshold, i);
      __builtin_memcpy(out + i / 8, &bits, sizeof bits);
    }
    for (size_t b = whole / 8; b < bytes; b++) out[b] = 0;
    if (!rest) continue;
    const v16 t = threshold ? v16_load_n(threshold + whole, rest) : v16_set(0.0f);
    const uint32_t bits = compare(r, v16_load_n(x + whole, rest), t) & ((1u << rest) - 1);
    out[whole / 8] = (uint8_t)bits;
    if (rest > 8) out[whole / 8 + 1] = (uint8_t)(bits >> 8);
  }
}

void EQ_NAME(eq_pack_b1)(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  pack_plane(AT_LEAST, x, rows, k, threshold, out);
}

void EQ_NAME(eq_pack_t2)(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  pack_plane(ABOVE, x, rows, k, threshold, out);
  pack_plane(UNEQUAL, x, rows, k, threshold, out + rows * eq_row_bytes(k));
}
