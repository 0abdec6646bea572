#include "micro/tuned/borrow.h"

eqm_status eqm_borrow(const eqm_method *method, uint32_t i, const void *data) {
  const eqm_value *input = eqm_input(method, i);
  if (!input || !data) return EQM_BAD_ARGUMENT;
  const uintptr_t at = (uintptr_t)input->data, arena = (uintptr_t)method->arena[0];
  if (at >= arena && at < arena + method->arena_bytes[0]) return EQM_BAD_ARGUMENT;
  if ((uintptr_t)data % 4) return EQM_UNALIGNED;
  method->records[input - method->records].data = (uint8_t *)(uintptr_t)data; /* read only: an input is no output */
  return EQM_OK;
}
