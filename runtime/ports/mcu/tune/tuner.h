/* The tuning module on a microcontroller: its memory lies behind that of the loaded program, its plan is read in flash.
 */
#ifndef EQ_MCU_TUNER_H
#define EQ_MCU_TUNER_H

#include "ports/mcu/engine.h"

/* The functions of eq_tuner; context is an engine. */
const uint8_t *tuner_plan(void *context, const char *name, size_t *bytes, eq_failure *failure);
void *tuner_take(void *context, size_t bytes);
bool tuner_borrow(void *context, uint16_t net, unsigned input, const void *data);
void tuner_close(void *context);
uint64_t tuner_ticks(void *context);

#endif
