/* What exported examples need of a libc. */
#include "board.h"

int puts(const char *text);
int puts(const char *text) {
  board_put(text);
  board_put("\n");
  return 0;
}

int memcmp(const void *a, const void *b, size_t count);
int memcmp(const void *a, const void *b, size_t count) {
  const uint8_t *p = a, *q = b;
  for (; count; count--, p++, q++)
    if (*p != *q) return *p - *q;
  return 0;
}
