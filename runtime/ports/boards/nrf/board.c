/* nRF52840, and the application core of nRF5340, secure. Compiled, not run on silicon. Registers: product
 * specifications. UARTE moves bytes between itself and RAM: one at a time is received, into a buffer of one. */
#include "ports/mcu/board.h"
#include "ports/cortex_m/clock.h"

typedef volatile uint32_t reg;

#if defined(NRF52) /* P0.06 to the debugger, P0.08 from it; 64 MHz */
enum { MHZ = 64, UARTE = 0x40002000, UARTE_IRQ = 2, PIN_TX = 6, PIN_RX = 8, NVMC = 0x4001e000, WATCHDOG = 0x40010000 };
#else /* P0.20, P0.22; 64 MHz */
enum {
  MHZ = 64,
  UARTE = 0x50008000,
  UARTE_IRQ = 8,
  PIN_TX = 20,
  PIN_RX = 22,
  NVMC = 0x50039000,
  WATCHDOG = 0x50018000
};
#endif
enum { PAGE = 4096 };

static reg *at(uint32_t address) { return (reg *)(uintptr_t)address; }
static volatile uint8_t received; /* where UARTE puts it */
static uint8_t sending[64];

const board_info board = {
    .device = BOARD_DEVICE("ns"),
    .ns_256 = 256000 / MHZ,
    .page = PAGE,
};

enum { START_RX = 0x000, START_TX = 0x008, END_RX = 0x110, END_TX = 0x120, INTERRUPT_ON = 0x304, ENABLE = 0x500 };
enum { SELECT_TX = 0x50c, SELECT_RX = 0x514, BAUD = 0x524, RX_AT = 0x534, RX_COUNT = 0x538, TX_AT = 0x544 };
enum { TX_COUNT = 0x548, UARTE_ON = 8, BAUD_115200 = 0x01d60000, END_RX_BIT = 1 << 4 };

void board_start(void) {
  *at(UARTE + SELECT_TX) = PIN_TX;
  *at(UARTE + SELECT_RX) = PIN_RX;
  *at(UARTE + BAUD) = BAUD_115200;
  *at(UARTE + ENABLE) = UARTE_ON;
  *at(UARTE + RX_AT) = (uint32_t)(uintptr_t)&received;
  *at(UARTE + RX_COUNT) = 1;
  *at(UARTE + INTERRUPT_ON) = END_RX_BIT;
  *at(UARTE + START_RX) = 1;
  *at(WATCHDOG + 0x504) = 8 * 32768; /* s */
  *at(WATCHDOG + 0x508) = 1;
  *at(WATCHDOG) = 1;
}

void board_feed(void) { *at(WATCHDOG + 0x600) = 0x6e524635; }

bool board_receive(uint8_t *byte) {
  if (!*at(UARTE + END_RX)) return false;
  *at(UARTE + END_RX) = 0;
  *byte = received;
  *at(UARTE + START_RX) = 1; /* what came meanwhile waits in UARTE's own four bytes */
  return true;
}

/* From RAM only, so in pieces. */
void board_send(const uint8_t *bytes, size_t count) {
  while (count > 0) {
    const size_t piece = count < sizeof sending ? count : sizeof sending;
    for (size_t i = 0; i < piece; i++) ((volatile uint8_t *)sending)[i] = bytes[i];
    *at(UARTE + END_TX) = 0;
    *at(UARTE + TX_AT) = (uint32_t)(uintptr_t)sending;
    *at(UARTE + TX_COUNT) = (uint32_t)piece;
    *at(UARTE + START_TX) = 1;
    while (!*at(UARTE + END_TX)) {
    }
    bytes += piece;
    count -= piece;
  }
}

bool board_wait(void) { return clock_wait(UARTE_IRQ); }

/* ---- flash */
enum { READY = 0x400, CONFIG = 0x504, ERASE_PAGE = 0x508, READ = 0, WRITE = 1, ERASE = 2 };

static void set_mode(uint32_t mode) {
  *at(NVMC + CONFIG) = mode;
  while (!(*at(NVMC + READY) & 1)) {
  }
}

static void wait_ready(void) {
  while (!(*at(NVMC + READY) & 1)) {
  }
}

bool board_flash_erase(uint8_t *page) {
  set_mode(ERASE);
#if defined(NRF52)
  *at(NVMC + ERASE_PAGE) = (uint32_t)(uintptr_t)page;
#else
  *(reg *)(void *)page = 0xffffffff; /* any word of the page */
#endif
  wait_ready();
  set_mode(READ);
  return true;
}

bool board_flash_write(uint8_t *to, const uint8_t *bytes, size_t count) {
  set_mode(WRITE);
  for (size_t i = 0; i < count; i += 4) {
    uint32_t value = 0;
    for (size_t b = 4; b-- > 0;) value = value << 8 | bytes[i + b];
    *(reg *)(void *)(to + i) = value;
    wait_ready();
  }
  set_mode(READ);
  return true;
}
