/* From reset to main on a Cortex-M. A fault resets the part: the slots then fall back to the program that ran. */
#include <stdint.h>

#include "clock.h"
#include "ports/mcu/board.h"

enum { FAULT = 99, VECTORS = 16, RESET = 1, FIRST_FAULT = 2, LAST_FAULT = 7, SYSTICK = 15 };

extern uint32_t stack_top[], data_start[], data_end[], data_source[], bss_start[], bss_end[]; /* sections.ld */

int main(void);
void reset_handler(void);

static void fault_handler(void) { board_stop(FAULT); }

typedef union {
  void *stack;
  void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[VECTORS] = {
    {.stack = stack_top},
    [RESET] = {.handler = reset_handler},
    [FIRST_FAULT... LAST_FAULT] = {.handler = fault_handler},
    [SYSTICK] = {.handler = clock_wrapped},
};

void reset_handler(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* coprocessors 10 and 11: floating point, Helium */
  __asm__ volatile("dsb\n isb" ::: "memory");
#endif
  const uint32_t *from = data_source;
  for (uint32_t *to = data_start; to < data_end;) *to++ = *from++;
  for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
  clock_start();
  board_start();
  board_stop(main());
}

void board_stop(int code) {
  (void)code;
  __asm__ volatile("dsb" ::: "memory");
  *(volatile uint32_t *)0xe000ed0c = 0x05fa0004; /* AIRCR: system reset */
  for (;;) {
  }
}
