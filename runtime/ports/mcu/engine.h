/* Runs the programs of the slots, one at a time, in place and in the memory between data and stack. */
#ifndef EQ_MCU_ENGINE_H
#define EQ_MCU_ENGINE_H

#include "micro/micro.h"
#include "slots.h"

typedef struct {
  uint8_t *free_start, *free_end; /* memory for arenas, workspace and scratch */
  uint8_t *free_at;
  size_t before_bytes; /* memory in use when the last program was loaded */
  uint64_t load_ticks;
  uint8_t *slot; /* of the loaded program, NULL: none */
  uint16_t net;  /* its number: another one after every load */
  eqm_program program;
  eqm_method method;
  void *scratch;
#ifdef EQ_WITH_TUNE
  uint8_t *memory_end; /* of all of it; from free_end on lie arenas that can be lent to a run of the tuning module */
  uint8_t *run_at;     /* where its memory begins, NULL: none is open */
  bool lent;           /* there are such arenas */
  uint64_t cycles;     /* of the board's counter, and its last value */
  uint32_t last_cycles;
#endif
} engine;

#ifdef EQ_WITH_TUNE
/* Memory of the program; NULL: there is not so much. */
void *engine_take(engine *e, size_t bytes);
#endif

/* The functions of eq_engine; context is an engine. */
bool engine_load(void *context, const char *name, const char *method, uint16_t *net, eq_failure *failure);
bool engine_unload(void *context, uint16_t net, eq_failure *failure);
bool engine_describe(void *context, uint16_t net, eq_net *out, eq_failure *failure);
void engine_tensor(void *context, uint16_t net, bool output, unsigned index, eq_tensor *out);
bool engine_run(void *context, uint16_t net, bool fresh, uint64_t *ticks, eq_failure *failure);
size_t engine_peak_bytes(void *context);
void engine_reset(void *context);

#endif
