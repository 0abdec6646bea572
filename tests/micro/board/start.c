/* The least that a program needs on an emulated Cortex-M: vectors, reset, output and exit by semihosting, a clock.
 * QEMU counts instructions with -icount shift=0: TICK of them make one tick of SysTick. */
#include "board.h"

#include <stddef.h>

enum { WRITE0 = 0x04, EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026, VECTORS = 16, FAULT = 99 };

extern uint32_t stack_top[], data_start[], data_end[], data_source[], bss_start[], bss_end[]; /* link.ld */
extern uint8_t stack_limit[];

int main(void);
void reset_handler(void);

static void semihost(uint32_t operation, const void *argument) {
  register uint32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
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

void board_put_hex(const void *bytes, size_t count) {
  static const char digits[] = "0123456789abcdef";
  const uint8_t *p = bytes;
  while (count) {
    char text[65];
    size_t i = 0;
    for (; i < 32 && count; i++, count--, p++) {
      text[2 * i] = digits[*p >> 4];
      text[2 * i + 1] = digits[*p & 15];
    }
    text[2 * i] = 0;
    board_put(text);
  }
}

/* ---- clock: SysTick, 24 bits, extended by its interrupt */
static volatile uint32_t *const systick = (volatile uint32_t *)0xe000e010;
static volatile uint32_t wraps;
static void tick_handler(void) { wraps++; }

uint32_t board_ticks(void) {
  uint32_t before, value;
  do { /* a wrap between the two reads would tear them apart */
    before = wraps;
    value = systick[2];
  } while (before != wraps);
  return (before << 24) + (0xffffff - value);
}

/* ---- stack */
enum { PAINT = 0xa5, MARGIN = 192 /* room for an interrupt */ };

void board_paint_stack(void) {
  const uint8_t *here = __builtin_frame_address(0);
  for (volatile uint8_t *p = stack_limit; p < here - MARGIN; p++) *p = PAINT;
}

uint32_t board_stack_used(void) {
  const uint8_t *p = stack_limit;
  while (p < (const uint8_t *)stack_top && *p == PAINT) p++;
  return (uint32_t)((const uint8_t *)stack_top - p);
}

static void fault_handler(void) { board_stop(FAULT); }

typedef union {
  void *stack;
  void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[VECTORS] = {
    {.stack = stack_top},
    {.handler = reset_handler},
    [2 ... 6] = {.handler = fault_handler},
    [15] = {.handler = tick_handler},
};

void reset_handler(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* coprocessors 10 and 11: floating point, Helium */
  __asm__ volatile("dsb\n isb" ::: "memory");
#endif
  const uint32_t *from = data_source;
  for (uint32_t *to = data_start; to < data_end;) *to++ = *from++;
  for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
  systick[1] = 0xffffff;
  systick[2] = 0;
  systick[0] = 7; /* core clock, interrupt, on */
  board_stop(main());
}

/* As a libc has them: words where both ends allow. The barrier keeps the compiler from making calls of themselves out
 * of the loops. */
#define LOOP __asm__ volatile("" ::: "memory")

void *memcpy(void *to, const void *from, size_t count);
void *memcpy(void *to, const void *from, size_t count) {
  uint8_t *p = to;
  const uint8_t *q = from;
  if ((uintptr_t)p % 4 == 0 && (uintptr_t)q % 4 == 0)
    for (; count >= 4; count -= 4, p += 4, q += 4) {
      LOOP;
      *(uint32_t *)(void *)p = *(const uint32_t *)(const void *)q;
    }
  for (; count; count--) {
    LOOP;
    *p++ = *q++;
  }
  return to;
}

void *memset(void *to, int byte, size_t count);
void *memset(void *to, int byte, size_t count) {
  uint8_t *p = to;
  if ((uintptr_t)p % 4 == 0)
    for (; count >= 4; count -= 4, p += 4) {
      LOOP;
      *(uint32_t *)(void *)p = 0x01010101u * (uint8_t)byte;
    }
  for (; count; count--) {
    LOOP;
    *p++ = (uint8_t)byte;
  }
  return to;
}
