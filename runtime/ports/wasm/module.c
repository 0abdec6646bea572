/* The micro runtime as a WebAssembly module: one instance runs one program, in memory that grows behind it.
 *
 *   p = eqw_program(bytes, most)      where the program goes; 0: more than `most` bytes of memory in all
 *   status = eqw_load()               proves it and makes it ready; failure: eqw_status_text, eqw_failed_call
 *   v = eqw_input(0)                  an eqm_value; its data are written before every run
 *   status = eqw_run()
 *   v = eqw_output(0)
 *
 * After eqw_program and eqw_load the host's views of memory are stale. Nothing is imported. The wrapper is
 * js/index.js, which reads eqm_value as it lies here. */
#include "micro/model.h"

#define EXPORT(name) __attribute__((export_name(name), used))

_Static_assert(sizeof(eqm_value) == 16 && offsetof(eqm_value, kind) == 0 && offsetof(eqm_value, type) == 1 &&
                   offsetof(eqm_value, rank) == 2 && offsetof(eqm_value, data) == 4 && offsetof(eqm_value, size) == 8 &&
                   offsetof(eqm_value, count) == 12,
               "js/index.js reads these");

enum { PAGE = 65536, MEMORY = 0 };

extern uint8_t __heap_base[]; /* by the linker: the end of data and stack */

static eqm_model model;
static uint8_t *program;
static uint32_t program_bytes, limit;

static uint64_t rounded(uint64_t at) { return (at + EQM_ALIGNMENT - 1) / EQM_ALIGNMENT * EQM_ALIGNMENT; }

/* Lets memory reach to `end`; false: the limit, or the host. */
static bool reach(uint64_t end) {
  const uint64_t have = (uint64_t)__builtin_wasm_memory_size(MEMORY) * PAGE;
  if (end > limit) return false;
  if (end <= have) return true;
  return __builtin_wasm_memory_grow(MEMORY, (uint32_t)((end - have + PAGE - 1) / PAGE)) != SIZE_MAX;
}

EXPORT("eqw_program") uint8_t *eqw_program(uint32_t bytes, uint32_t most);
uint8_t *eqw_program(uint32_t bytes, uint32_t most) {
  const uint64_t at = rounded((uintptr_t)__heap_base);
  limit = most;
  program = reach(at + bytes) ? (uint8_t *)(uintptr_t)at : NULL;
  program_bytes = bytes;
  return program;
}

EXPORT("eqw_load") eqm_status eqw_load(void);
eqm_status eqw_load(void) {
  if (!program) return EQM_NO_MEMORY;
  const uint64_t at = rounded((uintptr_t)program + (uint64_t)program_bytes);
  for (size_t have = 0, needed;; have = needed) { /* workspace first, then scratch: twice at most */
    const eqm_status status = eqm_model_init(&model, program, program_bytes, (void *)(uintptr_t)at, have);
    needed = eqm_model_memory(&model);
    if (status != EQM_NO_MEMORY || needed <= have || !reach(at + needed)) return status;
  }
}

/* Bytes that the model takes beside the program. */
EXPORT("eqw_memory") size_t eqw_memory(void);
size_t eqw_memory(void) { return eqm_model_memory(&model); }

EXPORT("eqw_failed_call") uint32_t eqw_failed_call(void);
uint32_t eqw_failed_call(void) { return model.method.failed_call; }

EXPORT("eqw_status_text") const char *eqw_status_text(eqm_status status);
const char *eqw_status_text(eqm_status status) { return eqm_status_text(status); }

EXPORT("eqw_input") const eqm_value *eqw_input(uint32_t i);
const eqm_value *eqw_input(uint32_t i) { return eqm_input(&model.method, i); }

EXPORT("eqw_output") const eqm_value *eqw_output(uint32_t i);
const eqm_value *eqw_output(uint32_t i) { return eqm_output(&model.method, i); }

EXPORT("eqw_run") eqm_status eqw_run(void);
eqm_status eqw_run(void) { return eqm_model_run(&model); }
