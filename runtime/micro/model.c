#include "model.h"

static uint32_t rounded(uint32_t bytes) { return (bytes + EQM_ALIGNMENT - 1) / EQM_ALIGNMENT * EQM_ALIGNMENT; }

eqm_status eqm_model_init(eqm_model *model, const void *pte, size_t bytes, void *memory, size_t memory_bytes) {
  eqm_method *m = &model->method;
  model->needed = 0;
  eqm_status status = eqm_open(&model->program, pte, bytes, eqm_operators, eqm_operator_count);
  if (status == EQM_OK) status = eqm_find(m, &model->program, "forward");
  if (status != EQM_OK) return status;
  uint8_t *const first = memory; /* of arenas, workspace, scratch */
  void *arenas[EQM_ARENAS];
  uint32_t taken = 0;
  for (int i = 0; i < EQM_ARENAS; i++) {
    arenas[i] = first + taken;
    taken += rounded(m->arena_bytes[i]);
    if (taken > INT32_MAX) return EQM_TOO_LARGE;
  }
  void *const workspace = first + taken;
  taken += rounded(m->workspace_bytes); /* a few hundred kilobytes at most */
  model->needed = taken;
  if (taken > memory_bytes) return EQM_NO_MEMORY;
  status = eqm_prepare(m, arenas, workspace, m->workspace_bytes);
  model->scratch = first + taken;
  model->needed = taken += rounded(m->scratch_bytes);
  if (status != EQM_OK) return status;
  return taken > memory_bytes ? EQM_NO_MEMORY : eqm_reset(m);
}

size_t eqm_model_memory(const eqm_model *model) { return model->needed; }

static void *place(const eqm_value *v, size_t *bytes) {
  if (bytes) *bytes = v ? (size_t)v->count * eqm_type_bytes(v->type) : 0;
  return v ? v->data : NULL;
}

void *eqm_model_input(const eqm_model *model, uint32_t i, size_t *bytes) {
  return place(eqm_input(&model->method, i), bytes);
}

const void *eqm_model_output(const eqm_model *model, uint32_t i, size_t *bytes) {
  return place(eqm_output(&model->method, i), bytes);
}

eqm_status eqm_model_run(const eqm_model *model) {
  return eqm_run(&model->method, model->scratch, model->method.scratch_bytes);
}
