/* The API of edgeq.h over the runtime that reads programs in place. */
#include "edgeq/edgeq.h"

#include "edgeq/isa.h"
#include "micro/model.h"

_Static_assert((int)EQ_MODEL_UNALIGNED == (int)EQM_UNALIGNED && (int)EQ_MODEL_NOT_MICRO == (int)EQM_NOT_MICRO &&
                   (int)EQ_MODEL_NO_MEMORY == (int)EQM_NO_MEMORY,
               "the numbers of a status are those of the runtime");
_Static_assert((int)EDGEQ_MOST_DIMS == (int)EQM_MOST_DIMS && (int)EQ_TYPE_F32 == (int)EQM_F32, "as in micro.h");

struct eq_model {
  uint64_t mark; /* OPEN while the handle is one */
  eqm_model runs;
};

static const uint64_t OPEN = 0x6564676571206f70; /* no pointer or small number looks like it */

enum { HEAD = (sizeof(eq_model) + EDGEQ_ALIGNMENT - 1) / EDGEQ_ALIGNMENT * EDGEQ_ALIGNMENT };

static const eqm_model *opened(const eq_model *model) { return model && model->mark == OPEN ? &model->runs : NULL; }

uint32_t eq_version(void) { return (uint32_t)EDGEQ_VERSION_MAJOR << 16 | EDGEQ_VERSION_MINOR; }

const char *eq_model_status_text(eq_model_status status) {
  return status == EQ_MODEL_BAD_CALL ? "a null pointer, a closed model, or an index past the end"
                                     : eqm_status_text((eqm_status)status);
}

const char *eq_model_isa(void) { return eq_isa_name(eq_isa_current()); }
void eq_model_allow_dotprod(void) { eq_isa_allow(EQ_ISA_NEON_DOTPROD); }
void eq_model_allow_i8mm(void) { eq_isa_allow(EQ_ISA_NEON_I8MM); }

eq_model_status eq_model_open(eq_model **model, const void *pte, size_t pte_bytes, void *memory, size_t *memory_bytes) {
  if (!model || !pte || !memory_bytes || (!memory && *memory_bytes)) return EQ_MODEL_BAD_CALL;
  *model = NULL;
  if ((uintptr_t)memory % EDGEQ_ALIGNMENT || (uintptr_t)pte % EQM_ALIGNMENT) return EQ_MODEL_UNALIGNED;
  eqm_model here;
  const size_t room = *memory_bytes > HEAD ? *memory_bytes - HEAD : 0;
  uint8_t *const rest = room ? (uint8_t *)memory + HEAD : NULL;
  const eqm_status status = eqm_model_init(&here, pte, pte_bytes, rest, room);
  if (status == EQM_NO_MEMORY) *memory_bytes = HEAD + eqm_model_memory(&here);
  if (status != EQM_OK) return (eq_model_status)status;
  eq_model *made = memory;
  made->mark = OPEN;
  made->runs = here;
  made->runs.method.program = &made->runs.program;
  *model = made;
  return EQ_MODEL_OK;
}

void eq_model_close(eq_model *model) {
  if (model) model->mark = 0;
}

uint32_t eq_model_inputs(const eq_model *model) {
  const eqm_model *m = opened(model);
  return m ? eqm_input_count(&m->method) : 0;
}

uint32_t eq_model_outputs(const eq_model *model) {
  const eqm_model *m = opened(model);
  return m ? eqm_output_count(&m->method) : 0;
}

static eq_model_status show(const eqm_value *value, eq_tensor_view *view) {
  if (!value || !view) return EQ_MODEL_BAD_CALL;
  view->data = value->data;
  view->bytes = (size_t)value->count * eqm_type_bytes(value->type);
  view->type = value->type;
  view->rank = value->rank;
  for (int32_t i = 0; i < EDGEQ_MOST_DIMS; i++) view->shape[i] = i < value->rank ? value->size[i] : 1;
  return EQ_MODEL_OK;
}

eq_model_status eq_model_input(const eq_model *model, uint32_t index, eq_tensor_view *view) {
  const eqm_model *m = opened(model);
  return show(m ? eqm_input(&m->method, index) : NULL, view);
}

eq_model_status eq_model_output(const eq_model *model, uint32_t index, eq_tensor_view *view) {
  const eqm_model *m = opened(model);
  return show(m ? eqm_output(&m->method, index) : NULL, view);
}

eq_model_status eq_model_run(eq_model *model) {
  const eqm_model *m = opened(model);
  return m ? (eq_model_status)eqm_model_run(m) : EQ_MODEL_BAD_CALL;
}
