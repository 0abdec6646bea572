#include "call.h"
#include "reader.h"

static const eqm_value nothing;

bool eqm_refuse_unless(eqm_call *c, bool condition) {
  if (!condition && c->status == EQM_OK) c->status = EQM_BAD_ARGUMENT;
  return c->status == EQM_OK;
}

const eqm_value *eqm_checked_next(eqm_call *c) {
  return eqm_refuse_unless(c, c->next < c->end) ? &c->values[*c->next++] : &nothing;
}

static const eqm_value *tensor(eqm_call *c, const eqm_value *v, uint32_t type) {
  return eqm_require(c, v->kind == EQM_TENSOR && v->type == type && v->count > 0) ? v : &nothing;
}

const eqm_value *eqm_tensor(eqm_call *c, uint32_t type) { return tensor(c, eqm_next(c), type); }

const eqm_value *eqm_optional_tensor(eqm_call *c, uint32_t type) {
  const eqm_value *v = eqm_next(c);
  return v->kind == EQM_NULL ? NULL : tensor(c, v, type);
}

uint32_t eqm_integer(eqm_call *c, uint32_t most) {
  const eqm_value *v = eqm_next(c);
  return eqm_require(c, v->kind == EQM_INT && v->integer >= 0 && (uint32_t)v->integer <= most) ? (uint32_t)v->integer
                                                                                               : 0;
}

const eqm_value *eqm_list(eqm_call *c, uint32_t kind) {
  const eqm_value *v = eqm_next(c);
  return eqm_require(c, v->kind == kind) ? v : &nothing;
}

static uint32_t item_number(const eqm_value *list, uint32_t i) { return eqm_load32(list->items + i * list->type); }

const eqm_value *eqm_item(const eqm_call *c, const eqm_value *list, uint32_t i) {
  return &c->values[item_number(list, i)];
}

static const eqm_value *next_out(eqm_call *c) {
  const eqm_value *v = eqm_next(c);
  c->outs++;
  eqm_require(c, v->kind == EQM_TENSOR && v->writable);
  return v;
}

void *eqm_out(eqm_call *c, uint32_t type, uint32_t rank, const uint32_t *extents) {
  if (c->compute) return eqm_next(c)->data;
  const eqm_value *v = tensor(c, next_out(c), type);
  eqm_require(c, v->rank == rank);
  for (uint32_t d = 0; d < rank && c->status == EQM_OK; d++) eqm_require(c, eqm_extent(v, d) == extents[d]);
  return v->data;
}

void *eqm_out_like(eqm_call *c, uint32_t type, const eqm_value *x, uint32_t last) {
  uint32_t extents[EQM_MOST_DIMS];
  if (c->compute) return eqm_next(c)->data;
  if (!eqm_require(c, x->rank > 0)) return NULL;
  for (uint32_t d = 0; d < x->rank; d++) extents[d] = eqm_extent(x, d);
  extents[x->rank - 1u] = last;
  return eqm_out(c, type, x->rank, extents);
}

void eqm_no_out(eqm_call *c) {
  const eqm_value *v = next_out(c);
  eqm_require(c, v->count == 0);
}

/* ExecuTorch appends what the operator returns: its output once more, or a list of its outputs. */
static void check_result(eqm_call *c) {
  if (!eqm_require(c, c->outs > 0 && c->next + 1 == c->end)) return;
  const uint16_t *outs = c->next - c->outs;
  if (c->outs == 1) {
    eqm_require(c, *c->next == outs[0]);
    return;
  }
  const eqm_value *list = eqm_list(c, EQM_TENSOR_LIST);
  eqm_require(c, list->count == c->outs);
  for (uint32_t i = 0; i < c->outs && c->status == EQM_OK; i++) eqm_require(c, item_number(list, i) == outs[i]);
}

bool eqm_ready(eqm_call *c, uint64_t scratch_bytes) {
  if (c->compute) return true;
  check_result(c);
  if (scratch_bytes > INT32_MAX && c->status == EQM_OK) c->status = EQM_NO_MEMORY;
  c->scratch_bytes = (uint32_t)scratch_bytes;
  return false;
}
