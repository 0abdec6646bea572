/* From reset to main on a Cortex-M, and the functions that gcc expects of every environment. */
#include <stddef.h>
#include <stdint.h>

#include "board.h"

enum { FAULT = 99, VECTORS = 16, RESET = 1, SYSTICK = 15 };

extern uint32_t stack_top[], data_start[], data_end[], data_source[], bss_start[], bss_end[]; /* link.ld */

int main(void);
void systick_handler(void);
void reset_handler(void);

static void fault_handler(void) { board_stop(FAULT); }

typedef union {
  void *stack;
  void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[VECTORS] = {
    {.stack = stack_top},
    [RESET] = {.handler = reset_handler},
    [2 ... 6] = {.handler = fault_handler},
    [SYSTICK] = {.handler = systick_handler},
};

void reset_handler(void) {
#if defined(__ARM_FP)
  *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* coprocessors 10 and 11: the floating-point unit */
  __asm__ volatile("dsb\n isb" ::: "memory");
#endif
  const uint32_t *from = data_source;
  for (uint32_t *to = data_start; to < data_end;) *to++ = *from++;
  for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
  board_start();
  board_stop(main());
}

/* volatile keeps the compiler from making calls of themselves out of these loops. */
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
