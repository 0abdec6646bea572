/* The operators as kernels of LiteRT's compiled models. There one kernel serves all nodes of a name, and is told shapes
 * alone when it must say how large its results are. So a node carries its params twice: as an input, whose length is
 * another one for each different content (zeros follow), and as options, which init gets; the length leads from the
 * shapes to the content. What it computes from is the input. Nor is a kernel told which node calls: it knows a node by
 * its params, the extents of its inputs and where its constants lie, and keeps their tiles under that. */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "compiled_model_abi.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "delegate.h"
#include "edgeq_litert.h"
#include "node.h"
#include "team.h"

#define EXPORT __attribute__((visibility("default")))

enum { MOST_CONTENTS = 4096, MOST_NODES = 4096, WORD = sizeof(int32_t) };

static const char *opening_fault;

typedef struct {
  size_t words;
  int32_t *params;
} content;

typedef struct {
  size_t words;
  uint32_t inputs;
  eql_tensor in[EQL_INPUTS]; /* known: a constant */
  eql_memory tiles;
} node;

typedef struct {
  const eql_entry *op;
  edgeq_litert *owner;
  content *contents;
  size_t count, room;
  node **nodes;
  size_t node_count, node_room;
} kernel;

struct edgeq_litert {
  lrt_status (*add)(void *, const char *, int, const lrt_kernel *, void *);
  lrt_status (*lock)(lrt_buffer, void **, int);
  lrt_status (*unlock)(lrt_buffer);
  lrt_status (*type_of)(lrt_buffer, lrt_tensor_type *);
  lrt_status (*size_of)(lrt_buffer, size_t *);
  eq_threads *team;
  kernel *kernels;
  size_t count;
  eql_memory scratch; /* of whichever node runs */
  char why[192];
  bool failed;
};

static void fail(kernel *k, const char *why) {
  edgeq_litert *e = k->owner;
  if (e->failed) return;
  snprintf(e->why, sizeof e->why, "%s: %s", k->op->name, why);
  e->failed = true;
}

/* items, with room for one more; NULL: there is no memory, and items is as it was. */
static void *with_room(void *items, size_t count, size_t *room, size_t item_bytes) {
  if (count < *room) return items;
  const size_t wanted = *room ? 2 * *room : 8;
  void *more = realloc(items, wanted * item_bytes);
  if (more) *room = wanted;
  return more;
}

static lrt_status kernel_init(void *user, const void *options, size_t size) {
  kernel *k = user;
  const size_t words = size / WORD;
  for (size_t i = 0; i < k->count; i++)
    if (k->contents[i].words == words) return 0;
  if (!options || words < 2 || k->count == MOST_CONTENTS) return LRT_INVALID_ARGUMENT;
  content *contents = with_room(k->contents, k->count, &k->room, sizeof *contents);
  if (!contents) return LRT_RUNTIME_FAILURE;
  k->contents = contents;
  int32_t *params = malloc(words * WORD);
  if (!params) return LRT_RUNTIME_FAILURE;
  memcpy(params, options, words * WORD);
  k->contents[k->count++] = (content){words, params};
  return 0;
}

/* Element types are not known yet: those that the operator wants are assumed, and checked when it runs. */
static lrt_status kernel_layouts(void *user, size_t inputs, const lrt_layout *in, size_t outputs, lrt_layout *out) {
  kernel *k = user;
  eql_call call = {
      .untyped = true, .input_count = (uint32_t)(inputs ? inputs - 1 : 0), .output_count = (uint32_t)outputs};
  const content *found = NULL;
  if (inputs < 1 || inputs > EQL_INPUTS + 1 || outputs < 1 || outputs > EQL_OUTPUTS) {
    fail(k, "too many inputs or outputs, or none");
    return LRT_INVALID_ARGUMENT;
  }
  for (size_t i = 0; i < k->count; i++)
    if (in[inputs - 1].rank == 1 && k->contents[i].words == (size_t)in[inputs - 1].dimensions[0])
      found = &k->contents[i];
  if (!found)
    eql_fail(&call, "its options do not repeat its params: compile the model anew");
  else
    eql_take_params(&call, found->params, found->words);
  for (size_t i = 0; i + 1 < inputs && !call.fault; i++)
    if (!eql_shape(&call.inputs[i], EQL_U8, in[i].dimensions, (int)in[i].rank))
      eql_fail(&call, "an input has a shape that no operator takes");
  if (!call.fault) k->op->run(&call);
  if (call.fault) {
    fail(k, call.fault);
    return LRT_INVALID_ARGUMENT;
  }
  for (size_t i = 0; i < outputs; i++) {
    out[i] = (lrt_layout){.rank = call.outputs[i].rank & 0x7f};
    for (uint32_t d = 0; d < call.outputs[i].rank; d++) out[i].dimensions[d] = (int32_t)call.outputs[i].size[d];
  }
  return 0;
}

/* A locked buffer as a tensor. */
static bool take(const edgeq_litert *e, lrt_buffer buffer, int mode, eql_tensor *t) {
  lrt_tensor_type type;
  size_t bytes;
  void *data;
  if (e->type_of(buffer, &type) || e->size_of(buffer, &bytes) || e->lock(buffer, &data, mode)) return false;
  const bool sound = eql_shape(t, type.element_type, type.layout.dimensions, (int)type.layout.rank);
  t->data = data;
  t->known = true;
  if (sound && eql_bytes(t) <= bytes && eql_is_placed(t)) return true;
  e->unlock(buffer);
  return false;
}

/* Among the inputs, only the model's constants are known before the call. */
static void know_constants(eql_call *c) {
  for (uint32_t i = 0, input = 0; i < c->argument_count && input < c->input_count; i++)
    if (c->arguments[2 * i] == EQL_TENSOR) c->inputs[input++].known = c->arguments[2 * i + 1] == 1;
}

static bool is_same(const eql_tensor *a, const eql_tensor *b) {
  return a->type == b->type && a->rank == b->rank && a->known == b->known && (!a->known || a->data == b->data) &&
         !memcmp(a->size, b->size, a->rank * sizeof *a->size);
}

static const node *find(const kernel *k, const eql_call *c, size_t words) {
  for (size_t i = 0; i < k->node_count; i++) {
    const node *n = k->nodes[i];
    bool same = n->words == words && n->inputs == c->input_count;
    for (uint32_t j = 0; same && j < n->inputs; j++) same = is_same(&n->in[j], &c->inputs[j]);
    if (same) return n;
  }
  return NULL;
}

/* A node seen for the first time, prepared. NULL: c->fault says why. */
static const node *meet(kernel *k, eql_call *c, size_t words) {
  node **nodes = k->node_count < MOST_NODES ? with_room(k->nodes, k->node_count, &k->node_room, sizeof *nodes) : NULL;
  if (nodes) k->nodes = nodes;
  node *n = nodes ? calloc(1, sizeof *n) : NULL;
  if (!n) {
    eql_fail(c, "no memory, or too many nodes of one name");
    return NULL;
  }
  n->words = words;
  n->inputs = c->input_count;
  memcpy(n->in, c->inputs, sizeof n->in);
  if (!eql_node_prepare(&k->owner->scratch, &n->tiles, k->op->run, c)) {
    eql_release(&n->tiles);
    free(n);
    return NULL;
  }
  return k->nodes[k->node_count++] = n;
}

static void run_locked(kernel *k, eql_call *call, const eql_tensor *params) {
  if (params->type != EQL_I32 || params->rank != 1) {
    eql_fail(call, "the last input must be params, int32");
    return;
  }
  if (!eql_take_params(call, params->data, params->count)) return;
  eql_call rehearsal = *call;
  know_constants(&rehearsal);
  const node *n = find(k, &rehearsal, params->count);
  if (!n) n = meet(k, &rehearsal, params->count);
  if (n)
    eql_node_run(&k->owner->scratch, &n->tiles, k->op->run, call);
  else
    eql_fail(call, rehearsal.fault);
}

static lrt_status kernel_run(void *user, size_t inputs, const lrt_buffer *in, size_t outputs, lrt_buffer *out) {
  kernel *k = user;
  const edgeq_litert *e = k->owner;
  eql_tensor params = {0};
  eql_call call = {.threads = e->team};
  size_t taken = 0, given = 0;
  if (inputs < 1 || inputs > EQL_INPUTS + 1 || outputs > EQL_OUTPUTS) eql_fail(&call, "too many inputs or outputs");
  for (; !call.fault && taken < inputs; taken++)
    if (!take(e, in[taken], LRT_READ, taken + 1 < inputs ? &call.inputs[taken] : &params)) {
      eql_fail(&call, "an input has a type, shape or byte count that no operator takes");
      break;
    }
  for (; !call.fault && given < outputs; given++)
    if (!take(e, out[given], LRT_WRITE, &call.outputs[given])) {
      eql_fail(&call, "an output has a type, shape or byte count that no operator gives");
      break;
    }
  call.input_count = (uint32_t)(inputs - 1);
  call.output_count = (uint32_t)outputs;
  if (!call.fault) run_locked(k, &call, &params);
  for (size_t i = 0; i < given; i++) {
    if (call.fault) memset(call.outputs[i].data, 0xff, (size_t)eql_bytes(&call.outputs[i]));
    e->unlock(out[i]);
  }
  for (size_t i = 0; i < taken; i++) e->unlock(in[i]);
  if (call.fault) fail(k, call.fault);
  return call.fault ? LRT_RUNTIME_FAILURE : 0;
}

/* Called once for each node; what is kept goes with the edgeq_litert. */
static lrt_status kernel_destroy(void *user) {
  (void)user;
  return 0;
}

static bool look_up(edgeq_litert *e) {
  const struct {
    const char *name;
    void *into;
  } wanted[] = {{"LiteRtAddCustomOpKernelOption", &e->add},
                {"LiteRtLockTensorBuffer", &e->lock},
                {"LiteRtUnlockTensorBuffer", &e->unlock},
                {"LiteRtGetTensorBufferTensorType", &e->type_of},
                {"LiteRtGetTensorBufferSize", &e->size_of}};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    void *found = dlsym(RTLD_DEFAULT, wanted[i].name);
    if (!found) return false;
    memcpy(wanted[i].into, &found, sizeof found);
  }
  return true;
}

EXPORT edgeq_litert *edgeq_litert_open(unsigned threads) {
  opening_fault = eql_use_environment();
  if (opening_fault) return NULL;
  edgeq_litert *e = calloc(1, sizeof *e);
  while (e && eql_entry_at(e->count)) e->count++;
  if (e) e->kernels = calloc(e->count, sizeof *e->kernels);
  opening_fault = !e || !e->kernels ? "no memory"
                  : !look_up(e)     ? "libLiteRt.so is not in the process, its symbols global"
                                    : NULL;
  if (opening_fault) {
    edgeq_litert_close(e);
    return NULL;
  }
  for (size_t i = 0; i < e->count; i++) e->kernels[i] = (kernel){.op = eql_entry_at(i), .owner = e};
  eql_delegate_fault(); /* what was refused before is not this one's */
  if (threads > 1) e->team = eql_team_open(threads < EQL_MOST_THREADS ? threads : EQL_MOST_THREADS);
  return e;
}

EXPORT int edgeq_litert_add(edgeq_litert *e, void *options) {
  static const lrt_kernel table = {kernel_init, kernel_layouts, kernel_run, kernel_destroy};
  for (size_t i = 0; i < e->count; i++) {
    const lrt_status status = e->add(options, e->kernels[i].op->name, 1, &table, &e->kernels[i]);
    if (status) return status;
  }
  return 0;
}

EXPORT void edgeq_litert_close(edgeq_litert *e) {
  if (!e) return;
  for (size_t i = 0; e->kernels && i < e->count; i++) {
    kernel *k = &e->kernels[i];
    for (size_t j = 0; j < k->count; j++) free(k->contents[j].params);
    free(k->contents);
    for (size_t j = 0; j < k->node_count; j++) {
      eql_release(&k->nodes[j]->tiles);
      free(k->nodes[j]);
    }
    free(k->nodes);
  }
  eql_release(&e->scratch);
  eql_team_close(e->team);
  free(e->kernels);
  free(e);
}

EXPORT const char *edgeq_litert_why(edgeq_litert *e) {
  if (!e) return opening_fault;
  if (!e->failed) return eql_delegate_fault();
  e->failed = false;
  return e->why;
}
