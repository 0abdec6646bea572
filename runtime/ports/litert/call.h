/* An operator's side of a call: its arguments one after the other, checked as they are taken. Knows no runtime: the
 * delegate, LiteRT's compiled models and TFLite Micro each bring tensors and take results.
 *
 * An operator is one function, executed twice: while a model is prepared it says which results it has and how much
 * scratch it wants, and when the model runs it checks everything again and computes. So a check cannot part from the
 * access that it guards, and a file whose shapes change between the two is refused too.
 *
 * A node's last input is `params`, const int32: the version of this agreement, the number of arguments of the
 * operator's schema (edgeq/ops), then a kind and a value for each, then any number of zeros (see compiled_model.c).
 * A tensor's value is 1 for a constant of the model, which may be tiled for later calls, else 0. Tensors are the node's
 * other inputs in order; what is None has no input. Results that are not wanted have no output. */
#ifndef EDGEQ_LITERT_CALL_H
#define EDGEQ_LITERT_CALL_H

#include <stddef.h>
#include <string.h>

#include "edgeq/ops.h"

enum { EQL_VERSION = 1, EQL_RANK = 8, EQL_INPUTS = 20, EQL_OUTPUTS = 4, EQL_ARGUMENTS = 20 };
/* Kinds of an argument. FLOAT: the value is its bits. */
enum { EQL_NONE = 0, EQL_TENSOR, EQL_INTEGER, EQL_FLOAT };
/* Element types as the runtimes number them, which is not how the file does. */
enum { EQL_F32 = 1, EQL_I32 = 2, EQL_U8 = 3, EQL_I64 = 4, EQL_I8 = 9, EQL_F16 = 10 };

/* No extent or product of extents is larger; the core counts in 32 bits. */
#define EQL_MOST ((uint32_t)INT32_MAX)

typedef struct {
  int type;
  uint32_t rank, size[EQL_RANK];
  uint64_t count;         /* elements */
  void *data;             /* never NULL in a tensor that an operator gets */
  uint32_t element_bytes; /* a power of two */
  bool known;             /* false: the model is being prepared, and this is no constant: data must not be read */
} eql_tensor;

typedef struct eql_call {
  const int32_t *arguments; /* kind, value */
  uint32_t argument_count, next_argument, input_count, next_input, output_count, next_output;
  bool compute;
  bool untyped;      /* prepared from shapes alone: any element type will do */
  const char *fault; /* the first one, NULL: none */
  const eq_threads *threads;
  size_t scratch_bytes; /* what the operator wants */
  void *scratch;        /* 64-byte aligned */
  const void *tiles;    /* the weights, tiled when the model was prepared, or NULL */
  size_t tile_bytes;    /* what the operator would tile them into, 0: nothing */
  void *tiles_to_make;  /* 64-byte aligned, while the model is prepared for the second time; else NULL */
  /* Last, for eql_begin. */
  eql_tensor inputs[EQL_INPUTS];
  eql_tensor outputs[EQL_OUTPUTS]; /* prepared: type and extents; computing: those of the runtime's tensors */
} eql_call;

typedef void (*eql_operator)(eql_call *c);

/* An empty call that has no tensors yet: clearing 1.5 kB of them would cost more than all checks of a small node. */
static inline void eql_begin(eql_call *c) { memset(c, 0, offsetof(eql_call, inputs)); }
/* Makes arguments of a node's params: words int32 values. False with a fault when they are not such. */
bool eql_take_params(eql_call *c, const int32_t *params, size_t words);
/* Fills in a tensor's extents and count; false when they are not positive, too many, or overflow. */
bool eql_shape(eql_tensor *t, int type, const int *extents, int rank);
static inline uint64_t eql_bytes(const eql_tensor *t) { return t->count * t->element_bytes; }
/* Its data is there, where elements of its type may lie. */
static inline bool eql_is_placed(const eql_tensor *t) {
  return t->data && ((uintptr_t)t->data & (t->element_bytes - 1)) == 0;
}

/* ---- for operators */
/* Records the first fault; always false. */
bool eql_fail(eql_call *c, const char *why);
static inline bool eql_require(eql_call *c, bool condition, const char *why) {
  return !c->fault && (condition || eql_fail(c, why));
}

/* The next argument. After a fault: an empty tensor of rank 0, NULL, or 0. */
const eql_tensor *eql_take(eql_call *c, int type, const char *what);
const eql_tensor *eql_take_optional(eql_call *c, int type, const char *what); /* NULL for None */
const eql_tensor *eql_take_any(eql_call *c, const char *what);                /* of any type, NULL for None */
uint32_t eql_integer(eql_call *c, uint32_t most, const char *what);
float eql_number(eql_call *c, const char *what);
/* The next argument, not taken yet, if it is an integer; else 0. */
uint32_t eql_peek_integer(const eql_call *c);

/* The next result. */
void *eql_out(eql_call *c, int type, uint32_t rank, const uint32_t *extents);
/* The same with the extents of x from dimension `from` on, `last` in place of its last one, behind `planes` if not 0.
 */
void *eql_out_like(eql_call *c, int type, uint32_t planes, const eql_tensor *x, uint32_t from, uint32_t last);

/* After the last argument: true when everything held and scratch is there, compute now. wanted: 0 is refused. */
bool eql_ready(eql_call *c, size_t wanted);
bool eql_ready_plain(eql_call *c); /* for operators without scratch */
/* Ends the call with the core's verdict. */
void eql_finish(eql_call *c, eq_status status);

/* Where to put tiles of the constant weights w, of that many bytes; NULL: not now. */
void *eql_tiles_to_make(eql_call *c, const eql_tensor *w, size_t bytes);
/* The team for that much work, NULL: not worth sharing. */
const eq_threads *eql_threads(const eql_call *c, uint64_t multiply_adds);

static inline uint32_t eql_extent(const eql_tensor *t, uint32_t d) { return d < t->rank ? t->size[d] : 0; }
static inline uint32_t eql_last(const eql_tensor *t) { return t->rank ? t->size[t->rank - 1] : 0; }
/* Product of all extents but the last. */
static inline uint32_t eql_rows(const eql_tensor *t) {
  return t->rank ? (uint32_t)(t->count / t->size[t->rank - 1]) : 0;
}
static inline const void *eql_data(const eql_tensor *t) { return t ? t->data : NULL; }
static inline const float *eql_floats(const eql_tensor *t) { return (const float *)eql_data(t); }

#endif
