/* What gcc and clang ask of every environment, for a library that stands without libc. Compiled without the loop idioms
 * that would make calls of themselves out of these loops. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t __attribute__((may_alias, aligned(1))) word;

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
  uint8_t *t = to;
  const uint8_t *f = from;
  for (; count >= sizeof(word); count -= sizeof(word), t += sizeof(word), f += sizeof(word))
    *(word *)(void *)t = *(const word *)(const void *)f;
  while (count--) *t++ = *f++;
  return to;
}

void *memmove(void *to, const void *from, size_t count) {
  if ((uintptr_t)to <= (uintptr_t)from) return memcpy(to, from, count); /* rising order is right then */
  uint8_t *t = (uint8_t *)to + count;
  const uint8_t *f = (const uint8_t *)from + count;
  while (count--) *--t = *--f;
  return to;
}

void *memset(void *to, int byte, size_t count) {
  uint8_t *t = to;
  const word whole = (uint8_t)byte * 0x0101010101010101u;
  for (; count >= sizeof(word); count -= sizeof(word), t += sizeof(word)) *(word *)(void *)t = whole;
  while (count--) *t++ = (uint8_t)byte;
  return to;
}

int memcmp(const void *a, const void *b, size_t count) {
  const uint8_t *x = a, *y = b;
  for (; count > 0; count--, x++, y++)
    if (*x != *y) return *x < *y ? -1 : 1;
  return 0;
}
