/* Little-endian words at byte offsets: the machine is little-endian too (tune.c insists). */
#ifndef EQ_TUNE_JOURNAL_H
#define EQ_TUNE_JOURNAL_H

#include <stdint.h>

static inline void eq_put32(uint8_t *bytes, uint32_t at, uint32_t word) {
  __builtin_memcpy(bytes + at, &word, sizeof word);
}

static inline uint32_t eq_get32(const uint8_t *bytes, uint32_t at) {
  uint32_t word;
  __builtin_memcpy(&word, bytes + at, sizeof word);
  return word;
}

#endif
