#include "clock.h"

#include "ports/mcu/board.h"

typedef volatile uint32_t reg;

static reg *const systick = (reg *)0xe000e010; /* control, reload, value */
static reg *const dwt = (reg *)0xe0001000;     /* control, cycles */
static reg *const debug = (reg *)0xe000edfc;   /* DEMCR */
static reg *const nvic = (reg *)0xe000e100;    /* enable; +0x80 disable; +0x180 forget */
enum { CONTROL, RELOAD, VALUE, TICK_ON = 7 /* core clock, interrupt, enable */, TICK_PERIOD = 1 << 24 };
enum { DWT_ON = 1, DWT_CYCLES = 1, DEBUG_TRACE = 1 << 24, DISABLE = 0x20, FORGET = 0x60 /* words */ };

static volatile uint32_t wraps;
static bool dwt_counts;

void clock_wrapped(void) { wraps++; }

void clock_start(void) {
  systick[RELOAD] = TICK_PERIOD - 1;
  systick[VALUE] = 0;
  systick[CONTROL] = TICK_ON;
  *debug |= DEBUG_TRACE;
  dwt[CONTROL] |= DWT_ON;
  const uint32_t before = dwt[DWT_CYCLES];
  __asm__ volatile("nop\n nop\n nop\n nop");
  dwt_counts = dwt[DWT_CYCLES] != before;
}

uint32_t board_cycles(void) {
  if (dwt_counts) return dwt[DWT_CYCLES];
  uint32_t before, value;
  do { /* a wrap between the two reads would tear them apart */
    before = wraps;
    value = systick[VALUE];
  } while (before != wraps);
  return before * (uint32_t)TICK_PERIOD + (TICK_PERIOD - 1 - value);
}

bool clock_wait(unsigned irq) {
  const uint32_t before = wraps, bit = 1u << irq % 32;
  reg *const line = nvic + irq / 32;
  __asm__ volatile("cpsid i"); /* a pending interrupt ends the sleep, but is not served */
  *line = bit;
  __asm__ volatile("dsb\n wfi\n isb");
  line[DISABLE] = bit;
  line[FORGET] = bit;
  __asm__ volatile("cpsie i\n isb");
  return wraps == before;
}
