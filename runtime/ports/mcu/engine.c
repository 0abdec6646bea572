#include "engine.h"

#include "board.h"
#include "memory.h"
#include "proto/wire.h"

static uint64_t ticks_since(uint32_t start) { return (uint64_t)(board_cycles() - start) * board.ns_256 >> 8; }

static bool is_loaded(const engine *e, uint16_t net, eq_failure *failure) {
  return (e->slot && net == e->net) || eq_fail(failure, EQ_CODE_BAD_NET, "");
}

/* Memory of the program; NULL: there is not so much. */
static void *take(engine *e, size_t bytes) {
  const size_t rounded = (bytes + EQM_ALIGNMENT - 1) & ~(size_t)(EQM_ALIGNMENT - 1);
  if (rounded < bytes || rounded > (size_t)(e->free_end - e->free_at)) return NULL;
  uint8_t *memory = e->free_at;
  e->free_at += rounded;
  return memory;
}

static eqm_status start(engine *e, const uint8_t *slot, const char *name) {
  eqm_method *m = &e->method;
  eqm_status status =
      eqm_open(&e->program, slots_program(slot), slots_program_bytes(slot), eqm_operators, eqm_operator_count);
  if (status == EQM_OK) status = eqm_find(m, &e->program, name);
  if (status != EQM_OK) return status;
  void *arenas[EQM_ARENAS] = {NULL};
  for (int i = 0; i < EQM_ARENAS; i++)
    if (m->arena_bytes[i]) arenas[i] = take(e, m->arena_bytes[i]);
  status = eqm_prepare(m, arenas, take(e, m->workspace_bytes), m->workspace_bytes);
  if (status != EQM_OK) return status;
  e->scratch = take(e, m->scratch_bytes);
  return e->scratch ? eqm_reset(m) : EQM_NO_MEMORY;
}

static bool refuse(eqm_status status, eq_failure *failure) {
  const eq_code code = status == EQM_NO_MEMORY                                ? EQ_CODE_NO_MEMORY
                       : status == EQM_NO_OPERATOR || status == EQM_NOT_MICRO ? EQ_CODE_UNSUPPORTED
                       : status == EQM_NOT_FOUND                              ? EQ_CODE_NOT_FOUND
                                                                              : EQ_CODE_BAD_PROGRAM;
  return eq_fail(failure, code, eqm_status_text(status));
}

bool engine_load(void *context, const char *name, const char *method, uint16_t *net, eq_failure *failure) {
  engine *e = context;
  engine_reset(e);
  uint8_t *slot = slots_newest(e->programs, name);
  if (!slot) return eq_fail(failure, EQ_CODE_NOT_FOUND, "");
  e->before_bytes = memory_in_use();
  slots_tried(e->programs, slot);
  const uint32_t begin = board_cycles();
  const eqm_status status = start(e, slot, method);
  e->load_ticks = ticks_since(begin);
  if (status != EQM_OK) {
    if (status != EQM_NOT_FOUND) slots_failed(e->programs, slot);
    return refuse(status, failure);
  }
  e->slot = slot;
  *net = ++e->net;
  return true;
}

bool engine_unload(void *context, uint16_t net, eq_failure *failure) {
  if (!is_loaded(context, net, failure)) return false;
  engine_reset(context);
  return true;
}

void engine_reset(void *context) {
  engine *e = context;
  e->slot = NULL;
  e->written = false;
  e->free_at = e->free_start;
}

static const eqm_value *value_of(const engine *e, bool output, uint16_t index) {
  return output ? eqm_output(&e->method, index) : eqm_input(&e->method, index);
}

static uint16_t count_of(const engine *e, bool output) {
  uint16_t count = 0;
  while (value_of(e, output, count)) count++;
  return count;
}

bool engine_describe(void *context, uint16_t net, eq_net *out, eq_failure *failure) {
  const engine *e = context;
  if (!is_loaded(e, net, failure)) return false;
  out->load_ticks = e->load_ticks;
  out->planned_bytes = 0;
  for (int i = 0; i < EQM_ARENAS; i++) out->planned_bytes += e->method.arena_bytes[i];
  out->program_bytes = slots_program_bytes(e->slot);
  out->before_bytes = e->before_bytes;
  out->inputs = count_of(e, false);
  out->outputs = count_of(e, true);
  return true;
}

/* What follows asks engine_describe first: the net is loaded. */
bool engine_tensor(void *context, uint16_t net, bool output, uint16_t index, eq_tensor *out, eq_failure *failure) {
  (void)net;
  (void)failure;
  const eqm_value *v = value_of(context, output, index);
  out->dtype = v->type;
  out->rank = v->rank;
  for (uint8_t d = 0; d < v->rank; d++) out->shape[d] = (uint32_t)v->size[d];
  out->bytes = v->count * eqm_type_bytes(v->type);
  return true;
}

bool engine_input(void *context, uint16_t net, uint16_t index, size_t offset, const uint8_t *bytes, size_t count,
                  eq_failure *failure) {
  (void)net;
  (void)failure;
  engine *e = context;
  eq_copy(value_of(e, false, index)->data + offset, bytes, count);
  e->written = true;
  return true;
}

bool engine_output(void *context, uint16_t net, uint16_t index, size_t offset, uint8_t *bytes, size_t count,
                   eq_failure *failure) {
  (void)net;
  (void)failure;
  eq_copy(bytes, value_of(context, true, index)->data + offset, count);
  return true;
}

bool engine_run(void *context, uint16_t net, uint64_t *ticks, eq_failure *failure) {
  (void)net;
  engine *e = context;
  if (!e->written) return eq_fail(failure, EQ_CODE_RUN_FAILED, "a run uses its inputs up: write them before each");
  e->written = false;
  board_feed();
  const uint32_t begin = board_cycles();
  const eqm_status status = eqm_run(&e->method, e->scratch, e->method.scratch_bytes);
  *ticks = ticks_since(begin);
  if (status != EQM_OK) return eq_fail(failure, EQ_CODE_RUN_FAILED, eqm_status_text(status));
  slots_good(e->programs, e->slot);
  return true;
}

size_t engine_peak_bytes(void *context) {
  const engine *e = context;
  return memory_in_use() + (size_t)(e->free_at - e->free_start);
}
