/* Linear layers over float activations: the same road with another dot product. */
#include "check.h"
#include "integer.h"
#include "isa.h"
#include "kernels/ref/ref.h"
#include "tiled.h"

/* How weights reach the dot product: as they are, or from bits made into int8 first; s4's into floats, because 128 is
 * no int8. */
typedef enum { I8, I4, F32, DECODED, DECODED_WIDE } weight_form;
typedef void (*dot_product)(const float *x, const uint8_t *w, uint32_t k, uint32_t outputs, float *acc);

typedef struct {
  eq_tiled tiled;
  const eq_kernels *kernels;
  eq_linear op;
  weight_form form;
  dot_product dot;
  const uint8_t *w;
  const eq_weights *bits; /* DECODED and DECODED_WIDE only */
  size_t w_row, x_pitch;
  float *x;         /* [m][k padded with zeros], fake-quantised */
  uint8_t *decoded; /* [o][w_row], where there are bits */
} linear;

static bool in_floats(weight_form form) { return form == F32 || form == DECODED_WIDE; }
static bool in_bits(weight_form form) { return form == DECODED || form == DECODED_WIDE; }

static size_t row_bytes(weight_form form, uint32_t k) {
  return form == I4 ? eq_row_bytes(4 * k) : in_floats(form) ? k * sizeof(float) : k;
}

static void plan(linear *l, eq_arena *arena, const eq_kernels *kernels, const eq_linear *op, weight_form form,
                 const eq_epilogue *e, const eq_threads *threads) {
  *l = (linear){.kernels = kernels, .op = *op, .form = form, .w_row = row_bytes(form, op->k)};
  l->x_pitch = (size_t)eq_round_up(op->k, EQ_LANES);
  eq_tiled_plan(&l->tiled, arena, kernels, e, op->m, 1, 1, op->o, EQ_CHANNELS, 0, threads);
  l->x = eq_take(arena, (uint64_t)op->m * l->x_pitch * sizeof(float));
  if (in_bits(form)) l->decoded = eq_take(arena, (uint64_t)op->o * l->w_row);
}

static void accumulate(const void *operands, const eq_tile *tile, void *acc, size_t pitch) {
  const linear *l = operands;
  const uint8_t *w = l->w + tile->first * l->w_row;
  for (uint32_t i = 0; i < tile->lines; i++)
    l->dot(l->x + (tile->line + i) * l->x_pitch, w, l->op.k, tile->outputs, (float *)acc + i * pitch);
}

static eq_status check(const eq_linear *op, const eq_epilogue *e, weight_form form) {
  const eq_status status = eq_check_linear(op);
  if (status != EQ_OK) return status;
  if (form == I4 && op->k > INT32_MAX / 4) return EQ_BAD_SHAPE;
  return eq_check_epilogue(e, op->m, 1, 1, op->o, false);
}

static size_t scratch_size(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads, weight_form form) {
  if (check(op, e, form) != EQ_OK) return 0;
  linear l;
  eq_arena arena = {0};
  plan(&l, &arena, (const eq_kernels *)0, op, form, e, threads);
  return eq_arena_bytes(&arena);
}

static void quantise(const linear *l, const eq_quant *q, const float *x) {
  for (uint32_t m = 0; m < l->op.m; m++) {
    const float *from = x + (size_t)m * l->op.k;
    float *to = l->x + m * l->x_pitch;
    if (q->kind == EQ_QUANT_NONE)
      __builtin_memcpy(to, from, l->op.k * sizeof(float));
    else
      l->kernels->quantise(q, from, q->scale, q->step, l->op.k, to);
    for (size_t i = l->op.k; i < l->x_pitch; i++) to[i] = 0.0f;
  }
}

enum { PIECE = 64 }; /* weights that are decoded beside their place, since more than k may be written */

/* Weights [first, first + count) of a row, count at most PIECE and first a multiple of it. */
static void decode_piece(const eq_integer_kernels *kernels, const eq_weights *w, size_t row, uint32_t first,
                         uint32_t count, unsigned half, int8_t piece[PIECE]) {
  eq_weights from = *w;
  from.data = (const uint8_t *)w->data + first / 8;
  kernels->decode(&from, row, count, half, piece);
}

static void decode(void *arg, size_t begin, size_t end, unsigned worker) {
  const linear *l = arg;
  const eq_integer_kernels *kernels = eq_integer_current();
  const uint32_t k = l->op.k, whole = k / PIECE * PIECE;
  (void)worker;
  for (size_t o = begin; o < end; o++) {
    uint8_t *row = l->decoded + o * l->w_row;
    int8_t piece[PIECE], other[PIECE];
    if (l->form == DECODED) {
      kernels->decode(l->bits, o, whole, 0, (int8_t *)row);
      decode_piece(kernels, l->bits, o, whole, k - whole, 0, piece);
      __builtin_memcpy(row + whole, piece, k - whole);
      continue;
    }
    float *to = (float *)(void *)row;
    for (uint32_t first = 0; first < k; first += PIECE) {
      const uint32_t count = k - first < PIECE ? k - first : PIECE;
      decode_piece(kernels, l->bits, o, first, count, 1, piece);
      decode_piece(kernels, l->bits, o, first, count, 2, other);
      for (uint32_t i = 0; i < count; i++) to[first + i] = (float)(piece[i] + other[i]);
    }
  }
}

static void run(const eq_linear *op, const float *x, const eq_quant *q, weight_form form, const void *w,
                const eq_epilogue *e, const eq_kernels *kernels, const eq_threads *threads, void *scratch) {
  linear l;
  eq_arena arena = {.base = scratch};
  plan(&l, &arena, kernels, op, form, e, threads);
  if (in_bits(form))
    l.bits = w;
  else
    l.w = w;
  l.dot = in_floats(form) ? kernels->dot_f32 : form == I4 ? kernels->dot_i4 : kernels->dot_i8;
  l.tiled.operands = &l;
  l.tiled.accumulate = accumulate;
  quantise(&l, q, x);
  if (in_bits(form)) {
    eq_share(threads, decode, &l, op->o);
    l.w = l.decoded;
  }
  eq_output_begin(&l.tiled.output);
  eq_tiled_run(&l.tiled, threads);
}

/* ---- fake-quantised activations ---- */

static eq_status quantised(const eq_linear *op, const float *x, const eq_quant *q, const void *w, const eq_epilogue *e,
                           const eq_threads *threads, void *scratch, size_t scratch_bytes, weight_form form) {
  const eq_status status = check(op, e, form);
  if (status != EQ_OK) return status;
  if (!x || !w || !eq_threads_ok(threads) || eq_check_quant(q) != EQ_OK) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, scratch_size(op, e, threads, form))) return EQ_NO_SCRATCH;
  const eq_kernels *kernels = eq_kernels_current();
  if (kernels)
    run(op, x, q, form, w, e, kernels, threads, scratch);
  else if (form == I4)
    eq_linear_i4f32_ref(op, x, q, w, e, scratch);
  else
    eq_linear_i8f32_ref(op, x, q, w, e, scratch);
  return EQ_OK;
}

size_t eq_linear_i8f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads) {
  return scratch_size(op, e, threads, I8);
}

eq_status eq_linear_i8f32(const eq_linear *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                          const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  return quantised(op, x, q, w, e, threads, scratch, scratch_bytes, I8);
}

size_t eq_linear_i4f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads) {
  return scratch_size(op, e, threads, I4);
}

eq_status eq_linear_i4f32(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w,
                          const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  return quantised(op, x, q, w, e, threads, scratch, scratch_bytes, I4);
}

/* ---- plain activations ---- */

static weight_form form_of(eq_weight_type type) {
  return type == EQ_F32 ? F32 : type == EQ_S4 ? DECODED_WIDE : DECODED;
}

static eq_status plain(const eq_linear *op, eq_weight_type type, const float *x, const void *w, const eq_epilogue *e,
                       const eq_threads *threads, void *scratch, size_t scratch_bytes) {
  static const eq_quant none = {.kind = EQ_QUANT_NONE};
  const weight_form form = form_of(type);
  const eq_status status = check(op, e, form);
  if (status != EQ_OK) return status;
  if (!x || !w || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, scratch_size(op, e, threads, form))) return EQ_NO_SCRATCH;
  const eq_kernels *kernels = eq_kernels_current();
  const size_t row = eq_weight_row(type, op->k);
  const eq_weights weights = {type, w, row, op->o * row};
  if (kernels)
    run(op, x, &none, form, form == F32 ? w : &weights, e, kernels, threads, scratch);
  else
    eq_linear_f32_ref(op, x, &weights, e, scratch);
  return EQ_OK;
}

#define LINEAR(name, type)                                                                                             \
  size_t eq_linear_##name##f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads) {         \
    return scratch_size(op, e, threads, form_of(type));                                                                \
  }                                                                                                                    \
  eq_status eq_linear_##name##f32(const eq_linear *op, const float *x, const void *w, const eq_epilogue *e,            \
                                  const eq_threads *threads, void *scratch, size_t scratch_bytes) {                    \
    return plain(op, type, x, w, e, threads, scratch, scratch_bytes);                                                  \
  }
LINEAR(b1, EQ_B1)
LINEAR(t2, EQ_T2)
LINEAR(s2, EQ_S2)
LINEAR(s3, EQ_S3)
LINEAR(s4, EQ_S4)
LINEAR(f32, EQ_F32)
