/* EdgeQ for every TFLite runtime that loads external delegates: takes each node whose custom code is one of our
 * operators, one node per kernel, and leaves all others to the runtime. A name that we do not know is left alone, so
 * that the runtime names it in its own error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "delegate.h"
#include "edgeq_litert.h"
#include "node.h"
#include "team.h"

#define EXPORT __attribute__((visibility("default")))

enum { WORD = sizeof(int32_t) };

typedef struct {
  tf_delegate face;
  unsigned threads; /* 0: what the runtime recommends */
  eq_threads *team;
} delegate;

typedef struct {
  const eql_entry *op;
  delegate *owner;
  eql_memory scratch, tiles;
  int inputs, outputs; /* numbers of tensors, params being the last input */
  int in[EQL_INPUTS + 1], out[EQL_OUTPUTS];
  eql_tensor unread[EQL_OUTPUTS]; /* results that no node reads: the runtime gives them no memory, we do; else type 0 */
} kernel;

static _Thread_local char last_fault[192];

const char *eql_delegate_fault(void) {
  static _Thread_local char told[sizeof last_fault];
  memcpy(told, last_fault, sizeof told);
  *last_fault = 0;
  return *told ? told : NULL;
}

static tf_status refuse(tf_context *c, const kernel *k, const char *why) {
  snprintf(last_fault, sizeof last_fault, "%s: %s", k->op->name, why);
  c->report_error(c, "%s\n", last_fault);
  return 1;
}

/* The runtime's tensor as the operators see it. */
static bool take_tensor(const tf_context *c, int number, bool compute, eql_tensor *t) {
  if (number < 0 || (size_t)number >= c->tensors_size) return false;
  const tf_tensor *from = &c->tensors[number];
  if (!from->dims || !eql_shape(t, from->type, from->dims->data, from->dims->size)) return false;
  t->known = compute || (from->allocation_type == TF_MMAP_RO && from->data);
  if (!t->known) return true;
  t->data = from->data;
  return from->bytes == eql_bytes(t) && eql_is_placed(t);
}

/* params and inputs of a call. */
static bool take_inputs(const tf_context *c, const kernel *k, bool compute, eql_call *call) {
  const int last = k->in[k->inputs - 1];
  const tf_tensor *params = last >= 0 && (size_t)last < c->tensors_size ? &c->tensors[last] : NULL;
  if (!params || params->type != EQL_I32 || params->allocation_type != TF_MMAP_RO || !params->data ||
      (uintptr_t)params->data % WORD != 0)
    return eql_fail(call, "the last input must be params, constant int32");
  if (!eql_take_params(call, params->data, params->bytes / WORD)) return false;
  call->input_count = (uint32_t)k->inputs - 1;
  for (uint32_t i = 0; i < call->input_count; i++)
    if (!take_tensor(c, k->in[i], compute, &call->inputs[i]))
      return eql_fail(call, "an input is missing, or of a type, shape or byte count that no operator takes");
  call->output_count = (uint32_t)k->outputs;
  call->threads = k->owner->team;
  return true;
}

static tf_status resize(tf_context *c, const kernel *k, int number, const eql_tensor *to) {
  tf_ints *dims = malloc(sizeof *dims + sizeof(int) * to->rank);
  if (!dims) return refuse(c, k, "no memory");
  dims->size = (int)to->rank;
  for (uint32_t d = 0; d < to->rank; d++) dims->data[d] = (int)to->size[d];
  return c->resize_tensor(c, &c->tensors[number], dims);
}

static bool contains(const tf_ints *numbers, int number) {
  for (int i = 0; numbers && i < numbers->size; i++)
    if (numbers->data[i] == number) return true;
  return false;
}

static void clear_unread(kernel *k) {
  for (int i = 0; i < EQL_OUTPUTS; i++) {
    free(k->unread[i].type ? k->unread[i].data : NULL);
    k->unread[i] = (eql_tensor){0};
  }
}

static tf_status kernel_prepare(tf_context *c, tf_node *node) {
  kernel *k = node->user_data;
  if (!k) return 1;
  if (k->inputs < 1 || k->inputs > EQL_INPUTS + 1 || k->outputs < 1 || k->outputs > EQL_OUTPUTS)
    return refuse(c, k, "too many inputs or outputs, or none");
  eql_call call = {0};
  if (!take_inputs(c, k, false, &call)) return refuse(c, k, call.fault);
  for (int i = 0; i < k->outputs; i++) {
    if (k->out[i] < 0 || (size_t)k->out[i] >= c->tensors_size) return refuse(c, k, "an output is missing");
    call.outputs[i].type = c->tensors[k->out[i]].type;
  }
  if (!eql_node_prepare(&k->scratch, &k->tiles, k->op->run, &call)) return refuse(c, k, call.fault);
  clear_unread(k);
  for (int i = 0; i < k->outputs; i++) {
    eql_tensor *made = &call.outputs[i];
    if (contains(node->outputs, k->out[i])) {
      if (resize(c, k, k->out[i], made)) return 1;
    } else {
      made->data = eql_aligned((size_t)eql_bytes(made));
      if (!made->data) return refuse(c, k, "no memory");
      k->unread[i] = *made;
    }
  }
  return 0;
}

static tf_status kernel_invoke(tf_context *c, tf_node *node) {
  const kernel *k = node->user_data;
  eql_call call;
  eql_begin(&call);
  if (!take_inputs(c, k, true, &call)) return refuse(c, k, call.fault);
  for (int i = 0; i < k->outputs; i++) {
    if (k->unread[i].type)
      call.outputs[i] = k->unread[i];
    else if (!take_tensor(c, k->out[i], true, &call.outputs[i]))
      return refuse(c, k, "an output has another byte count than its shape");
  }
  return eql_node_run(&k->scratch, &k->tiles, k->op->run, &call) ? 0 : refuse(c, k, call.fault);
}

static const eql_entry *operator_of(const tf_registration *r) {
  return r->builtin_code == TF_BUILTIN_CUSTOM && r->custom_name ? eql_find(r->custom_name) : NULL;
}

static void copy(const tf_ints *from, int *count, int *to, int room) {
  *count = from ? from->size : 0;
  for (int i = 0; i < *count && i < room; i++) to[i] = from->data[i];
}

static void *kernel_init(tf_context *c, const char *buffer, size_t length) {
  (void)length;
  const tf_delegate_params *given = (const tf_delegate_params *)(const void *)buffer;
  tf_node *node;
  tf_registration *registration;
  if (c->get_node_and_registration(c, given->nodes_to_replace->data[0], &node, &registration)) return NULL;
  kernel *k = calloc(1, sizeof *k);
  if (!k || !(k->op = operator_of(registration))) {
    free(k);
    return NULL;
  }
  k->owner = given->delegate->data;
  copy(node->inputs, &k->inputs, k->in, EQL_INPUTS + 1);
  copy(node->outputs, &k->outputs, k->out, EQL_OUTPUTS);
  return k;
}

static void kernel_free(tf_context *c, void *state) {
  (void)c;
  kernel *k = state;
  if (!k) return;
  eql_release(&k->scratch);
  eql_release(&k->tiles);
  clear_unread(k);
  free(k);
}

static const char *kernel_name(const tf_context *c, const tf_node *node) {
  (void)c;
  return node->user_data ? ((const kernel *)node->user_data)->op->name : NULL;
}

static void open_team(delegate *d, const tf_context *c) {
  const int advice = c->recommended_num_threads;
  const unsigned threads = d->threads ? d->threads : advice > 1 && advice <= EQL_MOST_THREADS ? (unsigned)advice : 1;
  if (!d->team && threads > 1) d->team = eql_team_open(threads);
}

static tf_status delegate_prepare(tf_context *c, tf_delegate *face) {
  tf_ints *live, *one = malloc(sizeof *one + sizeof(int));
  if (!one || c->get_execution_plan(c, &live)) {
    free(one);
    return 1;
  }
  one->size = 1;
  const size_t bytes = sizeof *live + sizeof(int) * (size_t)live->size;
  tf_ints *plan = malloc(bytes); /* the live one changes while nodes are replaced */
  if (!plan) {
    free(one);
    return 1;
  }
  memcpy(plan, live, bytes);
  open_team(face->data, c);
  const tf_registration ours = {.init = kernel_init,
                                .free = kernel_free,
                                .prepare = kernel_prepare,
                                .invoke = kernel_invoke,
                                .profiling_string = kernel_name,
                                .builtin_code = TF_BUILTIN_DELEGATE,
                                .custom_name = "EdgeQ",
                                .version = 1};
  tf_status status = 0;
  for (int i = 0; i < plan->size && !status; i++) {
    tf_node *node;
    tf_registration *registration;
    status = c->get_node_and_registration(c, plan->data[i], &node, &registration);
    if (status || !operator_of(registration)) continue;
    one->data[0] = plan->data[i];
    status = c->replace_nodes(c, ours, one, face);
  }
  free(plan);
  free(one);
  return status;
}

EXPORT void tflite_plugin_destroy_delegate(tf_delegate *face) {
  if (!face) return;
  delegate *d = face->data;
  eql_team_close(d->team);
  free(d);
}

EXPORT tf_delegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values, size_t count,
                                                  void (*report_error)(const char *)) {
  const char *fault = eql_use_environment();
  const char *threads = getenv("EDGEQ_THREADS");
  for (size_t i = 0; i < count && !fault; i++) {
    if (strcmp(keys[i], "threads") != 0)
      fault = "the only option is threads";
    else if (!eql_thread_count(threads = values[i]))
      fault = "threads must be a number from 1 to 256";
  }
  delegate *d = fault ? NULL : calloc(1, sizeof *d);
  if (!d) {
    char text[160];
    snprintf(text, sizeof text, "EdgeQ delegate: %s", fault ? fault : "no memory");
    if (report_error) report_error(text);
    return NULL;
  }
  d->threads = threads ? eql_thread_count(threads) : 0;
  d->face = (tf_delegate){.data = d, .prepare = delegate_prepare, .flags = TF_ALLOW_DYNAMIC};
  return &d->face;
}

EXPORT const char *edgeq_litert_operator(size_t index) {
  const eql_entry *entry = eql_entry_at(index);
  return entry ? entry->name : NULL;
}

EXPORT const char *edgeq_litert_isa(void) { return eq_isa_name(eq_isa_current()); }
