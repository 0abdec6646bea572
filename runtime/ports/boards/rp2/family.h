/* Where RP2040 and RP2350 differ. Registers: their data sheets. */
#ifndef RP2_FAMILY_H
#define RP2_FAMILY_H

#if defined(RP2040)
enum { XOSC = 0x40024000, CLOCKS = 0x40008000, RESETS = 0x4000c000, RESET_BITS = 1 << 5 | 1 << 8 | 1 << 22 };
enum { PINS = 0x40014000, PADS = 0x4001c000, UART = 0x40034000, UART_IRQ = 20, WATCHDOG = 0x40058000 };
enum { TICK = WATCHDOG + 0x2c, TICK_VALUE = 1 << 9 | 12, ROM_LOOKUP = 0x18 };
#elif defined(RP2350)
enum { XOSC = 0x40048000, CLOCKS = 0x40010000, RESETS = 0x40020000, RESET_BITS = 1 << 6 | 1 << 9 | 1 << 26 };
enum { PINS = 0x40028000, PADS = 0x40038000, UART = 0x40070000, UART_IRQ = 33, WATCHDOG = 0x400d8000 };
enum { TICK = 0x40108000 + 0x30, TICK_VALUE = 1, ROM_LOOKUP = 0x16, ROM_ARM_SECURE = 4 };
#else
#error "define RP2040 or RP2350"
#endif

#endif
