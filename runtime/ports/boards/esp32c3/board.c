/* ESP32-C3. Compiled, not run on silicon. Flash is read through the cache, and changed by functions of the boot ROM
 * (esp32c3.ld), which the cache must not disturb. */
#include "ports/mcu/board.h"

typedef volatile uint32_t reg;

enum { MHZ = 20, PAGE = 4096, FLASH_AT = 1 << 20, MAPPED_KB = 64, MAPPED = 16 /* pieces of 64 KB */ };

extern uint8_t programs_start[];
void rom_reset(void);
void rom_watchdog_off(void);
int rom_flash_erase(uint32_t page);
int rom_flash_write(uint32_t at, const uint32_t *bytes, uint32_t count);
int rom_flash_unlock(void);
void rom_cache_forget(void);
uint32_t rom_cache_off(void);
void rom_cache_on(uint32_t autoload);
int rom_cache_map(uint32_t outside_ram, uint32_t to, uint32_t from, uint32_t piece_kb, uint32_t pieces, uint32_t fixed);

static reg *const uart_data = (reg *)0x60000000, *const uart_status = (reg *)0x6000001c;
enum { RECEIVED = 0x3ff, SENDING_AT = 16, SEND_MOST = 127 };

const board_info board = {
    .device = BOARD_DEVICE("ns"),
    .ns_256 = 256000 / MHZ,
    .page = PAGE,
};

void board_start(void) {
  rom_watchdog_off();                                  /* the one of the boot ROM; a product starts its own here */
  __asm__ volatile("csrwi 0x7e0, 1\n csrwi 0x7e1, 1"); /* the performance counter counts cycles */
  rom_flash_unlock();
  rom_cache_off();
  rom_cache_map(0, (uint32_t)(uintptr_t)programs_start, FLASH_AT, MAPPED_KB, MAPPED, 0);
  rom_cache_forget();
  rom_cache_on(0);
}

void board_stop(int code) {
  (void)code;
  rom_reset();
  for (;;) {
  }
}

void board_feed(void) {}

bool board_receive(uint8_t *byte) {
  if (!(*uart_status & RECEIVED)) return false;
  *byte = (uint8_t)*uart_data;
  return true;
}

void board_send(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    while ((*uart_status >> SENDING_AT & RECEIVED) >= SEND_MOST) {
    }
    *uart_data = bytes[i];
  }
}

uint32_t board_cycles(void) {
  uint32_t cycles;
  __asm__ volatile("csrr %0, 0x7e2" : "=r"(cycles));
  return cycles;
}

/* Does not sleep: half a second of looking. */
bool board_wait(void) {
  const uint32_t begin = board_cycles();
  while (!(*uart_status & RECEIVED))
    if (board_cycles() - begin > MHZ * 500000u) return false;
  return true;
}

static uint32_t offset_of(const uint8_t *at) { return FLASH_AT + (uint32_t)(at - programs_start); }

bool board_flash_erase(uint8_t *at) {
  rom_cache_off();
  const int failed = rom_flash_erase(offset_of(at) / PAGE);
  rom_cache_forget();
  rom_cache_on(0);
  return failed == 0;
}

bool board_flash_write(uint8_t *at, const uint8_t *bytes, size_t count) {
  rom_cache_off();
  int failed = 0;
  for (size_t i = 0; i < count; i += 4) {
    uint32_t word = 0;
    for (size_t b = 4; b-- > 0;) word = word << 8 | bytes[i + b];
    failed |= rom_flash_write(offset_of(at) + (uint32_t)i, &word, 4);
  }
  rom_cache_forget();
  rom_cache_on(0);
  return failed == 0;
}
