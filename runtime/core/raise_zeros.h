/* Ternary weights as two rows of signs, w = (lower + upper) / 2: lower is plane 0 as it is, its zeros read as -1. */
#ifndef EQ_CORE_RAISE_ZEROS_H
#define EQ_CORE_RAISE_ZEROS_H

#include "edgeq/types.h"

/* upper = sign | ~nonzero, zeros read as +1, over the k bits of a row of `bytes` bytes; past them 0, as in x. */
static inline void eq_raise_zeros(const uint8_t *sign, const uint8_t *nonzero, uint32_t k, size_t bytes,
                                  uint8_t *upper) {
  for (size_t b = 0; b < bytes; b++) {
    const uint32_t left = 8 * b < k ? k - (uint32_t)(8 * b) : 0;
    const unsigned valid = left >= 8 ? 0xff : (1u << left) - 1;
    upper[b] = (uint8_t)((sign[b] | ~nonzero[b]) & valid);
  }
}

#endif
