#include "engine.h"

#include "board.h"
#include "marker.h"
#include "memory.h"
#include "micro/reader.h"

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

#ifdef EQ_WITH_TUNE
void *engine_take(engine *e, size_t bytes) { return take(e, bytes); }

/* Those that can be lent from the end of the free memory. */
static void *take_arena(engine *e, int i, size_t bytes) {
  uint8_t *const at = e->free_at;
  void *const first = take(e, bytes);
  if (i == 0 || !first) return first;
  e->free_end -= e->free_at - at;
  e->free_end -= (uintptr_t)e->free_end % EQM_ALIGNMENT;
  e->free_at = at;
  e->lent = true;
  return e->free_end >= at ? e->free_end : NULL;
}
#else
#define take_arena(e, i, bytes) take(e, bytes)
#endif

static eqm_status start(engine *e, const uint8_t *slot, const char *name) {
  eqm_method *m = &e->method;
  eqm_status status =
      eqm_open(&e->program, slots_program(slot), slots_program_bytes(slot), eqm_operators, eqm_operator_count);
  if (status == EQM_OK) status = eqm_find(m, &e->program, name);
  if (status != EQM_OK) return status;
  void *arenas[EQM_ARENAS] = {NULL};
  for (int i = 0; i < EQM_ARENAS; i++)
    if (m->arena_bytes[i]) arenas[i] = take_arena(e, i, m->arena_bytes[i]);
  status = eqm_prepare(m, arenas, take(e, m->workspace_bytes), m->workspace_bytes);
  if (status != EQM_OK) return status;
  e->scratch = take(e, m->scratch_bytes);
  return e->scratch ? eqm_reset(m) : EQM_NO_MEMORY;
}

static bool refuse(eqm_status status, eq_failure *failure) { return eq_fail(failure, EQ_MICRO_CODES + status, ""); }

bool engine_load(void *context, const char *name, const char *method, uint16_t *net, eq_failure *failure) {
  engine *e = context;
  engine_reset(e);
  uint8_t *slot = slots_newest(name);
  if (!slot) return eq_fail(failure, EQ_CODE_NOT_FOUND, "");
  e->before_bytes = memory_in_use();
  slots_tried(slot);
  const uint32_t begin = board_cycles();
  const eqm_status status = start(e, slot, method);
  e->load_ticks = ticks_since(begin);
  if (status != EQM_OK) {
    if (status != EQM_NOT_FOUND) slots_failed(slot);
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
  e->free_at = e->free_start;
#ifdef EQ_WITH_TUNE
  e->free_end = e->memory_end;
  e->run_at = NULL;
  e->lent = false;
#endif
}

static const eqm_value *value_of(const engine *e, bool output, unsigned index) {
  return output ? eqm_output(&e->method, index) : eqm_input(&e->method, index);
}

bool engine_describe(void *context, uint16_t net, eq_net *out, eq_failure *failure) {
  const engine *e = context;
  if (!is_loaded(e, net, failure)) return false;
  out->load_ticks = e->load_ticks;
  out->planned_bytes = 0;
  for (int i = 0; i < EQM_ARENAS; i++) out->planned_bytes += e->method.arena_bytes[i];
  out->program_bytes = slots_program_bytes(e->slot);
  out->before_bytes = e->before_bytes;
  out->tensors[0] = (uint16_t)eqm_count(&e->method.reader, e->method.inputs);
  out->tensors[1] = (uint16_t)eqm_count(&e->method.reader, e->method.outputs);
  return true;
}

void engine_tensor(void *context, uint16_t net, bool output, unsigned index, eq_tensor *out) {
  (void)net;
  const eqm_value *v = value_of(context, output, index);
  out->dtype = v->type;
  out->rank = v->rank;
  for (unsigned d = 0; d < v->rank; d++) out->shape[d] = (uint32_t)v->size[d];
  out->bytes = v->count * eqm_type_bytes(v->type);
  out->data = v->data;
}

bool engine_run(void *context, uint16_t net, bool fresh, uint64_t *ticks, eq_failure *failure) {
  (void)net;
  engine *e = context;
  if (!fresh) return eq_fail(failure, EQ_CODE_NO_INPUT, "");
  board_feed();
  marker_running(true);
  const uint32_t begin = board_cycles();
  const eqm_status status = eqm_run(&e->method, e->scratch, e->method.scratch_bytes);
  *ticks = ticks_since(begin);
  marker_running(false);
  if (status != EQM_OK) return refuse(status, failure);
  slots_good(e->slot);
  return true;
}

size_t engine_peak_bytes(void *context) {
  const engine *e = context;
#ifdef EQ_WITH_TUNE
  return memory_in_use() + (size_t)(e->free_at - e->free_start) + (size_t)(e->memory_end - e->free_end);
#else
  return memory_in_use() + (size_t)(e->free_at - e->free_start);
#endif
}
