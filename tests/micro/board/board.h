/* What the tests' programs have of an emulated board. */
#ifndef TESTS_MICRO_BOARD_H
#define TESTS_MICRO_BOARD_H

#include <stddef.h>
#include <stdint.h>

void board_put(const char *text);
void board_put_number(uint32_t number); /* a space, then decimal digits */
void board_put_hex(const void *bytes, size_t count);
_Noreturn void board_stop(int code);
uint32_t board_ticks(void);
void board_paint_stack(void);
uint32_t board_stack_used(void); /* bytes, since painting */

#endif
