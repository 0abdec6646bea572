/* Bytes of files: little-endian words, and the machine is little-endian too (tune.c insists). */
#ifndef EQ_TUNE_JOURNAL_H
#define EQ_TUNE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

static inline void eq_put32(uint8_t *bytes, uint32_t at, uint32_t word) {
  __builtin_memcpy(bytes + at, &word, sizeof word);
}

static inline uint32_t eq_get32(const uint8_t *bytes, uint32_t at) {
  uint32_t word;
  __builtin_memcpy(&word, bytes + at, sizeof word);
  return word;
}

static inline bool eq_same(const uint8_t *a, const uint8_t *b, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (a[i] != b[i]) return false;
  return true;
}

#endif
