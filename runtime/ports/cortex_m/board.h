/* What firmware needs of a board. One file per board. */
#ifndef EQ_CORTEX_M_BOARD_H
#define EQ_CORTEX_M_BOARD_H

#include <stdint.h>

void board_start(void);
void board_put(char byte);
/* Rises with time, wraps; a tick is one cycle of the core clock, or in QEMU with -icount shift=0 a fixed number of
 * instructions (mps2 boards: 40). */
uint32_t board_ticks(void);
_Noreturn void board_stop(int code);

#endif
