/* RP2040 and RP2350. Compiled, not run on silicon. Erasing and writing flash takes it away from the core meanwhile:
 * that runs in RAM, through functions of the boot ROM. */
#include "ports/mcu/board.h"
#include "family.h"
#include "ports/cortex_m/clock.h"

typedef volatile uint32_t reg;

enum { MHZ = 12, PAGE = 4096, WRITTEN = 256 /* bytes that flash takes at once */ };

static reg *at(uint32_t address) { return (reg *)(uintptr_t)address; }

const board_info board = {
    .device = BOARD_DEVICE("ns"),
    .ns_256 = 256000 / MHZ,
    .page = PAGE,
};

#if defined(RP2350) /* what the boot ROM looks for: an image for Arm, secure */
__attribute__((section(".image"), used)) static const uint32_t image[] = {0xffffded3, 0x10210142, 0x000001ff, 0,
                                                                          0xab123579};
#endif

/* ---- PL011 at 115200 baud: 12 MHz / 16 / 115200 = 6 + 33/64 */
enum { DATA = 0x00, FLAGS = 0x18, DIVIDER = 0x24, FRACTION = 0x28, FORMAT = 0x2c, CONTROL = 0x30, MASK = 0x38 };
enum {
  NOTHING = 1 << 4,
  FULL = 1 << 5,
  EIGHT_BITS_FIFO = 7 << 4,
  ON = 1 << 9 | 1 << 8 | 1,
  RECEIVED = 1 << 4 | 1 << 6
};

static void start_clocks(void) {
  *at(XOSC + 0x0c) = 47; /* about 1 ms */
  *at(XOSC) = 0xfab000 | 0xaa0;
  while (!(*at(XOSC + 0x04) >> 31)) {
  }
  *at(CLOCKS + 0x30) = 2;       /* reference: the crystal */
  *at(CLOCKS + 0x3c) = 0;       /* system: the reference */
  *at(CLOCKS + 0x48) = 1 << 11; /* peripherals: the system's */
}

void board_start(void) {
  start_clocks();
  *at(RESETS + 0x3000) = RESET_BITS; /* clears the bits */
  while ((~*at(RESETS + 0x08) & (uint32_t)RESET_BITS) != 0) {
  }
  for (uint32_t pin = 0; pin < 2; pin++) {
    *at(PADS + 4 + 4 * pin) = 1 << 6 | 1 << 4; /* input on, 4 mA, not isolated */
    *at(PINS + 4 + 8 * pin) = 2;               /* UART */
  }
  *at(UART + DIVIDER) = 6;
  *at(UART + FRACTION) = 33;
  *at(UART + FORMAT) = EIGHT_BITS_FIFO;
  *at(UART + CONTROL) = ON;
  *at(UART + MASK) = RECEIVED;
#if defined(RP2350)
  *at(TICK + 4) = MHZ;
#endif
  *at(TICK) = TICK_VALUE;
  board_feed();
  *at(WATCHDOG) = 1u << 30;
}

void board_feed(void) { *at(WATCHDOG + 4) = 0xffffff; } /* 8 s and more */

bool board_receive(uint8_t *byte) {
  if (*at(UART + FLAGS) & NOTHING) return false;
  *byte = (uint8_t)*at(UART + DATA);
  return true;
}

void board_send(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    while (*at(UART + FLAGS) & FULL) {
    }
    *at(UART + DATA) = bytes[i];
  }
}

bool board_wait(void) { return clock_wait(UART_IRQ); }

/* ---- flash */
typedef struct {
  void (*connect)(void), (*leave_xip)(void), (*flush)(void), (*enter_xip)(void);
  void (*erase)(uint32_t at, size_t count, uint32_t block, uint8_t command);
  void (*program)(uint32_t at, const uint8_t *bytes, size_t count);
} rom_flash;

static uintptr_t rom_pointer(uintptr_t address) {
  __asm__("" : "+r"(address)); /* the compiler takes what lies at so low an address for NULL's */
  return *(const uint16_t *)address;
}

static void *rom(char a, char b) {
  const uint32_t code = (uint32_t)b << 8 | (uint8_t)a;
  const uintptr_t lookup = rom_pointer(ROM_LOOKUP);
#if defined(RP2040)
  const uintptr_t table = rom_pointer(0x14);
  return ((void *(*)(uintptr_t, uint32_t))lookup)(table, code);
#else
  return ((void *(*)(uint32_t, uint32_t))lookup)(code, ROM_ARM_SECURE);
#endif
}

static rom_flash functions(void) {
  return (rom_flash){
      .connect = (void (*)(void))rom('I', 'F'),
      .leave_xip = (void (*)(void))rom('E', 'X'),
      .flush = (void (*)(void))rom('F', 'C'),
      .enter_xip = (void (*)(void))rom('C', 'X'),
      .erase = (void (*)(uint32_t, size_t, uint32_t, uint8_t))rom('R', 'E'),
      .program = (void (*)(uint32_t, const uint8_t *, size_t))rom('R', 'P'),
  };
}

/* bytes: WRITTEN of them in RAM, NULL: erase a page. Nothing in here may be fetched from flash. */
__attribute__((section(".ramcode"), noinline, long_call)) static void change(const rom_flash *f, uint32_t offset,
                                                                             const uint8_t *bytes) {
  __asm__ volatile("cpsid i");
  f->connect();
  f->leave_xip();
  if (bytes)
    f->program(offset, bytes, WRITTEN);
  else
    f->erase(offset, PAGE, 1 << 16, 0xd8);
  f->flush();
  f->enter_xip();
  __asm__ volatile("cpsie i");
}

static const uint32_t flash_at = 0x10000000;

bool board_flash_erase(uint8_t *page) {
  const rom_flash f = functions();
  change(&f, (uint32_t)(uintptr_t)page - flash_at, NULL);
  return true;
}

bool board_flash_write(uint8_t *to, const uint8_t *bytes, size_t count) {
  static uint8_t written[WRITTEN];
  const rom_flash f = functions();
  for (size_t done = 0; done < count;) {
    const uint32_t offset = (uint32_t)(uintptr_t)to + (uint32_t)done - flash_at;
    for (size_t i = 0; i < WRITTEN; i++) {
      const bool ours = i >= offset % WRITTEN && done < count;
      ((volatile uint8_t *)written)[i] = ours ? bytes[done++] : 0xff; /* ones change nothing */
    }
    change(&f, offset / WRITTEN * WRITTEN, written);
  }
  return true;
}
