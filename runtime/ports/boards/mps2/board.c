/* Arm's MPS2 and MPS3 boards as QEMU models them: CMSDK UART 0, and RAM that plays flash. With -icount shift=0 a
 * nanosecond of the emulated clock is one instruction. UART, IRQ and MHZ come from the build. */
#include "ports/mcu/board.h"
#include "ports/cortex_m/clock.h"

typedef volatile uint32_t reg;

static reg *const uart = (reg *)UART;
enum { DATA, STATE, CONTROL, INTERRUPT, DIVIDER };
enum {
  SEND_FULL = 1,
  RECEIVED = 2,
  SEND_ON = 1,
  RECEIVE_ON = 2,
  RECEIVE_INTERRUPT = 8,
  LEAST_DIVIDER = 16,
  PAGE = 4096
};

const board_info board = {
    .device = BOARD_DEVICE("instructions"),
    .ns_256 = 256000 / MHZ,
    .page = PAGE,
};

void board_start(void) {
  uart[DIVIDER] = LEAST_DIVIDER;
  uart[CONTROL] = SEND_ON | RECEIVE_ON | RECEIVE_INTERRUPT;
}

void board_feed(void) {}

bool board_receive(uint8_t *byte) {
  if (!(uart[STATE] & RECEIVED)) return false;
  uart[INTERRUPT] = RECEIVED; /* before the next byte can come */
  *byte = (uint8_t)uart[DATA];
  return true;
}

void board_send(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    while (uart[STATE] & SEND_FULL) {
    }
    uart[DATA] = bytes[i];
  }
}

bool board_wait(void) { return clock_wait(IRQ); }

bool board_flash_erase(uint8_t *at) {
  for (size_t i = 0; i < PAGE; i++) at[i] = 0xff;
  return true;
}

bool board_flash_write(uint8_t *at, const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) at[i] &= bytes[i]; /* flash only clears bits */
  return true;
}
