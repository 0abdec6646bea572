/* Random calls of every kernel of kernels/mcu beside the one of kernels/ref: check_mcu ROUNDS SEED.
 * Exit 1 names the first that differs. Run it under the address sanitizer: scratch has exactly the size asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "kernels/mcu/mcu.h"
#include "kernels/ref/ref.h"

static uint64_t state;

static uint32_t draw(uint32_t below) { /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (uint32_t)((state * 0x2545f4914f6cdd1dULL) >> 32) % below;
}
static uint32_t between(uint32_t low, uint32_t high) { return low + draw(high - low + 1); }

static void *memory(size_t bytes) {
  void *p = malloc(bytes ? bytes : 1);
  if (!p) abort();
  memset(p, 0x7e, bytes);
  return p;
}

static float *floats(size_t count) {
  static const float odd[] = {0.0f, -0.0f, 1e30f, -1e30f};
  float *p = memory(count * sizeof *p);
  for (size_t i = 0; i < count; i++) p[i] = draw(50) ? ((float)draw(20001) - 10000.0f) / 4000.0f : odd[draw(4)];
  return p;
}

static uint8_t *bytes(size_t count) {
  uint8_t *p = memory(count);
  for (size_t i = 0; i < count; i++) p[i] = (uint8_t)draw(256);
  return p;
}

/* rows of k random bits, pad bits 0 */
static uint8_t *rows(size_t count, uint32_t k) {
  const size_t row = eq_row_bytes(k);
  uint8_t *p = bytes(count * row);
  for (size_t r = 0; r < count; r++)
    for (size_t bit = k; bit < 8 * row; bit++) p[r * row + bit / 8] &= (uint8_t)~(1u << bit % 8);
  return p;
}

static void differ(const char *what, const void *a, const void *b, size_t count) {
  if (!a || memcmp(a, b, count) == 0) return;
  size_t at = 0;
  while (((const uint8_t *)a)[at] == ((const uint8_t *)b)[at]) at++;
  printf("%s: byte %zu of %zu is %02x, should be %02x\n", what, at, count, ((const uint8_t *)b)[at],
         ((const uint8_t *)a)[at]);
  exit(1);
}

typedef struct {
  eq_epilogue e;
  size_t pixels;
  uint32_t n, o;
} output;

/* An epilogue with random parts; its outputs are fresh. */
static output outputs(uint32_t n, uint32_t h, uint32_t w, uint32_t o, bool integers) {
  output out = {.pixels = (size_t)n * h * w, .n = n, .o = o};
  eq_epilogue *e = &out.e;
  const bool poke = draw(2);
  e->act = poke ? EQ_ACT_DPRELU : (eq_act)draw(4);
  if (poke || draw(2)) e->scale = floats(o);
  if (poke || draw(2)) e->bias = floats(o);
  if (e->act == EQ_ACT_DPRELU) e->pos = floats(o), e->neg = floats(o), e->shift = floats(o);
  if (poke ? integers : draw(2)) e->gain = floats((size_t)n * o);
  if (poke ? integers : draw(2)) e->scale2 = floats(o);
  if (poke ? integers : draw(2)) e->bias2 = floats(o);
  for (int i = 0; i < 2 && integers; i++) {
    if (draw(3) == 0) continue;
    eq_residual *r = &e->residual[i];
    r->mode = draw(2) ? EQ_RES_TILE : EQ_RES_PAD;
    const uint32_t half = o % 2 ? o : o / 2;
    r->c = draw(3) == 0 ? o : draw(2) ? o * between(2, 4) : half;
    const bool pools = draw(3) == 0;
    r->h = pools ? 2 * h - draw(2) : h;
    r->w = pools ? 2 * w - draw(2) : w;
    if (r->h == 0 || r->w == 0 || (r->h + 1) / 2 != h || (r->w + 1) / 2 != w) r->h = h, r->w = w;
    r->data = floats((size_t)n * r->h * r->w * r->c);
  }
  const uint32_t want = between(1, 7);
  if (want & 1) e->out = memory(out.pixels * o * sizeof(float));
  if (want & 2) e->out_bits = memory(out.pixels * eq_row_bytes(o));
  if (want & 4) e->out_mean = memory((size_t)n * o * sizeof(float));
  if (integers && draw(3) == 0) e->out_acc = memory(out.pixels * o * sizeof(int32_t));
  return out;
}

/* The same with other outputs; in place where a residual allows it and `in_place` asks for it. */
static output twin(const output *of, uint32_t h, uint32_t w, bool in_place) {
  output out = *of;
  eq_epilogue *e = &out.e;
  if (e->out) {
    e->out = memory(of->pixels * of->o * sizeof(float));
    for (int i = 0; i < 2 && in_place; i++) {
      eq_residual *r = &e->residual[i];
      if (!r->data || r->c != of->o || r->h != h || r->w != w) continue;
      memcpy(e->out, r->data, of->pixels * of->o * sizeof(float));
      r->data = e->out;
      break;
    }
  }
  if (e->out_bits) e->out_bits = memory(of->pixels * eq_row_bytes(of->o));
  if (e->out_mean) e->out_mean = memory((size_t)of->n * of->o * sizeof(float));
  if (e->out_acc) e->out_acc = memory(of->pixels * of->o * sizeof(int32_t));
  return out;
}

static void compare(const char *what, const output *a, const output *b) {
  differ(what, a->e.out, b->e.out, a->pixels * a->o * sizeof(float));
  differ(what, a->e.out_bits, b->e.out_bits, a->pixels * eq_row_bytes(a->o));
  differ(what, a->e.out_mean, b->e.out_mean, (size_t)a->n * a->o * sizeof(float));
  differ(what, a->e.out_acc, b->e.out_acc, a->pixels * a->o * sizeof(int32_t));
}

static bool geometry(eq_conv2d *op, uint32_t c, uint32_t o, uint32_t groups) {
  *op = (eq_conv2d){.n = between(1, 2), .h = between(1, 7), .w = between(1, 7), .c = c, .o = o, .groups = groups};
  op->kh = between(1, 4), op->kw = between(1, 4);
  op->stride_h = op->stride_w = between(1, 3);
  (draw(3) ? eq_conv2d_same : eq_conv2d_valid)(op);
  return eq_check_conv2d(op) == EQ_OK;
}

static void conv2d_b1b1(void) {
  static const uint32_t widths[] = {3, 8, 16, 20, 32, 40, 64, 96, 100, 128, 300};
  eq_conv2d op;
  uint32_t c = widths[draw(11)], groups = 1, o = between(1, 140);
  if (draw(4) == 0) groups = between(1, 3), c = 8 * groups * between(1, 4), o = groups * between(1, 20);
  if (draw(6) == 0) groups = c = between(1, 20), o = groups * between(1, 3);
  if (!geometry(&op, c, o, groups)) return;
  const uint8_t *x = rows((size_t)op.n * op.h * op.w, c);
  const uint8_t *w = rows((size_t)o * op.kh * op.kw, c / groups);
  const output a = outputs(op.n, op.out_h, op.out_w, o, true), b = twin(&a, op.out_h, op.out_w, draw(2));
  eq_conv2d_b1b1_ref(&op, x, w, &a.e, floats(o));
  eq_conv2d_b1b1_mcu(&op, x, w, &b.e, memory((size_t)eq_conv2d_b1b1_mcu_scratch(&op, &b.e)));
  compare("conv2d_b1b1", &a, &b);
}

static void linear_b1b1(void) {
  const eq_linear op = {between(1, 3), draw(20) ? between(1, 700) : 40000, between(1, 9)};
  const uint8_t *x = rows(op.m, op.k), *w = rows(op.o, op.k);
  int32_t *const a = memory((size_t)op.m * op.o * 4), *const b = memory((size_t)op.m * op.o * 4);
  const eq_epilogue e = {.out_acc = a};
  eq_linear_b1b1_ref(&op, x, w, &e, NULL);
  eq_linear_b1b1_mcu(&op, x, w, b, memory((size_t)eq_linear_b1b1_mcu_scratch(&op)));
  differ("linear_b1b1", a, b, (size_t)op.m * op.o * 4);
}

static eq_quant quant(uint32_t c) {
  static const eq_quant grids[] = {{.kind = EQ_QUANT_NONE},
                                   {.kind = EQ_QUANT_SYM, .top = 7},
                                   {.kind = EQ_QUANT_POS, .top = 15},
                                   {.kind = EQ_QUANT_SYM, .top = 127}};
  eq_quant q = grids[draw(4)];
  q.scale = floats(c);
  q.step = floats(c);
  return q;
}

static void conv2d_i8f32(void) {
  eq_conv2d op;
  const uint32_t groups = between(1, 4), c = groups * between(1, 9), o = groups * between(1, 20);
  if (!(draw(3) ? geometry(&op, c, o, groups) : geometry(&op, c, c * between(1, 3), c))) return;
  const float *x = floats((size_t)op.n * op.h * op.w * c);
  const int8_t *w = (const int8_t *)bytes((size_t)op.o * op.kh * op.kw * (c / op.groups));
  const eq_quant q = quant(c);
  const output a = outputs(op.n, op.out_h, op.out_w, op.o, false), b = twin(&a, op.out_h, op.out_w, false);
  eq_conv2d_i8f32_ref(&op, x, &q, w, &a.e, floats(op.o));
  eq_conv2d_i8f32_mcu(&op, x, &q, w, &b.e, memory((size_t)eq_conv2d_i8f32_mcu_scratch(&op, &b.e)));
  compare("conv2d_i8f32", &a, &b);
}

static void linear_f32(void) {
  const eq_linear op = {between(1, 3), between(1, 90), between(1, 150)};
  const float *x = floats((size_t)op.m * op.k);
  const eq_quant q = quant(op.k);
  const uint8_t *w8 = bytes((size_t)op.o * op.k), *w4 = bytes(op.o * eq_row_bytes(4 * op.k));
  output a = outputs(op.m, 1, 1, op.o, false), b = twin(&a, 1, 1, false);
  eq_linear_i8f32_ref(&op, x, &q, (const int8_t *)w8, &a.e, floats(op.o));
  eq_linear_i8f32_mcu(&op, x, &q, (const int8_t *)w8, &b.e, memory((size_t)eq_linear_f32_mcu_scratch(&op, &b.e)));
  compare("linear_i8f32", &a, &b);
  eq_linear_i4f32_ref(&op, x, &q, w4, &a.e, floats(op.o));
  eq_linear_i4f32_mcu(&op, x, &q, w4, &b.e, memory((size_t)eq_linear_f32_mcu_scratch(&op, &b.e)));
  compare("linear_i4f32", &a, &b);
}

static void glue(void) {
  const uint32_t n = between(1, 2), h = between(1, 4), w = between(1, 4), o = between(1, 150);
  const output a = outputs(n, h, w, o, true), b = twin(&a, h, w, true);
  int32_t *acc = memory((size_t)n * h * w * o * 4);
  for (size_t i = 0; i < (size_t)n * h * w * o; i++) acc[i] = (int32_t)draw(2001) - 1000;
  eq_epilogue_i32_ref(acc, n, h, w, o, &a.e, floats(o));
  eq_epilogue_i32_mcu(acc, n, h, w, o, &b.e, memory((size_t)eq_epilogue_mcu_scratch(&b.e, o)));
  compare("epilogue", &a, &b);

  const float *x = floats((size_t)n * h * w * o), *threshold = draw(2) ? floats(o) : NULL;
  float *const mean_a = memory((size_t)n * o * 4), *const mean_b = memory((size_t)n * o * 4);
  eq_mean_hw_ref(x, n, h, w, o, mean_a, floats(o));
  eq_mean_hw_mcu(x, n, h, w, o, mean_b, memory((size_t)o * 4));
  differ("mean_hw", mean_a, mean_b, (size_t)n * o * 4);
  const size_t packed = (size_t)n * h * w * eq_row_bytes(o);
  uint8_t *const bits_a = memory(packed), *const bits_b = memory(packed);
  eq_pack_b1_ref(x, (size_t)n * h * w, o, threshold, bits_a);
  eq_pack_b1_mcu(x, (size_t)n * h * w, o, threshold, bits_b);
  differ("pack_b1", bits_a, bits_b, packed);
}

int main(int count, char **words) {
  if (count != 3) return 2;
  const int rounds = atoi(words[1]);
  state = strtoull(words[2], NULL, 10) * 0x9e3779b97f4a7c15ULL + 1;
  for (int i = 0; i < rounds; i++) {
    conv2d_b1b1();
    linear_b1b1();
    conv2d_i8f32();
    linear_f32();
    glue();
  }
  printf("%d rounds\n", rounds);
  return 0;
}
