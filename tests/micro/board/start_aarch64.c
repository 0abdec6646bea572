/* start.c for an emulated 64-bit Arm: memory as cached (unaligned reads are allowed), semihosting for output and exit;
 * 16 instructions make a tick of the generic timer at 62.5 MHz. */
#include "board.h"

#include <stddef.h>

enum { WRITE0 = 0x04, EXIT = 0x18, APPLICATION_EXIT = 0x20026 };

extern uint32_t bss_start[], bss_end[]; /* link.ld */

int main(void);
_Noreturn void begin(void);

__asm__(".section .vectors, \"ax\"\n"
        "mov x0, #(3 << 20)\n msr cpacr_el1, x0\n isb\n" /* floating point */
        "adrp x0, stack_top\n add x0, x0, :lo12:stack_top\n mov sp, x0\n b begin\n.text");

/* The first two GiB onto themselves: devices, then memory. */
static uint64_t table[512] __attribute__((aligned(4096)));

static void map_memory(void) {
  enum { BLOCK = 1, ACCESSED = 1 << 10, SHARED = 3 << 8, MEMORY = 1 << 2 /* attribute 1 */, GIB_SHIFT = 30 };
  table[0] = BLOCK | ACCESSED;
  table[1] = (uint64_t)1 << GIB_SHIFT | BLOCK | ACCESSED | SHARED | MEMORY;
  const uint64_t attributes = 0xff00, control = 25 /* 39 bits */ | 1 << 8 | 1 << 10 | 3 << 12 | (uint64_t)1 << 23;
  __asm__ volatile("msr mair_el1, %0\n msr tcr_el1, %1\n msr ttbr0_el1, %2\n dsb sy\n isb\n"
                   "mrs x9, sctlr_el1\n orr x9, x9, #4\n orr x9, x9, #1\n msr sctlr_el1, x9\n isb"
                   :
                   : "r"(attributes), "r"(control), "r"(table)
                   : "x9", "memory");
}

static void semihost(uint64_t operation, const void *argument) {
  register uint64_t x0 __asm__("x0") = operation;
  register const void *x1 __asm__("x1") = argument;
  __asm__ volatile("hlt 0xf000" : "+r"(x0) : "r"(x1) : "memory");
}

void board_put(const char *text) { semihost(WRITE0, text); }

void board_stop(int code) {
  const uint64_t arguments[2] = {APPLICATION_EXIT, (uint64_t)code};
  semihost(EXIT, arguments);
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
  uint64_t count;
  __asm__ volatile("isb\n mrs %0, cntvct_el0" : "=r"(count)::"memory");
  return (uint32_t)count;
}

__attribute__((used)) _Noreturn void begin(void) {
  for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
  map_memory();
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
