/* The memory of the part, as link.ld lays it out: data, then what programs get, then the stack. */
#ifndef EQ_MCU_MEMORY_H
#define EQ_MCU_MEMORY_H

#include <stddef.h>
#include <stdint.h>

extern uint8_t ram_start[], free_start[], stack_limit[], stack_top[];
extern uint8_t flash_start[], flash_end[];       /* the firmware */
extern uint8_t programs_start[], programs_end[]; /* the region SLOTS */

/* Paints the stack below the caller. */
void memory_paint_stack(void);
/* Data, buffers, and the deepest that the stack has been, bytes. */
size_t memory_in_use(void);

#endif
