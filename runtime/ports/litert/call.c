#include "call.h"

#include <string.h>

static const eql_tensor nothing;
/* What data points at while a model is prepared: operators look at pointers then, not behind them. */
static _Alignas(64) uint8_t nowhere[64];

static uint32_t element_bytes(int type) {
  switch (type) {
  case EQL_U8:
  case EQL_I8: return 1;
  case EQL_F16: return 2;
  case EQL_F32:
  case EQL_I32: return 4;
  case EQL_I64: return 8;
  default: return 0;
  }
}

bool eql_shape(eql_tensor *t, int type, const int *extents, int rank) {
  *t = (eql_tensor){.type = type, .count = 1, .data = nowhere, .element_bytes = element_bytes(type)};
  if (rank < 0 || rank > EQL_RANK || t->element_bytes == 0) return false;
  t->rank = (uint32_t)rank;
  for (int d = 0; d < rank; d++) {
    if (extents[d] <= 0) return false;
    t->size[d] = (uint32_t)extents[d];
    t->count *= t->size[d];
    if (t->count > EQL_MOST) return false;
  }
  return true;
}

bool eql_take_params(eql_call *c, const int32_t *params, size_t words) {
  if (words < 2) return eql_fail(c, "params must hold a version and a number of arguments");
  if (params[0] != EQL_VERSION) return eql_fail(c, "params are of another version: this library reads version 1");
  if (params[1] < 0 || params[1] > EQL_ARGUMENTS || words < 2 + 2 * (size_t)params[1])
    return eql_fail(c, "params do not hold a kind and a value for each argument");
  c->argument_count = (uint32_t)params[1];
  c->arguments = params + 2;
  return true;
}

bool eql_fail(eql_call *c, const char *why) {
  if (!c->fault) c->fault = why;
  return false;
}

/* The next argument's value if it is of that kind. */
static bool next(eql_call *c, int32_t kind, int32_t *value, const char *what) {
  if (!eql_require(c, c->next_argument < c->argument_count, "too few arguments")) return false;
  const int32_t *pair = c->arguments + 2 * c->next_argument++;
  *value = pair[1];
  return eql_require(c, pair[0] == kind, what);
}

static bool next_is_none(eql_call *c) {
  const bool none = !c->fault && c->next_argument < c->argument_count && c->arguments[2 * c->next_argument] == EQL_NONE;
  c->next_argument += none;
  return none;
}

const eql_tensor *eql_take_any(eql_call *c, const char *what) {
  int32_t unused;
  if (next_is_none(c) || !next(c, EQL_TENSOR, &unused, what)) return NULL;
  return eql_require(c, c->next_input < c->input_count, "a tensor is missing") ? &c->inputs[c->next_input++] : NULL;
}

const eql_tensor *eql_take(eql_call *c, int type, const char *what) {
  const eql_tensor *t = eql_take_any(c, what);
  return eql_require(c, t && (t->type == type || c->untyped), what) ? t : &nothing;
}

const eql_tensor *eql_take_optional(eql_call *c, int type, const char *what) {
  const eql_tensor *t = eql_take_any(c, what);
  return t && eql_require(c, t->type == type || c->untyped, what) ? t : NULL;
}

uint32_t eql_integer(eql_call *c, uint32_t most, const char *what) {
  int32_t value;
  return next(c, EQL_INTEGER, &value, what) && eql_require(c, value >= 0 && (uint32_t)value <= most, what)
             ? (uint32_t)value
             : 0;
}

float eql_number(eql_call *c, const char *what) {
  int32_t bits;
  float value = 0;
  if (next(c, EQL_FLOAT, &bits, what)) memcpy(&value, &bits, sizeof value);
  return value;
}

uint32_t eql_peek_integer(const eql_call *c) {
  const int32_t *pair = c->arguments + 2 * c->next_argument;
  const bool sound = !c->fault && c->next_argument < c->argument_count && pair[0] == EQL_INTEGER && pair[1] > 0;
  return sound ? (uint32_t)pair[1] : 0;
}

void *eql_out(eql_call *c, int type, uint32_t rank, const uint32_t *extents) {
  if (!eql_require(c, c->next_output < c->output_count, "an output is missing")) return NULL;
  eql_tensor *t = &c->outputs[c->next_output++];
  if (!c->compute) {
    int sizes[EQL_RANK];
    bool sound = rank <= EQL_RANK;
    for (uint32_t d = 0; d < rank && sound; d++) {
      sound = extents[d] <= EQL_MOST;
      sizes[d] = (int)extents[d];
    }
    return eql_require(c, t->type == type || c->untyped, "an output has another element type") &&
                   eql_require(c, sound && eql_shape(t, type, sizes, (int)rank), "an output would be too large")
               ? t->data
               : NULL;
  }
  bool same = t->type == type && t->rank == rank;
  for (uint32_t d = 0; same && d < rank; d++) same = t->size[d] == extents[d];
  return eql_require(c, same, "an output has another shape") ? t->data : NULL;
}

void *eql_out_like(eql_call *c, int type, uint32_t planes, const eql_tensor *x, uint32_t from, uint32_t last) {
  uint32_t extents[EQL_RANK + 1], rank = 0;
  if (!eql_require(c, x->rank > from, "a tensor has too few dimensions")) return NULL;
  if (planes) extents[rank++] = planes;
  for (uint32_t d = from; d < x->rank; d++) extents[rank++] = x->size[d];
  extents[rank - 1] = last;
  return eql_out(c, type, rank, extents);
}

bool eql_ready_plain(eql_call *c) {
  return eql_require(c, c->next_argument == c->argument_count, "too many arguments") &&
         eql_require(c, c->next_input == c->input_count, "too many inputs") &&
         eql_require(c, c->next_output == c->output_count, "too many outputs") && c->compute;
}

bool eql_ready(eql_call *c, size_t wanted) {
  if (!eql_require(c, wanted > 0, "arguments or shapes that the operator does not allow")) return false;
  if (!c->compute) c->scratch_bytes = wanted;
  return eql_ready_plain(c) && eql_require(c, wanted <= c->scratch_bytes, "more scratch is wanted than was prepared");
}

void eql_finish(eql_call *c, eq_status status) {
  if (status != EQ_OK) eql_fail(c, eq_status_text(status));
}

void *eql_tiles_to_make(eql_call *c, const eql_tensor *w, size_t bytes) {
  if (c->compute || !w->known || c->fault) return NULL;
  c->tile_bytes = bytes;
  return c->tiles_to_make;
}

const eq_threads *eql_threads(const eql_call *c, uint64_t multiply_adds) {
  if (!c->threads || c->threads->workers == 1) return NULL;
  const uint64_t worth =
      eq_choice_get(eq_isa_current(), EQ_CHOICE_SHARED); /* waking a team costs some ten microseconds */
  return multiply_adds >> 10 >= worth ? c->threads : NULL;
}
