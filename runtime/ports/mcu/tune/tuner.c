#include "ports/mcu/tune/tuner.h"

#include "micro/tuned/borrow.h"
#include "ports/mcu/board.h"

/* What has arenas of its own, ac and the head, is read in the module's memory while a run is open: the place of these
 * arenas, at the end of the free memory, is the module's then. */
const uint8_t *tuner_plan(void *context, const char *name, size_t *bytes, eq_failure *failure) {
  engine *e = context;
  const uint8_t *slot = slots_newest(name);
  if (!slot) {
    eq_fail(failure, EQ_CODE_NOT_FOUND, "");
    return NULL;
  }
  e->run_at = e->free_at;
  e->free_end = e->memory_end;
  *bytes = slots_program_bytes(slot);
  return slots_program(slot);
}

void *tuner_take(void *context, size_t bytes) { return engine_take(context, bytes); }

bool tuner_borrow(void *context, uint16_t net, unsigned input, const void *data) {
  const engine *e = context;
  (void)net;
  return eqm_borrow(&e->method, input, data) == EQM_OK;
}

/* A program that lent its arenas does not run without them: what follows a run is a load. */
void tuner_close(void *context) {
  engine *e = context;
  if (e->run_at && e->lent)
    engine_reset(e);
  else if (e->run_at)
    e->free_at = e->run_at;
  e->run_at = NULL;
}

uint64_t tuner_ticks(void *context) {
  engine *e = context;
  const uint32_t now = board_cycles();
  e->cycles += (uint64_t)(now - e->last_cycles);
  e->last_cycles = now;
  return e->cycles * board.ns_256 >> 8;
}
