/* STM32F4, F7, H7 and U5. Compiled, not run on silicon. */
#include "ports/mcu/board.h"
#include "family.h"
#include "ports/cortex_m/clock.h"

typedef volatile uint32_t reg;

static reg *at(uint32_t address) { return (reg *)(uintptr_t)address; }

const board_info board = {
    .device = BOARD_DEVICE("ns"),
    .ns_256 = 256000 / MHZ,
    .page = PAGE,
};

/* ---- serial line: 115200 baud, 8 bits, no parity */
enum { BAUD = 115200, RXNE = 1 << 5, TXE = 1 << 7 };
#define UART_STATUS at(UART + (OLD_UART ? 0x00 : 0x1c))
#define UART_READ at(UART + (OLD_UART ? 0x04 : 0x24))
#define UART_WRITE at(UART + (OLD_UART ? 0x04 : 0x28))
#define UART_DIVIDER at(UART + (OLD_UART ? 0x08 : 0x0c))
#define UART_CONTROL at(UART + (OLD_UART ? 0x0c : 0x00))
#define UART_CLEAR at(UART + 0x20)

/* ---- the independent watchdog, clocked with 32 kHz: about 26 s */
static void start_watchdog(void) {
#if defined(STM32H7)
  const uint32_t watchdog = 0x58004800;
#else
  const uint32_t watchdog = 0x40003000;
#endif
  *at(watchdog) = 0xcccc;
  *at(watchdog) = 0x5555;
  *at(watchdog + 4) = 6; /* / 256 */
  *at(watchdog + 8) = 0xfff;
}

void board_feed(void) {
#if defined(STM32H7)
  *at(0x58004800) = 0xaaaa;
#else
  *at(0x40003000) = 0xaaaa;
#endif
}

static void use_pin(unsigned pin) {
  reg *mode = at(PINS), *function = at(PINS + 0x20 + pin / 8 * 4);
  *mode = (*mode & ~(3u << 2 * pin)) | 2u << 2 * pin;
  *function = (*function & ~(15u << 4 * (pin % 8))) | (uint32_t)FUNCTION << 4 * (pin % 8);
}

void board_start(void) {
  *at(RCC_PINS) |= 1u << PINS_BIT;
  *at(RCC_UART) |= 1u << UART_BIT;
  (void)*at(RCC_UART); /* the clock takes two cycles to arrive */
  use_pin(PIN_TX);
  use_pin(PIN_RX);
  *UART_DIVIDER = (MHZ * 1000000u + BAUD / 2) / BAUD;
  *UART_CONTROL = (OLD_UART ? 1u << 13 : 1u) | 1u << 5 | 1u << 3 | 1u << 2; /* on, interrupt, send, receive */
  start_watchdog();
}

bool board_receive(uint8_t *byte) {
  if (!OLD_UART) *UART_CLEAR = 1u << 3; /* a byte that came too late for the last one is lost, the line goes on */
  if (!(*UART_STATUS & RXNE)) return false;
  *byte = (uint8_t)*UART_READ;
  return true;
}

void board_send(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    while (!(*UART_STATUS & TXE)) {
    }
    *UART_WRITE = bytes[i];
  }
}

bool board_wait(void) { return clock_wait(UART_IRQ); }

/* ---- flash */
static const uint32_t keys[] = {0x45670123, 0xcdef89ab};
#if defined(STM32H7) /* bank 2; word 32 bytes */
enum { KEY = 0x04, CONTROL = 0x0c, STATUS = 0x10, CLEAR = 0x14, BUSY = 4 /* QW */, ERRORS = 0x00ee0000, LOCK = 1 };
enum { PROGRAM = 1 << 1, ERASE = 1 << 2, START = 1 << 7, WIDTH = 3 << 4, NUMBER_AT = 8 };
#elif defined(STM32U5) /* bank 2; word 16 bytes */
enum { KEY = 0x08, CONTROL = 0x28, STATUS = 0x20, CLEAR = 0x20, BUSY = 1 << 16, ERRORS = 0x20fa };
enum { PROGRAM = 1 << 0, ERASE = 1 << 1 | 1 << 11 /* bank 2 */, START = 1 << 16, WIDTH = 0, NUMBER_AT = 3 };
#define LOCK (1u << 31)
#else /* words of 32 bits */
enum { KEY = 0x04, CONTROL = 0x10, STATUS = 0x0c, CLEAR = 0x0c, BUSY = 1 << 16, ERRORS = 0xf2 };
enum { PROGRAM = 1 << 0, ERASE = 1 << 1, START = 1 << 16, WIDTH = 2 << 8, NUMBER_AT = 3 };
#define LOCK (1u << 31)
#endif

static bool finish(void) {
  while (*at(FLASH_UNIT + STATUS) & (uint32_t)BUSY) board_feed();
  const bool good = !(*at(FLASH_UNIT + STATUS) & (uint32_t)ERRORS);
  *at(FLASH_UNIT + CONTROL) = (uint32_t)LOCK;
#if defined(STM32F7) || defined(STM32H7)
  for (volatile int wait = 0; wait < 8; wait++) {
  }
#endif
  return good;
}

static void unlock(void) {
  *at(FLASH_UNIT + CLEAR) = (uint32_t)ERRORS;
  for (int i = 0; i < 2; i++) *at(FLASH_UNIT + KEY) = keys[i];
}

bool board_flash_erase(uint8_t *page) {
  extern uint8_t programs_start[];
  const uint32_t number = FIRST_SECTOR + (uint32_t)(page - programs_start) / PAGE;
  unlock();
  *at(FLASH_UNIT + CONTROL) = (uint32_t)ERASE | (uint32_t)WIDTH | number << NUMBER_AT;
  *at(FLASH_UNIT + CONTROL) |= (uint32_t)START;
  return finish();
}

bool board_flash_write(uint8_t *to, const uint8_t *bytes, size_t count) {
  reg *word = (reg *)(void *)to;
  unlock();
  *at(FLASH_UNIT + CONTROL) = (uint32_t)PROGRAM | (uint32_t)WIDTH;
  for (size_t i = 0; i < count; i += 4) {
    uint32_t value = 0;
    for (size_t b = 4; b-- > 0;) value = value << 8 | bytes[i + b];
    word[i / 4] = value;
    __asm__ volatile("dsb" ::: "memory");
    if ((i + 4) % WORD == 0)
      while (*at(FLASH_UNIT + STATUS) & (uint32_t)BUSY) {
      }
  }
  return finish();
}
