#include "memory.h"

enum { PAINT = 0xa5, MARGIN = 64 /* this function's own frame */ };

void memory_paint_stack(void) {
  const uint8_t *here = __builtin_frame_address(0);
  for (volatile uint8_t *p = stack_limit; p < here - MARGIN; p++) *p = PAINT;
}

size_t memory_in_use(void) {
  const uint8_t *deepest = stack_limit;
  while (deepest < stack_top && *deepest == PAINT) deepest++;
  return (size_t)(free_start - ram_start) + (size_t)(stack_top - deepest);
}

/* What gcc asks of every environment. volatile keeps it from making calls of themselves out of these loops. */
void *memcpy(void *to, const void *from, size_t count);
void *memcpy(void *to, const void *from, size_t count) {
  for (size_t i = 0; i < count; i++) ((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
  return to;
}

void *memset(void *to, int byte, size_t count);
void *memset(void *to, int byte, size_t count) {
  for (size_t i = 0; i < count; i++) ((volatile uint8_t *)to)[i] = (uint8_t)byte;
  return to;
}
