/* What every Cortex-M has: a counter of cycles, and sleep until a byte comes. */
#ifndef EQ_CORTEX_M_CLOCK_H
#define EQ_CORTEX_M_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* board_cycles() counts from here: with DWT where it counts, else (M0+, QEMU) with SysTick. */
void clock_start(void);
/* SysTick's handler. */
void clock_wrapped(void);
/* Sleeps until interrupt number `irq` is pending, which no handler serves, or SysTick wraps (false). */
bool clock_wait(unsigned irq);

#endif
