/* Compares every instruction set of this machine with the reference, bit for bit, on random problems.
 * Buffers end at guard bytes. Prints "N passed, N failed"; arguments: [problems [seed]]. */
#include "check_random.h"

/* ---- problems ---- */

typedef enum {
  CONV_B1B1,
  LINEAR_B1B1,
  CONV_I8F32,
  LINEAR_I8F32,
  LINEAR_I4F32,
  EPILOGUE_I32,
  MEAN_HW,
  PACK,
  CONV_INT8,
  LINEAR_INT8,
  LINEAR_I4I8,
  CONV_I4I8,
  QUANTISE_I8,
  KINDS
} kind;
static const char *const names[KINDS] = {"conv2d_b1b1",  "linear_b1b1", "conv2d_i8f32", "linear_i8f32", "linear_i4f32",
                                         "epilogue_i32", "mean_hw",     "pack",         "conv2d_*i8",   "linear_*i8",
                                         "linear_i4i8",  "conv2d_i4i8", "quantise_i8"};

typedef struct {
  kind kind;
  eq_conv2d conv;
  eq_linear linear;
  uint32_t n, h, w, o; /* of the output */
  const void *x, *weights;
  eq_quant q;
  eq_epilogue e;
  unsigned type;        /* of the weights, an index into int8_products */
  eq_weights_i4 groups; /* linear_i4i8 */
  bool tiled;           /* its weights tiled ahead */
  const float *block_step;
  eq_codes codes;
  float *step, *shift; /* quantise_i8 */
} problem;

typedef struct {
  unsigned planes; /* 0: int8 */
  size_t (*conv_scratch)(const eq_conv2d *, const eq_epilogue *, const eq_threads *);
  eq_status (*conv)(const eq_conv2d *, const int8_t *, const void *, const eq_epilogue *, const eq_threads *, void *,
                    size_t);
  size_t (*linear_scratch)(const eq_linear *, const eq_epilogue *, const eq_threads *);
  eq_status (*linear)(const eq_linear *, const int8_t *, const void *, const eq_epilogue *, const eq_threads *, void *,
                      size_t);
} int8_product;
#define PRODUCT(type, planes)                                                                                          \
  {planes, eq_conv2d_##type##i8_scratch, eq_conv2d_##type##i8, eq_linear_##type##i8_scratch, eq_linear_##type##i8}
static const int8_product int8_products[] = {PRODUCT(b1, 1), PRODUCT(t2, 2), PRODUCT(s2, 2),
                                             PRODUCT(s3, 3), PRODUCT(s4, 4), PRODUCT(i8, 0)};

/* Linear layers over weights that were tiled once. */
typedef struct {
  size_t (*bytes)(uint32_t, uint32_t);
  eq_status (*make)(uint32_t, uint32_t, const void *, void *);
  size_t (*scratch)(const eq_linear *, const void *, const eq_epilogue *, const eq_threads *);
  eq_status (*run)(const eq_linear *, const int8_t *, const void *, const eq_epilogue *, const eq_threads *, void *,
                   size_t);
} int8_tiles;

#define TILES(type)                                                                                                    \
  {eq_tiles_##type##_bytes, eq_tiles_##type, eq_linear_##type##i8_tiled_scratch, eq_linear_##type##i8_tiled}
static const int8_tiles int8_tiled[] = {
    {0},       TILES(t2), TILES(s2), /* in the order of int8_products; b1 has none */
    TILES(s3), TILES(s4), TILES(i8)};

static eq_residual random_residual(const problem *p) {
  eq_residual r = {.h = p->h, .w = p->w, .mode = chance(50) ? EQ_RES_TILE : EQ_RES_PAD};
  if (chance(15)) {
    r.c = p->o;
    r.step = 0.37f;
    r.codes = (const int8_t *)bytes((size_t)p->n * r.h * r.w * r.c);
    return r;
  }
  if (chance(40)) {
    r.h = 2 * p->h - below(2);
    r.w = 2 * p->w - below(2);
  }
  switch (below(4)) {
  case 0: r.c = p->o; break;
  case 1: r.c = p->o * (1 + below(5)) + below(p->o); break;
  default:
    r.c = 1 + below(p->o);
    if (chance(50) && p->o > 16) r.c = 16 * (1 + below(p->o / 16));
    if (p->o % r.c) r.mode = EQ_RES_PAD;
  }
  r.data = floats((size_t)p->n * r.h * r.w * r.c);
  return r;
}

static void random_epilogue(problem *p, bool integer) {
  const size_t o = p->o, pixels = (size_t)p->n * p->h * p->w;
  eq_epilogue *e = &p->e;
  *e = (eq_epilogue){.scale = maybe(o), .bias = maybe(o), .act = (eq_act)below(5)};
  for (int i = 0; i < 2; i++)
    if (chance(45)) e->residual[i] = random_residual(p);
  if (e->act == EQ_ACT_DPRELU) {
    e->pos = floats(o);
    e->neg = floats(o);
    e->shift = floats(o);
  }
  e->gain = maybe(p->n * o);
  e->row_scale = maybe(p->n);
  if (chance(30)) {
    e->row_shift = floats(p->n);
    e->shift_weight = floats(o);
  }
  e->scale2 = maybe(o);
  e->bias2 = maybe(o);
  if (chance(60)) e->out = take(pixels * o * sizeof(float));
  if (chance(60)) e->out_mean = take(p->n * o * sizeof(float));
  if (integer && chance(30)) e->out_acc = take(pixels * o * sizeof(int32_t));
  if (chance(25)) e->out_t2 = take(2 * pixels * eq_row_bytes(p->o));
  if (chance(25)) {
    e->out_i8 = take(pixels * o);
    e->grid = chance(50) ? (eq_grid){30.0f, -127, 127} : (eq_grid){0.7f, -128, 3};
  }
  if (chance(60) || (!e->out && !e->out_mean && !e->out_acc)) e->out_bits = take(pixels * eq_row_bytes(p->o));
}

static eq_quant random_quant(uint32_t c) {
  eq_quant q = {.kind = (eq_quant_kind)below(3)};
  if (q.kind == EQ_QUANT_NONE) return q;
  q.top = q.kind == EQ_QUANT_SYM ? 127.0f : 15.0f;
  float *scale = floats(c), *step = floats(c);
  for (uint32_t i = 0; i < c; i++) {
    scale[i] = q.top / (0.5f + scale[i] * scale[i]);
    step[i] = 1.0f / scale[i];
  }
  q.scale = scale;
  q.step = step;
  return q;
}

static eq_conv2d random_conv(bool whole_bytes) {
  for (;;) {
    eq_conv2d c = {.n = 1 + below(3),
                   .h = 1 + below(11),
                   .w = chance(10) ? 60 + below(80) : 1 + below(11),
                   .c = ONE_OF(1, 3, 8, 9, 16, 17, 24, 32, 33, 64, 65, 128, 130),
                   .o = ONE_OF(1, 5, 8, 16, 20, 31, 32, 48, 64, 65, 96, 144),
                   .kh = ONE_OF(1, 1, 2, 3, 3, 5, 7),
                   .kw = ONE_OF(1, 1, 2, 3, 3, 5, 7),
                   .stride_h = 1 + below(3),
                   .stride_w = 1 + below(3),
                   .groups = 1};
    if (chance(40)) {
      c.groups = 1 + below(c.c);
      const uint32_t per_group = c.c / c.groups;
      if (c.c % c.groups || (whole_bytes && c.groups > 1 && per_group > 1 && per_group % 8)) continue;
      c.o = c.groups * (1 + below(c.groups > 16 ? 4 : 20));
    }
    if (chance(60))
      eq_conv2d_same(&c);
    else
      eq_conv2d_valid(&c);
    if (c.out_h && c.out_w && (uint64_t)c.n * c.out_h * c.out_w * c.o * c.kh * c.kw * (c.c / c.groups) < 30000000)
      return c;
  }
}

/* Rows of k weights of one type. */
static const void *int8_weights(unsigned type, size_t rows, uint32_t k) {
  const unsigned planes = int8_products[type].planes;
  return planes ? packed(planes * rows, k) : bytes(rows * k);
}

/* All weights of the largest size and one sign. */
static void ones(uint8_t *planes, size_t rows, uint32_t k, unsigned type) {
  const size_t row = eq_row_bytes(k);
  const bool minus = chance(50);
  for (size_t i = 0; i < int8_products[type].planes * rows; i++)
    for (uint32_t j = 0; j < k; j++)
      planes[i * row + j / 8] =
          (uint8_t)((planes[i * row + j / 8] & ~(1u << j % 8)) | (uint32_t)(i >= rows || !minus) << j % 8);
}

/* Few rows, many, or so many that workers share what is prepared of them. */
static eq_linear random_linear(uint32_t most_k, uint32_t most_o) {
  if (chance(10)) return (eq_linear){.m = 950 + below(100), .k = 560 + below(40), .o = 1 + below(20)};
  return (eq_linear){.m = chance(50) ? 1 + below(5) : 1 + below(140), .k = 1 + below(most_k), .o = 1 + below(most_o)};
}

static void random_int8(problem *p) {
  p->type = below(sizeof int8_products / sizeof *int8_products);
  if (p->kind == CONV_INT8) {
    p->conv = random_conv(false);
    const eq_conv2d *c = &p->conv;
    const size_t taps = (size_t)c->kh * c->kw;
    const bool over_outputs = int8_products[p->type].planes && c->groups > 1 && c->groups == c->c;
    p->x = bytes((size_t)c->n * c->h * c->w * c->c);
    p->weights =
        over_outputs ? int8_weights(p->type, taps, c->o) : int8_weights(p->type, c->o * taps, c->c / c->groups);
    p->n = c->n, p->h = c->out_h, p->w = c->out_w, p->o = c->o;
  } else {
    p->linear = random_linear(600, 200);
    p->x = bytes((size_t)p->linear.m * p->linear.k);
    p->weights = int8_weights(p->type, p->linear.o, p->linear.k);
    if (chance(10))
      memset((void *)p->x, chance(50) ? 0x80 : 0x7f, (size_t)p->linear.m * p->linear.k); /* largest sums */
    if (chance(10) && int8_products[p->type].planes) ones((uint8_t *)p->weights, p->linear.o, p->linear.k, p->type);
    p->tiled = int8_tiled[p->type].bytes && chance(70);
    p->n = p->linear.m, p->h = 1, p->w = 1, p->o = p->linear.o;
  }
  random_epilogue(p, true);
}

/* Halves around 1, none of them infinite or NaN. */
static uint16_t *halves(size_t count) {
  uint16_t *p = take(count * sizeof *p);
  for (size_t i = 0; i < count; i++) p[i] = chance(5) ? (uint16_t)below(1024) : (uint16_t)(bits32() & 0x83ff) | 0x3800;
  return p;
}

/* Of p->linear. */
static void random_weights_i4(problem *p) {
  const eq_linear *l = &p->linear;
  p->groups.group = ONE_OF(32, 32, 64, 96, 128, 0);
  if (p->groups.group == 0) p->groups.group = l->k;
  const uint32_t groups = (l->k - 1) / p->groups.group + 1;
  p->groups.zero_kind = (eq_zero_kind)below(3);
  p->groups.codes = bytes(l->o * eq_row_bytes(4 * l->k));
  uint16_t *scale = halves((size_t)l->o * groups);
  if (chance(5)) scale[below(l->o * groups)] = (uint16_t)ONE_OF(0x7c00, 0xfc00); /* infinite */
  p->groups.scale = scale;
  if (p->groups.zero_kind == EQ_ZERO_U4) p->groups.zero = bytes((size_t)l->o * (groups / 2 + groups % 2));
  if (p->groups.zero_kind == EQ_ZERO_F16) p->groups.zero = halves((size_t)l->o * groups);
}

static void random_groups(problem *p) {
  p->linear = random_linear(700, 150);
  const eq_linear *l = &p->linear;
  random_weights_i4(p);
  p->tiled = chance(60);
  const size_t blocks = (size_t)l->m * ((l->k - 1) / 32 + 1);
  if (p->groups.group % 32 == 0 && chance(30)) p->block_step = chance(50) ? wild(blocks) : floats(blocks);
  p->x = bytes((size_t)l->m * l->k);
  p->n = l->m, p->h = 1, p->w = 1, p->o = l->o;
  random_epilogue(p, false);
}

static void random_conv_groups(problem *p) {
  do p->conv = random_conv(false);
  while (p->conv.groups > 1);
  const eq_conv2d *c = &p->conv;
  p->n = c->n, p->h = c->out_h, p->w = c->out_w, p->o = c->o;
  p->linear = (eq_linear){.m = p->n * p->h * p->w, .k = c->kh * c->kw * c->c, .o = c->o};
  random_weights_i4(p);
  p->x = bytes((size_t)c->n * c->h * c->w * c->c);
  random_epilogue(p, false);
}

static void random_codes(problem *p) {
  p->n = 1 + below(20), p->h = 1, p->w = 1, p->o = chance(30) ? 32 * (1 + below(7)) : 1 + below(200);
  p->codes = (eq_codes){.kind = (eq_codes_kind)below(6), .grid = {20.0f, -127, 127}, .clip = chance(50) ? 0.0f : 1.5f};
  float *x = chance(20) ? wild((size_t)p->n * p->o) : floats((size_t)p->n * p->o);
  if (chance(20)) memset(x, 0, p->o * sizeof *x);
  if (chance(20)) x[below(p->n * p->o)] = __builtin_nanf("");
  if (chance(20)) x[below(p->n * p->o)] = -__builtin_inff();
  p->x = x;
  p->e.out_i8 = take((size_t)p->n * p->o);
  p->step = take((size_t)p->n * ((p->o - 1) / 32 + 1) * sizeof(float));
  p->shift = take(p->n * sizeof(float));
}

static problem random_problem(void) {
  problem p = {.kind = (kind)below(KINDS)};
  if (p.kind == CONV_INT8 || p.kind == LINEAR_INT8) random_int8(&p);
  if (p.kind == LINEAR_I4I8) random_groups(&p);
  if (p.kind == CONV_I4I8) random_conv_groups(&p);
  if (p.kind == QUANTISE_I8) random_codes(&p);
  if (p.kind > PACK) return p;
  const bool binary = p.kind == CONV_B1B1 || p.kind == LINEAR_B1B1;
  if (p.kind == CONV_B1B1 || p.kind == CONV_I8F32) {
    p.conv = random_conv(binary);
    p.tiled = binary && chance(50);
    const eq_conv2d *c = &p.conv;
    const size_t in = (size_t)c->n * c->h * c->w, taps = (size_t)c->o * c->kh * c->kw;
    p.x = binary ? (const void *)packed(in, c->c) : floats(in * c->c);
    p.weights = binary ? packed(taps, c->c / c->groups) : bytes(taps * (c->c / c->groups));
    p.q = random_quant(c->c);
    p.n = c->n, p.h = c->out_h, p.w = c->out_w, p.o = c->o;
  } else if (p.kind < EPILOGUE_I32) {
    p.linear = (eq_linear){.m = chance(50) ? 1 + below(4) : 1 + below(70), .k = 1 + below(600), .o = 1 + below(150)};
    const eq_linear *l = &p.linear;
    p.x = binary ? (const void *)packed(l->m, l->k) : floats((size_t)l->m * l->k);
    p.weights = binary                   ? packed(l->o, l->k)
                : p.kind == LINEAR_I8F32 ? bytes((size_t)l->o * l->k)
                                         : bytes(l->o * eq_row_bytes(4 * l->k));
    p.q = random_quant(l->k);
    p.n = l->m, p.h = 1, p.w = 1, p.o = l->o;
  } else {
    p.n = 1 + below(3), p.h = 1 + below(10), p.w = 1 + below(80), p.o = 1 + below(150);
    const size_t count = (size_t)p.n * p.h * p.w * p.o;
    p.x = floats(count);
    if (p.kind == EPILOGUE_I32) {
      int32_t *acc = take(count * sizeof(int32_t));
      for (size_t i = 0; i < count; i++) acc[i] = (int32_t)below(9000) - 4500;
      p.x = acc;
    }
  }
  if (p.kind <= EPILOGUE_I32)
    random_epilogue(&p, binary || p.kind == EPILOGUE_I32);
  else if (p.kind == MEAN_HW)
    p.e.out_mean = take((size_t)p.n * p.o * sizeof(float));
  else {
    p.weights = maybe(p.o); /* thresholds */
    p.e.out_bits = take(3 * (size_t)p.n * p.h * p.w * eq_row_bytes(p.o));
  }
  return p;
}

/* ---- running and comparing ---- */

static eq_status solve(const problem *p, const eq_threads *t) {
  const size_t rows = (size_t)p->n * p->h * p->w;
  switch (p->kind) {
  case CONV_B1B1: {
    const size_t size = eq_conv2d_b1b1_scratch(&p->conv, &p->e, t);
    if (!p->tiled) return eq_conv2d_b1b1(&p->conv, p->x, p->weights, &p->e, t, take(size), size);
    void *tiles = take(eq_tiles_conv2d_b1b1_bytes(&p->conv));
    const eq_status status = eq_tiles_conv2d_b1b1(&p->conv, p->weights, tiles);
    if (status != EQ_OK) return status;
    return eq_conv2d_b1b1_tiled(&p->conv, p->x, tiles, &p->e, t, take(size), size);
  }
  case LINEAR_B1B1: {
    const size_t size = eq_linear_b1b1_scratch(&p->linear, &p->e, t);
    return eq_linear_b1b1(&p->linear, p->x, p->weights, &p->e, t, take(size), size);
  }
  case CONV_I8F32: {
    const size_t size = eq_conv2d_i8f32_scratch(&p->conv, &p->e, t);
    return eq_conv2d_i8f32(&p->conv, p->x, &p->q, p->weights, &p->e, t, take(size), size);
  }
  case LINEAR_I8F32: {
    const size_t size = eq_linear_i8f32_scratch(&p->linear, &p->e, t);
    return eq_linear_i8f32(&p->linear, p->x, &p->q, p->weights, &p->e, t, take(size), size);
  }
  case LINEAR_I4F32: {
    const size_t size = eq_linear_i4f32_scratch(&p->linear, &p->e, t);
    return eq_linear_i4f32(&p->linear, p->x, &p->q, p->weights, &p->e, t, take(size), size);
  }
  case EPILOGUE_I32: {
    const size_t size = eq_epilogue_i32_scratch(p->n, p->h, p->w, p->o, &p->e);
    return eq_epilogue_i32(p->x, p->n, p->h, p->w, p->o, &p->e, take(size), size);
  }
  case MEAN_HW: {
    const size_t size = eq_mean_hw_scratch(p->n, p->h, p->w, p->o);
    return eq_mean_hw(p->x, p->n, p->h, p->w, p->o, p->e.out_mean, take(size), size);
  }
  case CONV_INT8: {
    const int8_product *product = &int8_products[p->type];
    const size_t size = product->conv_scratch(&p->conv, &p->e, t);
    return product->conv(&p->conv, p->x, p->weights, &p->e, t, take(size), size);
  }
  case LINEAR_INT8: {
    const int8_product *product = &int8_products[p->type];
    const int8_tiles *kept = &int8_tiled[p->type];
    if (p->tiled && kept->bytes(p->linear.o, p->linear.k)) { /* not every set has tiles of every type */
      const eq_linear *l = &p->linear;
      void *tiles = take(kept->bytes(l->o, l->k));
      const eq_status status = kept->make(l->o, l->k, p->weights, tiles);
      if (status != EQ_OK) return status;
      const size_t size = kept->scratch(l, tiles, &p->e, t);
      return kept->run(l, p->x, tiles, &p->e, t, take(size), size);
    }
    const size_t size = product->linear_scratch(&p->linear, &p->e, t);
    return product->linear(&p->linear, p->x, p->weights, &p->e, t, take(size), size);
  }
  case CONV_I4I8: {
    const size_t size = eq_conv2d_i4i8_scratch(&p->conv, &p->groups, &p->e, t);
    return eq_conv2d_i4i8(&p->conv, p->x, &p->groups, &p->e, t, take(size), size);
  }
  case LINEAR_I4I8: {
    if (p->tiled) {
      const eq_linear *l = &p->linear;
      void *tiles = take(eq_tiles_i4_bytes(l->o, l->k, &p->groups));
      const eq_status status = eq_tiles_i4(l->o, l->k, &p->groups, tiles);
      if (status != EQ_OK) return status;
      const size_t size = eq_linear_i4i8_tiled_scratch(l, tiles, &p->e, t);
      return eq_linear_i4i8_tiled(l, p->x, p->block_step, tiles, &p->e, t, take(size), size);
    }
    const size_t size = eq_linear_i4i8_scratch(&p->linear, &p->groups, &p->e, t);
    return eq_linear_i4i8(&p->linear, p->x, p->block_step, &p->groups, &p->e, t, take(size), size);
  }
  case QUANTISE_I8: return eq_quantise_i8(&p->codes, p->x, p->n, p->o, p->e.out_i8, p->step, p->shift, t);
  default: {
    const eq_status status = eq_pack_b1(p->x, rows, p->o, p->weights, p->e.out_bits);
    if (status != EQ_OK) return status;
    return eq_pack_t2(p->x, rows, p->o, p->weights, p->e.out_bits + rows * eq_row_bytes(p->o));
  }
  }
}

enum { OUTPUTS = 8 };
typedef struct {
  void *at[OUTPUTS];
  size_t size[OUTPUTS];
} outputs;

static outputs outputs_of(const problem *p) {
  const size_t pixels = (size_t)p->n * p->h * p->w;
  return (outputs){{p->e.out_acc, p->e.out, p->e.out_bits, p->e.out_mean, p->e.out_t2, p->e.out_i8, p->step, p->shift},
                   {pixels * p->o * 4, pixels * p->o * 4, (p->kind == PACK ? 3 : 1) * pixels * eq_row_bytes(p->o),
                    (size_t)p->n * p->o * 4, 2 * pixels * eq_row_bytes(p->o), pixels * p->o,
                    (size_t)p->n * ((p->o - 1) / 32 + 1) * 4, (size_t)p->n * 4}};
}

static bool agrees(const problem *p, const outputs *wanted, eq_isa isa, unsigned workers) {
  static const char *const output_names[OUTPUTS] = {"acc", "out", "bits", "mean", "t2", "codes", "step", "shift"};
  const outputs out = outputs_of(p);
  const eq_threads threads = {.workers = workers, .run = run, .context = &workers};
  for (int i = 0; i < OUTPUTS; i++)
    if (out.at[i]) memset(out.at[i], 0x5a, out.size[i]);
  eq_isa_select(isa);
  const eq_status status = solve(p, workers > 1 ? &threads : NULL);
  const char *wrong = status != EQ_OK ? eq_status_text(status) : guards_whole() ? NULL : "wrote outside a buffer";
  for (int i = 0; i < OUTPUTS && !wrong; i++)
    if (out.at[i] && memcmp(out.at[i], wanted->at[i], out.size[i])) wrong = output_names[i];
  if (wrong)
    printf("%s on %s with %u workers: %s; output %u x %u x %u x %u, kernel %u x %u, c %u, groups %u, k %u, type %u\n",
           names[p->kind], eq_isa_name(isa), workers, wrong, p->n, p->h, p->w, p->o, p->conv.kh, p->conv.kw, p->conv.c,
           p->conv.groups, p->linear.k, p->type);
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
    const outputs out = outputs_of(&p);
    outputs wanted = {0};
    for (int k = 0; k < OUTPUTS; k++)
      if (out.at[k]) memset(out.at[k], 0x5a, out.size[k]); /* some may stay as they are */
    eq_isa_select(EQ_ISA_REF);
    if (solve(&p, NULL) != EQ_OK || !guards_whole()) {
      printf("problem %ld: the reference fails on %s\n", i, names[p.kind]);
      failed++;
    }
    for (int k = 0; k < OUTPUTS; k++)
      if (out.at[k]) wanted.at[k] = memcpy(take(out.size[k]), out.at[k], out.size[k]);
    for (int isa = EQ_ISA_REF + 1; isa < EQ_ISA_COUNT; isa++)
      for (unsigned workers = 1; workers <= 3 && eq_isa_usable((eq_isa)isa); workers += 2) {
        if (agrees(&p, &wanted, (eq_isa)isa, workers))
          passed++;
        else
          failed++;
      }
    release_all();
  }
  if (amx_emulated()) printf("AMX emulated: %lu instructions\n", amx_emulated());
  printf("%ld passed, %ld failed\n", passed, failed);
  return failed != 0;
}
