/* Where the members of the family differ. Registers: reference manuals RM0090 (F4), RM0385 (F7), RM0433 (H7) and RM0456
 * (U5). The core runs on the internal oscillator that it has after reset. */
#ifndef STM32_FAMILY_H
#define STM32_FAMILY_H

#if defined(STM32F4) /* USART2 on PA2, PA3; HSI 16 MHz */
enum { MHZ = 16, PINS = 0x40020000, PIN_TX = 2, PIN_RX = 3, FUNCTION = 7, UART = 0x40004400, UART_IRQ = 38 };
enum { RCC_PINS = 0x40023830, PINS_BIT = 0, RCC_UART = 0x40023840, UART_BIT = 17, OLD_UART = 1 };
enum { FLASH_UNIT = 0x40023c00, SECTOR_FLASH = 1, FIRST_SECTOR = 6, PAGE = 128 * 1024, WORD = 4 };
#elif defined(STM32F7) /* USART3 on PD8, PD9; HSI 16 MHz */
enum { MHZ = 16, PINS = 0x40020c00, PIN_TX = 8, PIN_RX = 9, FUNCTION = 7, UART = 0x40004800, UART_IRQ = 39 };
enum { RCC_PINS = 0x40023830, PINS_BIT = 3, RCC_UART = 0x40023840, UART_BIT = 18, OLD_UART = 0 };
enum { FLASH_UNIT = 0x40023c00, SECTOR_FLASH = 1, FIRST_SECTOR = 6, PAGE = 256 * 1024, WORD = 4 };
#elif defined(STM32H7) /* USART3 on PD8, PD9; HSI 64 MHz */
enum { MHZ = 64, PINS = 0x58020c00, PIN_TX = 8, PIN_RX = 9, FUNCTION = 7, UART = 0x40004800, UART_IRQ = 39 };
enum { RCC_PINS = 0x580244e0, PINS_BIT = 3, RCC_UART = 0x580244e8, UART_BIT = 18, OLD_UART = 0 };
enum { FLASH_UNIT = 0x52002100, SECTOR_FLASH = 1, FIRST_SECTOR = 0, PAGE = 128 * 1024, WORD = 32 };
#elif defined(STM32U5) /* USART1 on PA9, PA10; MSIS 4 MHz */
enum { MHZ = 4, PINS = 0x42020000, PIN_TX = 9, PIN_RX = 10, FUNCTION = 7, UART = 0x40013800, UART_IRQ = 61 };
enum { RCC_PINS = 0x46020c8c, PINS_BIT = 0, RCC_UART = 0x46020ca4, UART_BIT = 14, OLD_UART = 0 };
enum { FLASH_UNIT = 0x40022000, SECTOR_FLASH = 0, FIRST_SECTOR = 0, PAGE = 8 * 1024, WORD = 16 };
#else
#error "define STM32F4, STM32F7, STM32H7 or STM32U5"
#endif

#endif
