/* Arm's MPS2 board as QEMU models it (mps2-an385 M3, an386 M4F, an500 M7): CMSDK UART 0, SysTick at 25 MHz, and
 * semihosting to leave the emulator. */
#include "board.h"

typedef volatile uint32_t reg;

static reg *const uart = (reg *)0x40004000; /* data, state, control, interrupts, baud divider */
enum { UART_DATA, UART_STATE, UART_CONTROL, UART_DIVIDER = 4, UART_FULL = 1, UART_SEND = 1, UART_LEAST_DIVIDER = 16 };

static reg *const systick = (reg *)0xe000e010; /* control, reload, value */
enum { TICK_CONTROL, TICK_RELOAD, TICK_VALUE, TICK_ON = 7 /* core clock, interrupt, enable */, TICK_PERIOD = 1 << 24 };

static volatile uint32_t wraps;

void systick_handler(void);
void systick_handler(void) { wraps++; }

void board_start(void) {
  uart[UART_DIVIDER] = UART_LEAST_DIVIDER;
  uart[UART_CONTROL] = UART_SEND;
  systick[TICK_RELOAD] = TICK_PERIOD - 1;
  systick[TICK_VALUE] = 0;
  systick[TICK_CONTROL] = TICK_ON;
}

void board_put(char byte) {
  while (uart[UART_STATE] & UART_FULL) {
  }
  uart[UART_DATA] = (uint8_t)byte;
}

uint32_t board_ticks(void) {
  uint32_t before, value;
  do { /* a wrap between the two reads would tear them apart */
    before = wraps;
    value = systick[TICK_VALUE];
  } while (before != wraps);
  return before * (uint32_t)TICK_PERIOD + (TICK_PERIOD - 1 - value);
}

void board_stop(int code) {
  const uint32_t exit_extended = 0x20, application_exit = 0x20026, arguments[2] = {application_exit, (uint32_t)code};
  register uint32_t r0 __asm__("r0") = exit_extended;
  register const uint32_t *r1 __asm__("r1") = arguments;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  for (;;) {
  }
}
