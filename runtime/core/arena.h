/* Carving of the caller's scratch. The same plan runs twice: without memory to learn the size, then for real. */
#ifndef EQ_CORE_ARENA_H
#define EQ_CORE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EQ_ALIGN 64u

typedef struct {
  uint8_t *base; /* NULL while measuring */
  uint64_t used;
} eq_arena;

static inline uint64_t eq_round_up(uint64_t x, uint64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

/* The next `bytes`, 64-byte aligned and followed by at least 64 bytes that may be read and overwritten; NULL while
 * measuring. */
static inline void *eq_take(eq_arena *arena, uint64_t bytes) {
  uint8_t *p = arena->base ? arena->base + arena->used : (uint8_t *)0;
  arena->used += eq_round_up(bytes, EQ_ALIGN) + EQ_ALIGN;
  return p;
}

/* What was taken, or a size that no buffer reaches. */
static inline size_t eq_arena_bytes(const eq_arena *arena) {
  return arena->used > SIZE_MAX ? SIZE_MAX : (size_t)arena->used;
}

static inline bool eq_scratch_ok(const void *scratch, size_t bytes, size_t needed) {
  return scratch && bytes >= needed && (uintptr_t)scratch % EQ_ALIGN == 0;
}

#endif
