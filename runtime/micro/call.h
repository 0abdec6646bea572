/* An operator's side of a call: its arguments one after the other, checked as they are taken. An operator is one
 * function, executed twice: eqm_prepare learns from it whether the call is sound and how much scratch it needs, eqm_run
 * lets it compute. So a check cannot part from the access that it guards.
 *
 * After a fault the arguments read as a tensor of rank 0 and as 0. */
#ifndef EQM_CALL_H
#define EQM_CALL_H

#include "micro.h"

typedef struct eqm_call {
  const eqm_value *values;
  const uint16_t *next;        /* argument to be taken: the number of a value */
  bool compute;                /* false: this is eqm_prepare, arguments are checked */
  const uint16_t *first, *end; /* of the arguments, and what follows is set, in eqm_prepare only */
  uint32_t outs;
  eqm_status status;
  uint32_t scratch_bytes; /* what the operator asks for */
  void *scratch;
} eqm_call;

/* False, and the call is refused, when the condition does not hold. In eqm_run always true: what eqm_prepare has seen
 * to hold still does; a condition that costs much is left out there ("c->compute ||"). */
bool eqm_refuse_unless(eqm_call *c, bool condition);
static inline bool eqm_require(eqm_call *c, bool condition) { return c->compute || eqm_refuse_unless(c, condition); }

/* The next argument; of any kind, or of a kind and type with at least one element. */
const eqm_value *eqm_checked_next(eqm_call *c);
static inline const eqm_value *eqm_next(eqm_call *c) {
  return c->compute ? &c->values[*c->next++] : eqm_checked_next(c);
}
const eqm_value *eqm_tensor(eqm_call *c, uint32_t type);
const eqm_value *eqm_optional_tensor(eqm_call *c, uint32_t type); /* NULL for None */
uint32_t eqm_integer(eqm_call *c, uint32_t most);                 /* 0..most */
const eqm_value *eqm_list(eqm_call *c, uint32_t kind);
/* Item i < list->count. */
const eqm_value *eqm_item(const eqm_call *c, const eqm_value *list, uint32_t i);

/* The next output: writable, of exactly these extents (unused ones 1). */
void *eqm_out(eqm_call *c, uint32_t type, uint32_t rank, const uint32_t *extents);
/* The same with the extents of x, but for the last one. */
void *eqm_out_like(eqm_call *c, uint32_t type, const eqm_value *x, uint32_t last);
/* The next output is not wanted: it has no elements. */
void eqm_no_out(eqm_call *c);

/* After the last argument. True: everything held, compute now in c->scratch. */
bool eqm_ready(eqm_call *c, uint64_t scratch_bytes);

static inline uint32_t eqm_extent(const eqm_value *x, uint32_t d) { return (uint32_t)x->size[d]; }
/* Product of all extents but the last. */
static inline uint32_t eqm_rows(const eqm_value *x) { return x->count / eqm_extent(x, x->rank - 1u); }

#endif
