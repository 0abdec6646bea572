/* QEMU's "virt" machine: a 16550 UART behind a PLIC, a timer, and RAM that plays flash. With -icount shift=0 mcycle
 * counts instructions. */
#include "ports/mcu/board.h"

typedef volatile uint32_t reg;

static volatile uint8_t *const uart = (volatile uint8_t *)0x10000000;
enum { DATA, INTERRUPTS, FIFO, LINE = 5, RECEIVED = 1, SEND_EMPTY = 0x20, ON = 1 };

static reg *const timer_low = (reg *)0x0200bff8, *const timer_high = (reg *)0x0200bffc,
                  *const alarm = (reg *)0x02004000;
enum { TIMER_HZ = 10000000, TIMER_INTERRUPT = 1 << 7, OUTSIDE_INTERRUPT = 1 << 11 };

static reg *const priority = (reg *)0x0c000000, *const enabled = (reg *)0x0c002000, *const claim = (reg *)0x0c200004;
enum { UART_IRQ = 10 };

static reg *const finisher = (reg *)0x00100000;
enum { RESET = 0x7777, PAGE = 4096 };

const board_info board = {
    .device = BOARD_DEVICE("instructions"),
    .ns_256 = 256,
    .page = PAGE,
};

void board_start(void) {
  if (!(uart[LINE] & RECEIVED)) uart[FIFO] = ON; /* which forgets what has come */
  uart[INTERRUPTS] = ON;
  priority[UART_IRQ] = 1;
  enabled[0] = 1u << UART_IRQ;
  __asm__ volatile("csrw mie, %0" ::"r"(TIMER_INTERRUPT | OUTSIDE_INTERRUPT));
}

void board_stop(int code) {
  (void)code;
  *finisher = RESET;
  for (;;) {
  }
}

void board_feed(void) {}

bool board_receive(uint8_t *byte) {
  if (!(uart[LINE] & RECEIVED)) return false;
  *byte = uart[DATA];
  return true;
}

void board_send(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    while (!(uart[LINE] & SEND_EMPTY)) {
    }
    uart[DATA] = bytes[i];
  }
}

/* Interrupts stay off as a whole: a pending one ends the sleep, but no handler runs. */
bool board_wait(void) {
  const uint64_t now = (uint64_t)*timer_high << 32 | *timer_low, end = now + TIMER_HZ;
  alarm[1] = UINT32_MAX;
  alarm[0] = (uint32_t)end;
  alarm[1] = (uint32_t)(end >> 32);
  __asm__ volatile("wfi" ::: "memory");
  const uint32_t irq = *claim;
  if (irq) *claim = irq;
  return irq != 0;
}

uint32_t board_cycles(void) {
  uint32_t cycles;
  __asm__ volatile("csrr %0, mcycle" : "=r"(cycles));
  return cycles;
}

bool board_flash_erase(uint8_t *at) {
  for (size_t i = 0; i < PAGE; i++) at[i] = 0xff;
  return true;
}

bool board_flash_write(uint8_t *at, const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) at[i] &= bytes[i]; /* flash only clears bits */
  return true;
}
