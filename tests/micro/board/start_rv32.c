/* start.c for an emulated RV32: semihosting for output and exit; a tick is one instruction (minstret). */
#include "board.h"

#include <stddef.h>

enum { WRITE0 = 0x04, EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026 };

extern uint32_t bss_start[], bss_end[]; /* link.ld */

int main(void);
_Noreturn void start(void);

__attribute__((section(".vectors"), naked, used)) void reset(void);
void reset(void) { __asm__ volatile("la sp, stack_top\n j start"); }

static void semihost(uint32_t operation, const void *argument) {
  register uint32_t a0 __asm__("a0") = operation;
  register const void *a1 __asm__("a1") = argument;
  /* the three belong together, uncompressed */
  __asm__ volatile(".option push\n.option norvc\n.balign 16\n"
                   "slli zero, zero, 0x1f\n ebreak\n srai zero, zero, 7\n.option pop"
                   : "+r"(a0)
                   : "r"(a1)
                   : "memory");
}

void board_put(const char *text) { semihost(WRITE0, text); }

void board_stop(int code) {
  const uint32_t arguments[2] = {APPLICATION_EXIT, (uint32_t)code};
  semihost(EXIT_EXTENDED, arguments);
  for (;;) {
  }
}

void board_put_number(uint32_t number) {
  char digits[12];
  char *at = digits + sizeof digits;
  *--at = 0;
  do *--at = (char)('0' + number % 10);
  while (number /= 10);
  *--at = ' ';
  board_put(at);
}

uint32_t board_ticks(void) {
  uint32_t count;
  __asm__ volatile("csrr %0, minstret" : "=r"(count));
  return count;
}

_Noreturn void start(void) {
  for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
  board_stop(main());
}

#define LOOP __asm__ volatile("" ::: "memory")

void *memset(void *to, int byte, size_t count);
void *memset(void *to, int byte, size_t count) {
  for (uint8_t *p = to; count; count--) {
    LOOP;
    *p++ = (uint8_t)byte;
  }
  return to;
}

void *memcpy(void *to, const void *from, size_t count);
void *memcpy(void *to, const void *from, size_t count) {
  const uint8_t *q = from;
  for (uint8_t *p = to; count; count--) {
    LOOP;
    *p++ = *q++;
  }
  return to;
}
