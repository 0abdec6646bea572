/* From the bytes of a file to a method and the memory that it wants. */
#include "program.h"

enum {
  SLOT_VERSION = 0,
  SLOT_PLANS = 1,
  SLOT_CONSTANT_BUFFER = 2,
  SLOT_SEGMENTS = 4,
  SLOT_CONSTANTS = 5,
  SLOT_STATES = 6
};
enum {
  PLAN_NAME = 0,
  PLAN_VALUES = 2,
  PLAN_INPUTS,
  PLAN_OUTPUTS,
  PLAN_CHAINS,
  PLAN_OPERATORS,
  PLAN_DELEGATES,
  PLAN_BUFFERS
};
enum { CHAIN_INSTRUCTIONS = 2 };
enum { INSTRUCTION_KIND = 0, INSTRUCTION_TABLE = 1, KERNEL_CALL = 1 };
enum { CALL_OPERATOR = 0, CALL_ARGS = 1 };
enum { HEADER = 64, MOST_TABLES = 64, IDENTIFIER = 0x32315445 /* ET12 */, EXTENDED = 0x30306865 /* eh00 */ };

static eqm_status read_header(eqm_program *p, uint32_t length) {
  const uint8_t *file = p->reader.base;
  if (length < HEADER || eqm_load32(file + 4) != IDENTIFIER) return EQM_BAD_HEADER;
  p->reader.end = p->length = length;
  if (eqm_load32(file + 8) != EXTENDED) return EQM_OK;
  /* lengths are 64-bit in the file */
  if (eqm_load32(file + 12) < 32 || eqm_load32(file + 20) || eqm_load32(file + 28) || eqm_load32(file + 36))
    return EQM_BAD_HEADER;
  const uint32_t tables = eqm_load32(file + 16), segments = eqm_load32(file + 24), bytes = eqm_load32(file + 32);
  if (tables < HEADER || segments < tables || segments > length || bytes > length - segments) return EQM_BAD_HEADER;
  p->reader.end = tables;
  p->segments_at = segments;
  p->length = segments + bytes;
  return EQM_OK;
}

eqm_status eqm_open(eqm_program *p, const void *pte, size_t bytes, const eqm_operator *operators,
                    uint32_t operator_count) {
  *p = (eqm_program){.operators = operators, .operator_count = operator_count};
  eqm_reader *r = &p->reader;
  r->base = pte;
  if (!pte || (uintptr_t)pte % EQM_ALIGNMENT) return EQM_UNALIGNED;
  if (bytes > INT32_MAX) return EQM_TOO_LARGE;
  const eqm_status status = read_header(p, (uint32_t)bytes);
  if (status != EQM_OK) return status;
  const uint32_t root = eqm_load32(r->base);
  if (eqm_u32(r, root, SLOT_VERSION)) return EQM_BAD_HEADER;
  if (eqm_count(r, eqm_vector_of(r, root, SLOT_CONSTANT_BUFFER, EQM_ELEMENTS(4, EQM_ANY))))
    return EQM_NOT_MICRO; /* before segments */
  p->plans = eqm_vector_of(r, root, SLOT_PLANS, EQM_ELEMENTS(4, MOST_TABLES));
  p->segments = eqm_vector_of(r, root, SLOT_SEGMENTS, EQM_ELEMENTS(4, MOST_TABLES));
  p->constants = eqm_table(r, root, SLOT_CONSTANTS);
  const eqm_vector states = eqm_vector_of(r, root, SLOT_STATES, EQM_ELEMENTS(4, MOST_TABLES));
  if (eqm_count(r, states)) p->states = eqm_table_at(r, states, 0);
  return r->status;
}

const char *eqm_match(eqm_reader *r, uint32_t table, unsigned id, const char *text) {
  const eqm_vector s = eqm_vector_of(r, table, id, EQM_ELEMENTS(1, EQM_ANY));
  for (uint32_t i = 0; i < eqm_count(r, s); i++, text++)
    if (*text == 0 || (uint8_t)*text != r->base[s + 4 + i]) return NULL;
  return text;
}

eqm_vector eqm_arguments(eqm_method *m, uint32_t i, uint32_t *operator_index) {
  eqm_reader *r = &m->reader;
  const uint32_t instruction = eqm_table_at(r, m->instructions, i);
  if (eqm_u8(r, instruction, INSTRUCTION_KIND) != KERNEL_CALL) eqm_fault(r, EQM_NOT_MICRO);
  const uint32_t call = eqm_table(r, instruction, INSTRUCTION_TABLE);
  *operator_index = eqm_u32(r, call, CALL_OPERATOR);
  if (*operator_index >= eqm_count(r, m->operators)) eqm_fault(r, EQM_BAD_FORMAT);
  return eqm_vector_of(r, call, CALL_ARGS, EQM_ELEMENTS(4, EQM_MOST_ARGS));
}

static uint32_t find_plan(eqm_reader *r, eqm_vector plans, const char *name) {
  for (uint32_t i = 0; i < eqm_count(r, plans); i++) {
    const uint32_t plan = eqm_table_at(r, plans, i);
    const char *rest = eqm_match(r, plan, PLAN_NAME, name);
    if (r->status != EQM_OK) return 0;
    if (rest && *rest == 0) return plan;
  }
  return eqm_fault(r, EQM_NOT_FOUND);
}

eqm_status eqm_find(eqm_method *m, const eqm_program *p, const char *name) {
  *m = (eqm_method){.program = p, .reader = p->reader};
  eqm_reader *r = &m->reader;
  const uint32_t plan = find_plan(r, p->plans, name);
  if (eqm_count(r, eqm_vector_of(r, plan, PLAN_DELEGATES, EQM_ELEMENTS(4, EQM_ANY)))) eqm_fault(r, EQM_NOT_MICRO);
  m->values = eqm_vector_of(r, plan, PLAN_VALUES, EQM_ELEMENTS(4, EQM_MOST_VALUES));
  m->inputs = eqm_vector_of(r, plan, PLAN_INPUTS, EQM_ELEMENTS(4, EQM_MOST_ITEMS));
  m->outputs = eqm_vector_of(r, plan, PLAN_OUTPUTS, EQM_ELEMENTS(4, EQM_MOST_ITEMS));
  m->operators = eqm_vector_of(r, plan, PLAN_OPERATORS, EQM_ELEMENTS(4, EQM_MOST_CALLS));
  const eqm_vector sizes = eqm_vector_of(r, plan, PLAN_BUFFERS, EQM_ELEMENTS(8, EQM_ARENAS + 1));
  for (uint32_t i = 1; i < eqm_count(r, sizes); i++) { /* entry 0 is not used */
    m->arena_bytes[i - 1] = eqm_u64_at(r, sizes, i);
    if (m->arena_bytes[i - 1] > INT32_MAX) eqm_fault(r, EQM_TOO_LARGE);
  }
  const eqm_vector chains = eqm_vector_of(r, plan, PLAN_CHAINS, EQM_ELEMENTS(4, EQM_ANY));
  if (eqm_count(r, chains) != 1) return eqm_fault(r, EQM_NOT_MICRO), r->status;
  m->instructions = eqm_vector_of(r, eqm_table_at(r, chains, 0), CHAIN_INSTRUCTIONS, EQM_ELEMENTS(4, EQM_MOST_CALLS));
  uint32_t words = 0;
  for (uint32_t i = 0; i < eqm_count(r, m->instructions) && r->status == EQM_OK; i++) {
    uint32_t unused;
    words += EQM_CALL_HEAD + eqm_count(r, eqm_arguments(m, i, &unused));
  }
  m->workspace_bytes = (uint32_t)(eqm_count(r, m->values) * sizeof(eqm_value) + words * sizeof(uint16_t));
  return r->status;
}
