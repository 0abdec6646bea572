/* Two slots of flash for programs. An update goes to the slot that is not the newest, and one write of one unit makes
 * it the newest; until then the old program stays what it was. A program that was begun to be used and never ran (the
 * power went, the watchdog bit, it was refused) falls back to the other one at the next start.
 *
 * A slot:   record (what it is to hold) | marks, one unit each: committed, tried, good, dead | the program
 * A mark that is not blank is set, but for committed, which carries the number of the update and its complement. */
#ifndef EQ_MCU_SLOTS_H
#define EQ_MCU_SLOTS_H

#include "proto/agent.h"

enum {
  SLOTS = 2,
  SLOTS_UNIT = 32,    /* bytes that are written at once */
  SLOTS_HEADER = 512, /* bytes before the program */
};

typedef struct {
  uint8_t *open; /* the slot of the open transfer, NULL: none */
  bool held;     /* it holds the content already */
  size_t length; /* bytes of it that were appended; the last of them may still lie in unit[] */
  uint8_t unit[SLOTS_UNIT];
} slots;

/* Takes the flash as it is found, and rolls back a newest program that was tried and never ran. */
void slots_start(slots *s);

/* The functions of eq_store; context is a slots. */
bool slots_begin(void *context, const eq_entry *entry, size_t *have, eq_failure *failure);
bool slots_append(void *context, size_t offset, const uint8_t *bytes, size_t count, eq_failure *failure);
bool slots_read_back(void *context, size_t offset, uint8_t *bytes, size_t count, eq_failure *failure);
bool slots_commit(void *context, eq_failure *failure);
void slots_close(void *context, bool drop);
const eq_entry *slots_entry(void *context, unsigned index);
bool slots_erase(void *context, const char *name, eq_failure *failure);
size_t slots_free_bytes(void *context);

/* The newest program of a name (NULL: of any), NULL where there is none. */
uint8_t *slots_newest(const char *name);
const uint8_t *slots_program(const uint8_t *slot);
size_t slots_program_bytes(const uint8_t *slot);
/* The program is about to be started; it has run; it cannot be started. */
void slots_tried(uint8_t *slot);
void slots_good(uint8_t *slot);
void slots_failed(uint8_t *slot);

#endif
