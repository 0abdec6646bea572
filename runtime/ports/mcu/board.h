/* What firmware needs of a board. One directory of ../boards implements it for a family; link.ld of the architecture
 * tells the memory. */
#ifndef EQ_MCU_BOARD_H
#define EQ_MCU_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/agent.h"

typedef struct {
  eq_device device; /* without its memory */
  uint32_t ns_256;  /* duration of a cycle in 1/256 of a tick */
  uint32_t page;    /* the most bytes of flash that are erased at once; divides half of the slots' flash */
} board_info;

/* tick: "ns" on silicon, "instructions" in a simulator. The other words come from the build. */
#define BOARD_DEVICE(tick)                                                                                             \
  {                                                                                                                    \
      .nets = 1,                                                                                                       \
      .threads = 1,                                                                                                    \
      .texts = {"mcu", BOARD_NAME, BOARD_ARCH, BOARD_CPU, BOARD_ISA, (tick)},                                          \
      .targets = (const char *const[]){BOARD_TARGET, NULL},                                                            \
  }

extern const board_info board;

/* Clocks, serial line, cycle counter, watchdog of some seconds. Called once, before main. */
void board_start(void);
/* The end: a real board resets. code: 0, or why. */
_Noreturn void board_stop(int code);
/* The watchdog: called at least before every run and every byte. */
void board_feed(void);

/* The next byte of the client, if one is there. */
bool board_receive(uint8_t *byte);
void board_send(const uint8_t *bytes, size_t count);
/* Sleeps until a byte is there (true), or for a good while, 0.1 to 2 s (false). */
bool board_wait(void);

/* Counts up with the clock of the core, wraps. */
uint32_t board_cycles(void);

/* Flash at `at`, which lies in the region SLOTS. erase: the page that begins there; write: count is a multiple of
 * SLOTS_UNIT (slots.h), as is the position, and the bytes have been erased. Both may be cut short by the loss of
 * power. false: it did not work. */
bool board_flash_erase(uint8_t *at);
bool board_flash_write(uint8_t *at, const uint8_t *bytes, size_t count);

#endif
