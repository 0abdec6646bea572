/* Hostile nodes against the delegate: each round takes a sound node of the corpus (make_corpus.py), damages it in up to
 * four places, and lets the delegate prepare and run it in a runtime of our own. Build with sanitizers.
 *   fuzz_delegate CORPUS ROUNDS SEED [first round, to repeat one] */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ports/litert/tflite_abi.h"

tf_delegate *tflite_plugin_create_delegate(const char *const *, const char *const *, size_t, void (*)(const char *));
void tflite_plugin_destroy_delegate(tf_delegate *);

enum { MOST_TENSORS = 32, MOST_NODES = 256, MOST_RANK = 12, LARGEST = 1 << 15, CUSTOM_ARENA = 2 };

typedef struct {
  int type, rank, dims[MOST_RANK], constant;
  uint32_t bytes;
  uint8_t *data;
} seed_tensor;

typedef struct {
  char name[64];
  int inputs, outputs; /* tensors: inputs first */
  seed_tensor tensors[MOST_TENSORS];
} seed_node;

static seed_node nodes[MOST_NODES];
static int node_count;

static uint64_t state;
static uint32_t draw(void) { /* splitmix64 */
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (uint32_t)((z ^ z >> 31) >> 16);
}
static uint32_t below(uint32_t n) { return draw() % n; }

/* ---- a runtime with one node */
typedef struct {
  tf_context face;
  tf_tensor tensors[MOST_TENSORS];
  tf_node node, replaced;
  tf_registration custom, kernel;
  tf_ints *plan;
  size_t have[MOST_TENSORS]; /* bytes behind each tensor's data */
  char name[64];
  unsigned reports;
} runtime;

static runtime *of(tf_context *c) { return (runtime *)c->impl; }

static size_t element_bytes(int type) {
  static const size_t sizes[] = {0, 4, 4, 1, 8, 0, 1, 2, 8, 1, 2};
  return type >= 0 && type <= 10 ? sizes[type] : 4;
}

/* Bytes of the shape, or SIZE_MAX. */
static size_t wanted(const tf_tensor *t) {
  size_t bytes = element_bytes(t->type);
  for (int d = 0; d < t->dims->size; d++)
    if (t->dims->data[d] < 0 || __builtin_mul_overflow(bytes, (size_t)t->dims->data[d], &bytes)) return SIZE_MAX;
  return bytes;
}

static tf_ints *ints(int size) {
  tf_ints *a = calloc(1, sizeof *a + sizeof(int) * (size_t)(size > 0 ? size : 1));
  a->size = size;
  return a;
}

static tf_status get_plan(tf_context *c, tf_ints **plan) {
  *plan = of(c)->plan;
  return 0;
}
static tf_status get_node(tf_context *c, int index, tf_node **node, tf_registration **r) {
  assert(index == 0);
  *node = &of(c)->node;
  *r = &of(c)->custom;
  return 0;
}
static tf_status resize(tf_context *c, tf_tensor *t, tf_ints *dims) {
  (void)c;
  free(t->dims);
  t->dims = dims;
  t->bytes = wanted(t);
  return t->bytes == SIZE_MAX;
}
static void report(tf_context *c, const char *format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  const int length = vsnprintf(text, sizeof text, format, list);
  va_end(list);
  assert(length > 0 && strstr(text, "edgeq."));
  of(c)->reports++;
}
static tf_status replace(tf_context *c, tf_registration r, const tf_ints *which, tf_delegate *delegate) {
  runtime *t = of(c);
  tf_ints *copy = ints(1);
  copy->data[0] = which->data[0];
  tf_delegate_params params = {delegate, copy, t->node.inputs, t->node.outputs};
  t->kernel = r;
  t->replaced.inputs = t->node.inputs;
  t->replaced.outputs = t->node.outputs;
  t->replaced.user_data = r.init(c, (const char *)&params, sizeof params);
  free(copy);
  return 0;
}

/* ---- damage */
static int odd_number(int now) {
  static const int odd[] = {0,   -1,  1,     2,     3,       7,         8,         9,      64,
                            255, 256, 65535, 65536, 1 << 24, INT32_MAX, INT32_MIN, 1 << 30};
  switch (below(4)) {
  case 0: return odd[below(sizeof odd / sizeof *odd)];
  case 1: return (int)((uint32_t)now + below(5) - 2u);
  case 2: return (int)((uint32_t)now ^ 1u << below(32));
  default: return (int)below(40);
  }
}

static void fit(tf_tensor *t) { /* the runtime's own promise: so many bytes are there */
  const size_t bytes = wanted(t);
  t->bytes = bytes > LARGEST ? below(64) : bytes;
}

static void damage(runtime *r, const seed_node *seed) {
  const int count = r->node.inputs->size;
  const int which = count > 0 ? r->node.inputs->data[below((uint32_t)count)] : 0;
  tf_tensor *t = &r->tensors[which >= 0 && which < MOST_TENSORS ? which : 0];
  switch (below(12)) {
  case 0:
  case 1:
  case 2:
  case 3: { /* a word of params */
    const int last = seed->inputs - 1;
    int32_t *word = (int32_t *)r->tensors[last].data + below(seed->tensors[last].bytes / 4);
    *word = odd_number(*word);
    break;
  }
  case 4:
  case 5:
    if (t->dims->size > 0) {
      int *extent = &t->dims->data[below((uint32_t)t->dims->size)];
      *extent = odd_number(*extent);
      if (below(4)) fit(t);
    }
    break;
  case 6: {
    tf_ints *dims = ints((int)below(MOST_RANK));
    for (int d = 0; d < dims->size; d++) dims->data[d] = d < t->dims->size ? t->dims->data[d] : (int)below(4);
    free(t->dims);
    t->dims = dims;
    if (below(4)) fit(t);
    break;
  }
  case 7:
    t->type = (int)below(13);
    if (below(2)) fit(t);
    break;
  case 8: t->bytes = below(2) ? below(256) : t->bytes + below(3) - 1; break;
  case 9: t->allocation_type = (int)below(6); break;
  case 10:
    if (count > 0) r->node.inputs->data[below((uint32_t)count)] = odd_number(which);
    break;
  default:
    if (below(2))
      r->node.inputs->size = (int)below((uint32_t)count + 1);
    else
      r->tensors[MOST_TENSORS - 1 - below(4)].type = (int)below(13);
  }
}

/* ---- one round */
static uint8_t *memory(size_t bytes) { return bytes <= LARGEST ? malloc(bytes ? bytes : 1) : NULL; }

static void random_bytes(uint8_t *to, size_t bytes, int type) {
  for (size_t i = 0; i < bytes; i++) to[i] = (uint8_t)draw();
  if (type == 4 && below(4)) /* mostly sensible numbers of rows */
    for (size_t i = 0; i + 8 <= bytes; i += 8) memcpy(to + i, &(int64_t){(int64_t)below(9)}, 8);
}

static void build(runtime *r, const seed_node *seed) {
  *r = (runtime){.face = {.tensors_size = MOST_TENSORS,
                          .tensors = r->tensors,
                          .get_execution_plan = get_plan,
                          .impl = r,
                          .resize_tensor = resize,
                          .report_error = report,
                          .get_node_and_registration = get_node,
                          .replace_nodes = replace}};
  r->plan = ints(1);
  r->node.inputs = ints(seed->inputs);
  r->node.outputs = ints(seed->outputs);
  memcpy(r->name, seed->name, sizeof r->name);
  r->custom = (tf_registration){.builtin_code = TF_BUILTIN_CUSTOM, .custom_name = r->name};
  for (int i = 0; i < MOST_TENSORS; i++) r->tensors[i].dims = ints(0);
  for (int i = 0; i < seed->inputs + seed->outputs; i++) {
    const seed_tensor *from = &seed->tensors[i];
    const int number = i < seed->inputs ? i : MOST_TENSORS - 1 - (i - seed->inputs);
    tf_tensor *t = &r->tensors[number];
    free(t->dims);
    t->dims = ints(from->rank);
    memcpy(t->dims->data, from->dims, sizeof(int) * (size_t)from->rank);
    t->type = from->type;
    t->bytes = from->bytes;
    t->allocation_type = from->constant ? TF_MMAP_RO : CUSTOM_ARENA;
    if (i < seed->inputs) {
      t->data = memory(from->bytes);
      r->have[i] = from->bytes;
      memcpy(t->data, from->data, from->bytes);
      r->node.inputs->data[i] = number;
    } else {
      r->node.outputs->data[i - seed->inputs] = number;
    }
  }
}

/* What is there is exactly what the tensor claims. */
static void settle(runtime *r, const seed_node *seed, int before) {
  for (int i = 0; i < MOST_TENSORS; i++) {
    tf_tensor *t = &r->tensors[i];
    const bool constant = t->allocation_type == TF_MMAP_RO;
    if (before && !constant) { /* the arena comes after preparing */
      free(t->data);
      t->data = NULL;
      continue;
    }
    if (t->data && constant && t->bytes == r->have[i]) continue;
    uint8_t *fresh = memory(t->bytes);
    if (!fresh) t->bytes = 0;
    if (fresh) random_bytes(fresh, t->bytes, t->type);
    const bool kept = t->data != NULL, sown = !kept && i < seed->inputs && below(8);
    const uint8_t *known = kept ? t->data : sown ? seed->tensors[i].data : NULL;
    const size_t there = kept ? r->have[i] : sown ? seed->tensors[i].bytes : 0;
    if (fresh && known) memcpy(fresh, known, t->bytes < there ? t->bytes : there);
    r->have[i] = t->bytes;
    free(t->data);
    t->data = fresh;
  }
}

static bool round_of(const seed_node *seed, tf_delegate *delegate) {
  static runtime r;
  build(&r, seed);
  const uint32_t times = below(5);
  for (uint32_t i = 0; i < times; i++) damage(&r, seed);
  settle(&r, seed, 1);
  bool ran = false;
  assert(delegate->prepare(&r.face, delegate) == 0);
  tf_status status = r.kernel.prepare ? r.kernel.prepare(&r.face, &r.replaced) : 1;
  for (int again = 0; status == 0 && again < 2; again++) {
    if (again && below(2)) { /* shapes that change without being prepared */
      const int i = (int)below(MOST_TENSORS);
      if (r.tensors[i].dims->size > 0 && r.tensors[i].allocation_type != TF_MMAP_RO) {
        r.tensors[i].dims->data[0] = odd_number(r.tensors[i].dims->data[0]);
        fit(&r.tensors[i]);
      }
    }
    settle(&r, seed, 0);
    const unsigned reports = r.reports;
    status = r.kernel.invoke(&r.face, &r.replaced);
    assert((status == 0) == (r.reports == reports));
    ran = ran || status == 0;
  }
  if (status) assert(r.reports > 0);
  if (r.kernel.free) r.kernel.free(&r.face, r.replaced.user_data);
  for (int i = 0; i < MOST_TENSORS; i++) {
    free(r.tensors[i].dims);
    free(r.tensors[i].data);
  }
  free(r.node.inputs);
  free(r.node.outputs);
  free(r.plan);
  return ran;
}

static int word(FILE *file) {
  int32_t value = 0;
  if (fread(&value, 4, 1, file) != 1) value = -1;
  return value;
}

static void read_corpus(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) exit((perror(path), 2));
  for (int length; (length = word(file)) > 0 && node_count < MOST_NODES;) {
    seed_node *n = &nodes[node_count++];
    assert((size_t)length < sizeof n->name && fread(n->name, 1, (size_t)length, file) == (size_t)length);
    n->inputs = word(file);
    n->outputs = word(file);
    assert(n->inputs > 0 && n->outputs > 0 && n->inputs + n->outputs <= MOST_TENSORS);
    for (int i = 0; i < n->inputs + n->outputs; i++) {
      seed_tensor *t = &n->tensors[i];
      t->type = word(file);
      t->constant = word(file);
      t->rank = word(file);
      assert(t->rank >= 0 && t->rank <= MOST_RANK);
      for (int d = 0; d < t->rank; d++) t->dims[d] = word(file);
      t->bytes = (uint32_t)word(file);
      t->data = malloc(t->bytes + 1);
      assert(fread(t->data, 1, t->bytes, file) == t->bytes);
    }
  }
  fclose(file);
}

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "usage: fuzz_delegate CORPUS ROUNDS SEED [FIRST]\n"), 2;
  read_corpus(argv[1]);
  tf_delegate *delegate = tflite_plugin_create_delegate(NULL, NULL, 0, NULL);
  const uint64_t rounds = strtoull(argv[2], NULL, 10), seed = strtoull(argv[3], NULL, 10),
                 first = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
  uint64_t ran = 0;
  for (uint64_t i = first; i < first + rounds; i++) {
    state = seed * 0x2545f4914f6cdd1du + i;
    ran += round_of(&nodes[below((uint32_t)node_count)], delegate);
  }
  printf("%d nodes, %llu rounds, %llu ran, the others were refused with a report\n", node_count,
         (unsigned long long)rounds, (unsigned long long)ran);
  tflite_plugin_destroy_delegate(delegate);
  for (int n = 0; n < node_count; n++)
    for (int i = 0; i < nodes[n].inputs + nodes[n].outputs; i++) free(nodes[n].tensors[i].data);
  return ran == 0;
}
