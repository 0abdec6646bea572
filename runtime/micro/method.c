/* Proving a method once, and running it. */
#include "call.h"
#include "program.h"

enum { OPERATOR_NAME = 0, OPERATOR_OVERLOAD = 1 };

static bool aligned(const void *memory) { return (uintptr_t)memory % EQM_ALIGNMENT == 0; }

static eqm_status bind(eqm_method *m, void *const arenas[EQM_ARENAS], void *workspace, size_t workspace_bytes) {
  for (uint32_t i = 0; i < EQM_ARENAS; i++) {
    if (m->arena_bytes[i] && !arenas[i]) return EQM_NO_MEMORY;
    if (!aligned(arenas[i])) return EQM_UNALIGNED;
    m->arena[i] = arenas[i];
  }
  if (!workspace || workspace_bytes < m->workspace_bytes) return EQM_NO_MEMORY;
  if (!aligned(workspace)) return EQM_UNALIGNED;
  m->records = workspace;
  m->calls = (uint16_t *)(void *)(m->records + eqm_count(&m->reader, m->values));
  for (uint32_t i = 0; i < eqm_count(&m->reader, m->values); i++) m->records[i] = (eqm_value){0};
  return EQM_OK;
}

static uint32_t find_operator(eqm_method *m, uint32_t index) {
  eqm_reader *r = &m->reader;
  const uint32_t table = eqm_table_at(r, m->operators, index);
  for (uint32_t i = 0; i < m->program->operator_count && r->status == EQM_OK; i++) {
    const char *rest = eqm_match(r, table, OPERATOR_NAME, m->program->operators[i].name);
    if (!rest || *rest != '.') continue;
    rest = eqm_match(r, table, OPERATOR_OVERLOAD, rest + 1);
    if (rest && *rest == 0) return i;
  }
  return eqm_fault(r, EQM_NO_OPERATOR);
}

/* Writes call i to `words`, proves it, and returns where the next one goes. */
static uint16_t *prepare_call(eqm_method *m, uint32_t i, uint16_t *words) {
  uint32_t index;
  const eqm_vector args = eqm_arguments(m, i, &index);
  if (m->reader.status != EQM_OK) return words;
  words[0] = (uint16_t)find_operator(m, index);
  const uint32_t count = eqm_count(&m->reader, args);
  words[1] = (uint16_t)count;
  for (uint32_t a = 0; a < count && m->reader.status == EQM_OK; a++) {
    const uint32_t number = eqm_u32_at(&m->reader, args, a);
    eqm_decode(m, number);
    words[EQM_CALL_HEAD + a] = (uint16_t)number;
  }
  if (m->reader.status != EQM_OK) return words;
  const uint16_t *first = words + EQM_CALL_HEAD;
  eqm_call call = {.values = m->records, .next = first, .first = first, .end = first + count};
  m->program->operators[words[0]].execute(&call);
  if (call.status != EQM_OK) eqm_fault(&m->reader, call.status);
  if (call.scratch_bytes > m->scratch_bytes) m->scratch_bytes = call.scratch_bytes;
  return words + EQM_CALL_HEAD + count;
}

static void prepare_boundary(eqm_method *m, eqm_vector numbers, bool writable) {
  for (uint32_t i = 0; i < eqm_count(&m->reader, numbers) && m->reader.status == EQM_OK; i++) {
    const uint32_t number = eqm_u32_at(&m->reader, numbers, i);
    eqm_decode(m, number);
    if (m->reader.status != EQM_OK) return;
    const eqm_value *v = &m->records[number];
    if (v->kind != EQM_TENSOR || v->count == 0 || (writable && !v->writable)) eqm_fault(&m->reader, EQM_NOT_MICRO);
  }
}

eqm_status eqm_prepare(eqm_method *m, void *const arenas[EQM_ARENAS], void *workspace, size_t workspace_bytes) {
  if (m->reader.status != EQM_OK) return m->reader.status;
  const eqm_status status = bind(m, arenas, workspace, workspace_bytes);
  if (status != EQM_OK) return status;
  prepare_boundary(m, m->inputs, true);
  prepare_boundary(m, m->outputs, false);
  uint16_t *words = m->calls;
  for (uint32_t i = 0; i < eqm_count(&m->reader, m->instructions) && m->reader.status == EQM_OK; i++) {
    m->failed_call = i;
    words = prepare_call(m, i, words);
  }
  return m->reader.status;
}

eqm_status eqm_reset(eqm_method *m) {
  for (uint32_t number = 0; number < eqm_count(&m->reader, m->values) && m->reader.status == EQM_OK; number++) {
    const uint32_t from = eqm_first_bytes(m, number);
    const eqm_value *v = &m->records[number];
    for (uint32_t i = 0; from && i < v->count * eqm_type_bytes(v->type); i++) v->data[i] = m->reader.base[from + i];
  }
  return m->reader.status;
}

eqm_status eqm_run(const eqm_method *m, void *scratch, size_t scratch_bytes) {
  if (scratch_bytes < m->scratch_bytes) return EQM_NO_MEMORY;
  if (!aligned(scratch)) return EQM_UNALIGNED;
  const uint16_t *words = m->calls;
  const eqm_operator *operators = m->program->operators;
  eqm_call call = {.values = m->records, .scratch = scratch, .compute = true};
  for (uint32_t i = eqm_count(&m->reader, m->instructions); i; i--) {
    call.next = words + EQM_CALL_HEAD;
    operators[words[0]].execute(&call);
    words += EQM_CALL_HEAD + words[1];
  }
  return EQM_OK;
}

uint32_t eqm_input_count(const eqm_method *m) { return eqm_count(&m->reader, m->inputs); }
uint32_t eqm_output_count(const eqm_method *m) { return eqm_count(&m->reader, m->outputs); }

static const eqm_value *boundary(const eqm_method *m, eqm_vector numbers, uint32_t i) {
  return i < eqm_count(&m->reader, numbers) ? &m->records[eqm_u32_at(&m->reader, numbers, i)] : NULL;
}

const eqm_value *eqm_input(const eqm_method *m, uint32_t i) { return boundary(m, m->inputs, i); }
const eqm_value *eqm_output(const eqm_method *m, uint32_t i) { return boundary(m, m->outputs, i); }
