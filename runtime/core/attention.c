#include "attention.h"
#include "check.h"

/* Past these, sums of codes times int8 could leave 32 bits. */
enum { MOST_KEYS = 65536, MOST_CHANNELS = 65536 };

eq_status eq_check_attention(const eq_attention *op) {
  if (!op) return EQ_BAD_ARGUMENT;
  if (!eq_extent_ok(op->batch, op->queries, op->heads, op->d) || !eq_extent_ok(op->batch, op->keys, op->heads, op->d))
    return EQ_BAD_SHAPE;
  if (op->keys > MOST_KEYS || op->d > MOST_CHANNELS) return EQ_BAD_SHAPE;
  if (op->used < 1 || op->used > op->keys || (op->causal && op->queries > op->used)) return EQ_BAD_SHAPE;
  return EQ_OK;
}
