#include "tiles_shift.h"
#include "arena.h"
#include "check.h"
#include "isa.h"

/* Inputs whose sum fits 31 bits. */
static uint32_t most_inputs(eq_weight_type type) { return (1u << (type == EQ_S4 ? 17 : 20)) - 1; }

/* In front of the sums [blocks][EQ_BLOCK] of each output's weights, which are in front of the codes; then, where the
 * set takes them, `ones` of s4 and their rounds. */
typedef struct {
  uint32_t isa, type, o, k, halves;
} header;

static uint32_t steps_of(uint32_t k) { return (k - 1) / EQ_SHIFT_WORD * EQ_SHIFT_STEPS + EQ_SHIFT_STEPS; }
static size_t blocks_of(uint32_t o) { return (o - 1) / EQ_BLOCK + 1; }
static size_t block_bytes(uint32_t k) { return (size_t)steps_of(k) * EQ_I4_STEP; }

/* Of a block. */
static size_t ones_bytes(eq_weight_type type, uint32_t k) {
  const bool has = type == EQ_S4 && eq_integer_current()->add_ones;
  return has ? (size_t)eq_shift_chunks(steps_of(k)) * EQ_SHIFT_ROUNDS * EQ_BLOCK * EQ_STEP : 0;
}

bool eq_tiles_shift_fit(const void *tiles, eq_weight_type type, const eq_linear *op) {
  const header *h = tiles;
  return h->isa == (uint32_t)eq_isa_current() && h->type == (uint32_t)type && h->o == op->o && h->k == op->k;
}

eq_weights eq_tiles_shift_weights(const void *tiles) {
  const header *h = tiles;
  const size_t row = eq_row_bytes(h->k);
  return (eq_weights){(eq_weight_type)h->type, (const uint8_t *)tiles + EQ_ALIGN, row, h->o * row};
}

eq_packed_shift eq_tiles_shift_block(const void *tiles, uint32_t block) {
  const header *h = tiles;
  const int32_t *sums = (const int32_t *)(const void *)((const uint8_t *)tiles + EQ_ALIGN);
  const uint8_t *codes = (const uint8_t *)(sums + blocks_of(h->o) * EQ_BLOCK);
  eq_packed_shift w = {.codes = codes + block * block_bytes(h->k),
                       .sums = sums + (size_t)block * EQ_BLOCK,
                       .steps = steps_of(h->k),
                       .type = (eq_weight_type)h->type,
                       .halves = h->halves};
  const size_t each = ones_bytes(w.type, h->k);
  if (each == 0) return w;
  const uint8_t *ones = codes + blocks_of(h->o) * block_bytes(h->k);
  w.ones = ones + block * each;
  w.rounds = ones[blocks_of(h->o) * each + block];
  return w;
}

static bool described(eq_weight_type type, uint32_t o, uint32_t k) {
  const eq_integer_kernels *kernels = eq_integer_current();
  return k <= most_inputs(type) && eq_extent_ok(o, k, 1, 1) && (!kernels || kernels->expand_shift);
}

static size_t bytes_of(eq_weight_type type, uint32_t o, uint32_t k) {
  if (!described(type, o, k)) return 0;
  const uint64_t bytes =
      eq_isa_current() == EQ_ISA_REF
          ? eq_weight_planes(type) * (uint64_t)o * eq_row_bytes(k)
          : (uint64_t)blocks_of(o) * (block_bytes(k) + EQ_BLOCK * sizeof(int32_t) + ones_bytes(type, k) + 1);
  return bytes > SIZE_MAX - EQ_ALIGN ? 0 : (size_t)bytes + EQ_ALIGN;
}

/* Output `output` of a block; returns the sum of its weights. */
static int32_t pack_row(const eq_weights *w, size_t row, uint32_t k, uint32_t output, uint8_t *block) {
  const unsigned code_bits = eq_shift_bits(w->type);
  const uint32_t panel = output / EQ_LANES, at = panel % 2 * code_bits;
  const uint8_t *bits = (const uint8_t *)w->data + row * w->row;
  uint8_t *lane = block + (panel / 2 * EQ_LANES + output % EQ_LANES) * EQ_STEP;
  int32_t sum = 0;
  for (uint32_t i = 0; i < k; i++) {
    uint32_t code = (uint32_t)(bits[i / 8] >> i % 8 & 1) << (code_bits - 1);
    for (unsigned plane = 1; plane < eq_weight_planes(w->type); plane++)
      code |= (uint32_t)(bits[plane * w->plane + i / 8] >> i % 8 & 1) << (plane - 1);
    lane[(size_t)(i / EQ_STEP) * EQ_I4_STEP + i % EQ_STEP] |= (uint8_t)(code << at);
    sum += eq_shift_weight(code, w->type, 1) + eq_shift_weight(code, w->type, 2);
  }
  return sum;
}

/* Names the inputs of +128 of an output where a block has `rounds`; returns the rounds that takes. ones NULL: only
 * that. */
static uint32_t name_ones(const eq_weights *w, size_t row, uint32_t k, uint8_t *ones, uint32_t rounds) {
  const uint8_t *bits = (const uint8_t *)w->data + row * w->row;
  uint32_t most = 0;
  for (uint32_t i = 0, named = 0; i < k; i++) {
    uint32_t all = 1;
    for (unsigned plane = 0; plane < eq_weight_planes(w->type); plane++)
      all &= (uint32_t)(bits[plane * w->plane + i / 8] >> i % 8);
    if (i % EQ_SHIFT_CHUNK == 0) named = 0;
    if (!all) continue;
    if (ones)
      ones[(size_t)(i / EQ_SHIFT_CHUNK * rounds + named / EQ_STEP) * EQ_BLOCK * EQ_STEP + row % EQ_BLOCK * EQ_STEP +
           named % EQ_STEP] = (uint8_t)(i % EQ_SHIFT_CHUNK);
    most = ++named > most ? named : most;
  }
  return (most + EQ_STEP - 1) / EQ_STEP;
}

/* Returns the halves that it leaves the weights in. */
static unsigned name_all_ones(const eq_weights *w, uint32_t o, uint32_t k, uint8_t *ones) {
  const size_t each = ones_bytes(w->type, k);
  if (each == 0) return w->type == EQ_S4 ? 2 : 1;
  uint8_t *rounds_of = ones + blocks_of(o) * each;
  __builtin_memset(ones, EQ_SHIFT_NONE, blocks_of(o) * each);
  for (size_t first = 0; first < o; first += EQ_BLOCK, ones += each) {
    const size_t end = o - first < EQ_BLOCK ? o : first + EQ_BLOCK;
    uint32_t rounds = 0;
    for (size_t i = first; i < end; i++) {
      const uint32_t wanted = name_ones(w, i, k, (uint8_t *)0, 0);
      rounds = wanted > rounds ? wanted : rounds;
    }
    if (rounds > EQ_SHIFT_ROUNDS) return 2;
    for (size_t i = first; i < end; i++) name_ones(w, i, k, ones, rounds);
    rounds_of[first / EQ_BLOCK] = (uint8_t)rounds;
  }
  return 1;
}

static eq_status make(eq_weight_type type, uint32_t o, uint32_t k, const void *w, void *tiles) {
  if (!w || !tiles || (uintptr_t)tiles % EQ_ALIGN) return EQ_BAD_ARGUMENT;
  if (!described(type, o, k)) return EQ_BAD_SHAPE;
  header *h = tiles;
  const size_t row = eq_row_bytes(k), plane = o * row;
  __builtin_memset(tiles, 0, bytes_of(type, o, k));
  *h = (header){.isa = (uint32_t)eq_isa_current(), .type = (uint32_t)type, .o = o, .k = k};
  if (h->isa == EQ_ISA_REF) {
    __builtin_memcpy((uint8_t *)tiles + EQ_ALIGN, w, eq_weight_planes(type) * plane);
    return EQ_OK;
  }
  int32_t *sums = (int32_t *)(void *)((uint8_t *)tiles + EQ_ALIGN);
  uint8_t *codes = (uint8_t *)(sums + blocks_of(o) * EQ_BLOCK);
  const eq_weights weights = {type, w, row, plane};
  const int32_t past = (int32_t)(steps_of(k) * EQ_STEP - k) * eq_shift_weight(0, type, 0); /* their codes stay 0 */
  for (size_t i = 0; i < o; i++)
    sums[i] = past + pack_row(&weights, i, k, i % EQ_BLOCK, codes + i / EQ_BLOCK * block_bytes(k));
  h->halves = name_all_ones(&weights, o, k, codes + blocks_of(o) * block_bytes(k));
  return EQ_OK;
}

size_t eq_tiles_s2_bytes(uint32_t o, uint32_t k) { return bytes_of(EQ_S2, o, k); }
size_t eq_tiles_s3_bytes(uint32_t o, uint32_t k) { return bytes_of(EQ_S3, o, k); }
size_t eq_tiles_s4_bytes(uint32_t o, uint32_t k) { return bytes_of(EQ_S4, o, k); }

eq_status eq_tiles_s2(uint32_t o, uint32_t k, const void *w, void *tiles) { return make(EQ_S2, o, k, w, tiles); }
eq_status eq_tiles_s3(uint32_t o, uint32_t k, const void *w, void *tiles) { return make(EQ_S3, o, k, w, tiles); }
eq_status eq_tiles_s4(uint32_t o, uint32_t k, const void *w, void *tiles) { return make(EQ_S4, o, k, w, tiles); }
