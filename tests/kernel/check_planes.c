/* As check_core.c, for products of bit-planes, attention over signs, layer normalisation and packed tables: every
 * instruction set of this machine against the reference, bit for bit. Prints "N passed, N failed"; arguments:
 * [problems [seed]]. */
#include "check_random.h"

typedef enum {
  LINEAR_B1B1,
  LINEAR_B1T2,
  LINEAR_B1U1,
  LINEAR_T2B1,
  CONV_B1T2,
  CONV_B1U1,
  CONV_T2B1,
  LINEAR_F32,
  ATTENTION_B1,
  ATTENTION_F32,
  NORM,
  TABLE,
  KINDS
} kind;
static const char *const names[KINDS] = {"linear_b1b1",  "linear_b1t2",   "linear_b1u1", "linear_t2b1",
                                         "conv2d_b1t2",  "conv2d_b1u1",   "conv2d_t2b1", "linear_*f32",
                                         "attention_b1", "attention_f32", "layer_norm",  "embedding"};

enum { OUTPUTS = 5 };
typedef struct {
  kind kind;
  eq_linear linear;
  eq_conv2d conv;
  bool tiled;    /* weights tiled ahead */
  unsigned type; /* of the weights of LINEAR_F32, an index into float_products */
  eq_epilogue e;
  eq_attention attention;
  eq_keep keep;
  eq_context context;
  eq_attention_floats floats;
  uint32_t planes;
  eq_norm norm;
  eq_lookup lookup;
  const void *x, *w, *k, *v;
  float *scale, *out;
  void *at[OUTPUTS];
  size_t size[OUTPUTS], outputs;
} problem;

typedef struct {
  unsigned planes; /* 0: floats */
  size_t (*scratch)(const eq_linear *, const eq_epilogue *, const eq_threads *);
  eq_status (*run)(const eq_linear *, const float *, const void *, const eq_epilogue *, const eq_threads *, void *,
                   size_t);
} float_product;
#define FLOAT_PRODUCT(type, planes) {planes, eq_linear_##type##f32_scratch, eq_linear_##type##f32}
static const float_product float_products[] = {FLOAT_PRODUCT(b1, 1), FLOAT_PRODUCT(t2, 2), FLOAT_PRODUCT(s2, 2),
                                               FLOAT_PRODUCT(s3, 3), FLOAT_PRODUCT(s4, 4), FLOAT_PRODUCT(f32, 0)};

static void *output(problem *p, size_t bytes) {
  p->size[p->outputs] = bytes;
  return p->at[p->outputs++] = take(bytes);
}

/* Two planes, the first 0 where the second is. */
static uint8_t *ternary(size_t rows, uint32_t k) {
  const size_t plane = rows * eq_row_bytes(k);
  uint8_t *both = take(2 * plane);
  const uint8_t *sign = packed(rows, k), *nonzero = packed(rows, k);
  for (size_t i = 0; i < plane; i++) {
    both[i] = sign[i] & nonzero[i];
    both[plane + i] = nonzero[i];
  }
  return both;
}

static void random_epilogue(problem *p, size_t n, size_t pixels, uint32_t o, bool integer) {
  eq_epilogue *e = &p->e;
  *e = (eq_epilogue){.scale = maybe(o), .bias = maybe(o), .act = ONE_OF(EQ_ACT_NONE, EQ_ACT_RELU, EQ_ACT_GELU)};
  const size_t planes = 2 * pixels * eq_row_bytes(o);
  if (chance(30)) { /* the planes alone, where GELU itself need not be known */
    float *bias = floats(o);
    for (uint32_t i = 0; i < o; i++) bias[i] = chance(20) ? -5.5154f : chance(20) ? -5.5155f : bias[i] * 4;
    e->bias = bias;
    e->out_t2 = output(p, planes);
    return;
  }
  if (chance(40)) e->out_t2 = output(p, planes);
  if (chance(50)) e->out = output(p, pixels * o * sizeof(float));
  if (integer && chance(30)) e->out_acc = output(p, pixels * o * sizeof(int32_t));
  if (chance(30)) e->scale2 = floats(o);
  if (chance(30)) e->bias2 = floats(o);
  if (chance(20)) e->gain = floats(n * o);
  if (!p->outputs) e->out_bits = output(p, planes / 2);
}

static void random_linear(problem *p) {
  p->linear = (eq_linear){.m = chance(50) ? 1 + below(4) : 1 + below(40), .k = 1 + below(600), .o = 1 + below(150)};
  const eq_linear *l = &p->linear;
  p->x = p->kind == LINEAR_B1T2 ? ternary(l->m, l->k) : packed(l->m, l->k);
  p->w = p->kind == LINEAR_T2B1 ? ternary(l->o, l->k) : packed(l->o, l->k);
  p->tiled = p->kind != LINEAR_T2B1 && chance(50);
  random_epilogue(p, l->m, l->m, l->o, true);
}

static void random_floats_linear(problem *p) {
  p->linear = (eq_linear){.m = chance(50) ? 1 + below(4) : 1 + below(40), .k = 1 + below(400), .o = 1 + below(150)};
  const eq_linear *l = &p->linear;
  p->type = below(sizeof float_products / sizeof *float_products);
  const unsigned planes = float_products[p->type].planes;
  p->x = floats((size_t)l->m * l->k);
  p->w = planes ? (const void *)packed((size_t)planes * l->o, l->k) : floats((size_t)l->o * l->k);
  random_epilogue(p, l->m, l->m, l->o, false);
}

static void random_conv(problem *p) {
  eq_conv2d *c = &p->conv;
  do {
    *c = (eq_conv2d){.n = 1 + below(2),
                     .h = 1 + below(9),
                     .w = 1 + below(9),
                     .c = ONE_OF(1, 8, 9, 16, 24, 32, 33, 64, 65, 130),
                     .o = ONE_OF(1, 8, 16, 31, 64, 65),
                     .kh = ONE_OF(1, 2, 3, 5),
                     .kw = ONE_OF(1, 2, 3, 5),
                     .stride_h = 1 + below(2),
                     .stride_w = 1 + below(2),
                     .groups = 1};
    if (chance(30)) {
      c->groups = chance(50) || c->c % 8 || c->c < 16 ? c->c : c->c / 8;
      c->o = c->groups * (1 + below(3));
    }
    if (chance(60))
      eq_conv2d_same(c);
    else
      eq_conv2d_valid(c);
  } while (!c->out_h || !c->out_w);
  const size_t pixels = (size_t)c->n * c->h * c->w, taps = (size_t)c->o * c->kh * c->kw;
  p->x = p->kind == CONV_B1T2 ? ternary(pixels, c->c) : packed(pixels, c->c);
  p->w = p->kind == CONV_T2B1 ? ternary(taps, c->c / c->groups) : packed(taps, c->c / c->groups);
  random_epilogue(p, c->n, (size_t)c->n * c->out_h * c->out_w, c->o, true);
}

static void random_tokens(eq_attention *a) {
  *a = (eq_attention){.batch = 1 + below(2),
                      .heads = 1 + below(4),
                      .d = ONE_OF(1, 7, 8, 11, 12, 16, 20, 32, 33, 64, 65, 130),
                      .queries = 1 + below(9),
                      .keys = 1 + below(140)};
  a->used = chance(50) ? a->keys : 1 + below(a->keys);
  a->causal = chance(30);
  if (a->causal && a->queries > a->used) a->queries = a->used;
  if (chance(60)) {
    uint8_t *mask = take((size_t)a->batch * a->keys);
    const uint32_t share = chance(20) ? 0 : below(101);
    for (size_t i = 0; i < (size_t)a->batch * a->keys; i++) mask[i] = chance(share);
    a->mask = mask;
  }
}

static void random_attention(problem *p) {
  eq_attention *a = &p->attention;
  random_tokens(a);
  p->planes = 1 + below(2);
  const uint32_t channels = a->heads * a->d;
  p->x = ternary((size_t)a->batch * a->queries, channels);
  p->k = ternary((size_t)a->batch * a->keys, channels);
  p->v = ternary((size_t)a->batch * a->keys, channels);
  p->keep = (eq_keep){.kind = (eq_keep_kind)below(3),
                      .margin = ONE_OF(0, 1, 5, 0x7fffffff),
                      .step = (float)below(100) / 300.0f,
                      .cut = (float)below(100) / 1000.0f};
  const size_t tokens = (size_t)a->batch * a->queries;
  p->context = (eq_context){.scale = 0.5f + (float)below(10), .threshold = maybe(channels)};
  if (chance(60)) p->context.out = output(p, tokens * channels * sizeof(float));
  if (chance(60) || !p->outputs) p->context.out_t2 = output(p, 2 * tokens * eq_row_bytes(channels));
}

static void random_floats(problem *p) {
  eq_attention *a = &p->attention;
  random_tokens(a);
  const size_t channels = (size_t)a->heads * a->d;
  eq_attention_floats *f = &p->floats;
  *f = (eq_attention_floats){.q_pitch = channels + below(9), .key_pitch = channels + below(9)};
  f->step = (float)below(200) / 100.0f;
  f->q = floats(a->batch * a->queries * f->q_pitch);
  f->k = floats(a->batch * a->keys * f->key_pitch);
  f->v = floats(a->batch * a->keys * f->key_pitch);
  p->out = output(p, a->batch * a->queries * channels * sizeof(float));
}

static void random_norm(problem *p) {
  eq_norm *n = &p->norm;
  *n = (eq_norm){.rows = 1 + below(6), .k = 1 + below(400), .eps = chance(50) ? 1e-12f : 1e-5f};
  n->x = floats(n->rows * n->k);
  n->residual = maybe(n->rows * n->k);
  n->gamma = floats(n->k);
  n->beta = floats(n->k);
  n->threshold = maybe(n->k);
  if (chance(60)) n->out = output(p, n->rows * n->k * sizeof(float));
  if (chance(40)) n->out_bits = output(p, n->rows * eq_row_bytes(n->k));
  if (chance(60) || !p->outputs) n->out_t2 = output(p, 2 * n->rows * eq_row_bytes(n->k));
}

static void random_table(problem *p) {
  eq_lookup *l = &p->lookup;
  *l = (eq_lookup){.count = 1 + below(9), .rows = 1 + below(20), .k = 1 + below(300)};
  int64_t *ids = take(l->count * sizeof *ids);
  for (size_t i = 0; i < l->count; i++) ids[i] = below(l->rows);
  l->ids = ids;
  p->planes = 1 + below(2);
  p->w = p->planes == 2 ? ternary(l->rows, l->k) : packed(l->rows, l->k);
  p->scale = floats(l->rows);
  p->out = output(p, l->count * l->k * sizeof(float));
}

static problem random_problem(void) {
  problem p = {.kind = (kind)below(KINDS)};
  switch (p.kind) {
  case CONV_B1T2:
  case CONV_B1U1:
  case CONV_T2B1: random_conv(&p); break;
  case LINEAR_F32: random_floats_linear(&p); break;
  case ATTENTION_B1: random_attention(&p); break;
  case ATTENTION_F32: random_floats(&p); break;
  case NORM: random_norm(&p); break;
  case TABLE: random_table(&p); break;
  default: random_linear(&p); break;
  }
  return p;
}

static eq_status solve_tiled(const problem *p, const eq_threads *t, size_t size) {
  const eq_linear *l = &p->linear;
  void *tiles = take(eq_tiles_b1_bytes(l->o, l->k));
  const eq_status status = (p->kind == LINEAR_B1B1 ? eq_tiles_b1b1 : eq_tiles_b1)(l->o, l->k, p->w, tiles);
  if (status != EQ_OK) return status;
  return (p->kind == LINEAR_B1B1   ? eq_linear_b1b1_tiled
          : p->kind == LINEAR_B1T2 ? eq_linear_b1t2_tiled
                                   : eq_linear_b1u1_tiled)(l, p->x, tiles, &p->e, t, take(size), size);
}

static eq_status solve(const problem *p, const eq_threads *t) {
  const eq_linear *l = &p->linear;
  size_t size = 0;
  switch (p->kind) {
  case LINEAR_B1B1:
    size = eq_linear_b1b1_scratch(l, &p->e, t);
    return p->tiled ? solve_tiled(p, t, size) : eq_linear_b1b1(l, p->x, p->w, &p->e, t, take(size), size);
  case LINEAR_B1T2:
    size = eq_linear_b1t2_scratch(l, &p->e, t);
    return p->tiled ? solve_tiled(p, t, size) : eq_linear_b1t2(l, p->x, p->w, &p->e, t, take(size), size);
  case LINEAR_B1U1:
    size = eq_linear_b1u1_scratch(l, &p->e, t);
    return p->tiled ? solve_tiled(p, t, size) : eq_linear_b1u1(l, p->x, p->w, &p->e, t, take(size), size);
  case LINEAR_T2B1:
    size = eq_linear_t2b1_scratch(l, &p->e, t);
    return eq_linear_t2b1(l, p->x, p->w, &p->e, t, take(size), size);
  case CONV_B1T2:
    size = eq_conv2d_b1t2_scratch(&p->conv, &p->e, t);
    return eq_conv2d_b1t2(&p->conv, p->x, p->w, &p->e, t, take(size), size);
  case CONV_B1U1:
    size = eq_conv2d_b1u1_scratch(&p->conv, &p->e, t);
    return eq_conv2d_b1u1(&p->conv, p->x, p->w, &p->e, t, take(size), size);
  case CONV_T2B1:
    size = eq_conv2d_t2b1_scratch(&p->conv, &p->e, t);
    return eq_conv2d_t2b1(&p->conv, p->x, p->w, &p->e, t, take(size), size);
  case LINEAR_F32:
    size = float_products[p->type].scratch(l, &p->e, t);
    return float_products[p->type].run(l, p->x, p->w, &p->e, t, take(size), size);
  case ATTENTION_B1:
    size = eq_attention_b1_scratch(&p->attention, p->planes, &p->keep, t);
    return eq_attention_b1(&p->attention, p->planes, p->x, p->k, p->v, &p->keep, &p->context, t, take(size), size);
  case ATTENTION_F32:
    size = eq_attention_f32_scratch(&p->attention, t);
    return eq_attention_f32(&p->attention, &p->floats, p->out, t, take(size), size);
  case NORM: return eq_layer_norm(&p->norm);
  default: return (p->planes == 2 ? eq_embedding_t2 : eq_embedding_b1)(&p->lookup, p->w, p->scale, p->out);
  }
}

static bool agrees(const problem *p, const void *const wanted[OUTPUTS], eq_isa isa, unsigned workers) {
  const eq_threads threads = {.workers = workers, .run = run, .context = &workers};
  for (size_t i = 0; i < p->outputs; i++) memset(p->at[i], 0x5a, p->size[i]);
  eq_isa_select(isa);
  const eq_status status = solve(p, workers > 1 ? &threads : NULL);
  const char *wrong = status != EQ_OK ? eq_status_text(status) : guards_whole() ? NULL : "wrote outside a buffer";
  for (size_t i = 0; i < p->outputs && !wrong; i++)
    if (memcmp(p->at[i], wanted[i], p->size[i])) wrong = "other bits";
  if (wrong)
    printf(
        "%s on %s with %u workers: %s; m %u k %u o %u tiled %d, kernel %u x %u c %u groups %u, heads %u d %u keys %u\n",
        names[p->kind], eq_isa_name(isa), workers, wrong, p->linear.m, p->linear.k, p->linear.o, p->tiled, p->conv.kh,
        p->conv.kw, p->conv.c, p->conv.groups, p->attention.heads, p->attention.d, p->attention.used);
  return !wrong;
}

int main(int argc, char **argv) {
  const long problems = argc > 1 ? strtol(argv[1], NULL, 10) : 400;
  const unsigned long seed = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
  long passed = 0, failed = 0;
  announce_sets();
  for (long i = 0; i < problems; i++) {
    state = seed * 1000003u + (uint64_t)i;
    const problem p = random_problem();
    random_choices();
    const void *wanted[OUTPUTS] = {0};
    eq_isa_select(EQ_ISA_REF);
    if (solve(&p, NULL) != EQ_OK || !guards_whole()) {
      printf("problem %ld: the reference fails on %s\n", i, names[p.kind]);
      failed++;
    }
    for (size_t k = 0; k < p.outputs; k++) wanted[k] = memcpy(take(p.size[k]), p.at[k], p.size[k]);
    for (int isa = EQ_ISA_REF + 1; isa < EQ_ISA_COUNT; isa++)
      for (unsigned workers = 1; workers <= 3 && eq_isa_usable((eq_isa)isa); workers += 2) {
        if (agrees(&p, wanted, (eq_isa)isa, workers))
          passed++;
        else
          failed++;
      }
    release_all();
  }
  printf("%ld passed, %ld failed\n", passed, failed);
  return failed != 0;
}
