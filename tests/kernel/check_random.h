/* What the checks of kernels share: random values, memory that ends at guard bytes, threads, and the sets to compare.
 */
#ifndef EQ_CHECK_RANDOM_H
#define EQ_CHECK_RANDOM_H

#define _GNU_SOURCE /* the registers in a signal's context */
#include <edgeq/ops.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/ports/optional_isas.h"
#include "amx_emulator.h"

/* ---- random values ---- */

static uint64_t state;

static inline uint32_t bits32(void) { /* splitmix64 */
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (uint32_t)(z >> 32);
}
static inline uint32_t below(uint32_t n) { return bits32() % n; }
static inline bool chance(uint32_t percent) { return below(100) < percent; }
static inline uint32_t one_of(const uint32_t *values, size_t count) { return values[below((uint32_t)count)]; }
#define ONE_OF(...) one_of((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* ---- guarded memory, freed together after each problem ---- */

enum { GUARD = 64, PATTERN = 0xa5, MOST = 128 };
typedef struct {
  uint8_t *raw;
  size_t bytes;
} area;
static area areas[MOST];
static size_t areas_used;

static inline void *take(size_t bytes) {
  const size_t whole = (bytes + 63) / 64 * 64;
  uint8_t *raw = aligned_alloc(64, whole + 2 * GUARD);
  if (!raw || areas_used == MOST) abort();
  memset(raw, PATTERN, whole + 2 * GUARD);
  areas[areas_used++] = (area){raw, bytes};
  return raw + GUARD;
}

static inline bool guards_whole(void) {
  for (size_t i = 0; i < areas_used; i++) {
    const area *a = &areas[i];
    const size_t end = (a->bytes + 63) / 64 * 64 + 2 * GUARD;
    for (size_t k = 0; k < end; k++)
      if ((k < GUARD || k >= GUARD + a->bytes) && a->raw[k] != PATTERN) return false;
  }
  return true;
}

static inline void release_all(void) {
  while (areas_used) free(areas[--areas_used].raw);
}

static inline float *floats(size_t count) {
  float *p = take(count * sizeof(float));
  for (size_t i = 0; i < count; i++)
    p[i] = chance(5) ? 0.0f : chance(5) ? -0.0f : (float)((int32_t)bits32() >> 8) * (1.0f / 4194304.0f);
  return p;
}
/* All or some of them smaller or larger than what is usual. */
static inline float *wild(size_t count) {
  static const float by[] = {0x1p-149f, 0x1p-128f, 0x1p-110f, 0x1p-95f, 0x1p90f, 0x1p101f, 0x1p117f};
  enum { KINDS = sizeof by / sizeof *by };
  float *p = floats(count);
  const uint32_t same = below(2 * KINDS);
  for (size_t i = 0; i < count; i++)
    if (same < KINDS || chance(20)) p[i] *= by[same < KINDS ? same : below(KINDS)];
  return p;
}
static inline float *maybe(size_t count) { return chance(60) ? floats(count) : NULL; }
static inline uint8_t *bytes(size_t count) {
  uint8_t *p = take(count);
  const uint32_t kind = below(10); /* now and then the extremes: all equal, all different */
  for (size_t i = 0; i < count; i++) p[i] = kind == 0 ? 0 : kind == 1 ? 0xff : (uint8_t)bits32();
  return p;
}
static inline uint8_t *packed(size_t rows, uint32_t k) {
  const size_t row = eq_row_bytes(k);
  uint8_t *p = bytes(rows * row);
  for (size_t r = 0; r < rows; r++)
    for (size_t b = 0; b < 8 * row; b++)
      if (b >= k) p[r * row + b / 8] &= (uint8_t)~(1u << (b % 8));
  return p;
}

/* ---- threads: shares handed out last first, on this thread ---- */

static inline void run(void *context, eq_task task, void *arg, size_t count) {
  const unsigned workers = *(const unsigned *)context;
  for (unsigned i = workers; i-- > 0;)
    if (count * i / workers < count * (i + 1) / workers) task(arg, count * i / workers, count * (i + 1) / workers, i);
}

/* Other choices for every set, half of them at an end of their range: no result may change. */
static inline void random_choices(void) {
  for (int isa = 0; isa < EQ_ISA_COUNT; isa++)
    for (int id = 0; id < EQ_CHOICE_COUNT; id++) {
      uint32_t least, most;
      if (!eq_choice_range((eq_choice_id)id, &least, &most)) abort();
      uint32_t value = chance(50) ? ONE_OF(least, most) : least + below(most - least + 1);
      if (least > 1) value -= value % least;
      if (eq_choice_set((eq_isa)isa, (eq_choice_id)id, value) != EQ_OK) abort();
    }
}

/* Lets the core use what this processor has, or what is emulated here, and prints the sets. */
static inline void announce_sets(void) {
  eq_allow_optional_isas();
  if (!eq_isa_usable(EQ_ISA_AMX)) emulate_amx();
  for (int isa = 0; isa < EQ_ISA_COUNT; isa++)
    if (eq_isa_usable((eq_isa)isa)) printf("%s ", eq_isa_name((eq_isa)isa));
  printf("\n");
}

#endif
