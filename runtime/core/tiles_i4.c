#include "tiles_i4.h"
#include "arena.h"
#include "check.h"
#include "isa.h"

enum { CODES_PER_WORD = 8, STEP_BYTES = EQ_LANES * EQ_STEP };

/* The parts of a block, or of the reference's copy, and their offsets in it. */
typedef struct {
  size_t codes, zero, scale, half_zero, bytes;
} layout;

static uint32_t groups_of(const eq_tiles_i4_header *h) { return (h->k - 1) / h->group + 1; }
static uint32_t words_of(uint32_t k) { return (k - 1) / CODES_PER_WORD + 1; }

static layout layout_of(const eq_tiles_i4_header *h) {
  const uint64_t groups = groups_of(h), rows = h->isa == EQ_ISA_REF ? h->o : EQ_BLOCK;
  const uint64_t code_bytes = h->isa == EQ_ISA_REF ? eq_row_bytes(4 * h->k) : (uint64_t)words_of(h->k) * 4;
  eq_arena arena = {0};
  layout l = {0};
  (void)eq_take(&arena, rows * code_bytes);
  l.zero = (size_t)arena.used;
  (void)eq_take(&arena, rows * groups);
  l.scale = (size_t)arena.used;
  (void)eq_take(&arena, rows * groups * sizeof(uint16_t));
  l.half_zero = (size_t)arena.used;
  if (h->zero_kind == EQ_ZERO_F16) (void)eq_take(&arena, rows * groups * sizeof(uint16_t));
  l.bytes = eq_arena_bytes(&arena);
  return l;
}

static const uint8_t *behind(const void *tiles) { return (const uint8_t *)tiles + EQ_ALIGN; }

bool eq_tiles_i4_fit(const void *tiles, const eq_linear *op) {
  const eq_tiles_i4_header *h = tiles;
  return h->isa == (uint32_t)eq_isa_current() && h->o == op->o && h->k == op->k;
}

eq_weights_i4 eq_tiles_i4_weights(const void *tiles) {
  const eq_tiles_i4_header *h = tiles;
  const layout l = layout_of(h);
  eq_weights_i4 w = {.zero_kind = h->zero_kind, .group = h->group};
  if (h->isa != EQ_ISA_REF) return w;
  w.codes = behind(tiles) + l.codes;
  w.scale = (const uint16_t *)(const void *)(behind(tiles) + l.scale);
  w.zero = h->zero_kind == EQ_ZERO_U4    ? behind(tiles) + l.zero
           : h->zero_kind == EQ_ZERO_F16 ? behind(tiles) + l.half_zero
                                         : (const void *)0;
  return w;
}

eq_packed_i4 eq_tiles_i4_block(const void *tiles, uint32_t block) {
  const eq_tiles_i4_header *h = tiles;
  const layout l = layout_of(h);
  const uint8_t *from = behind(tiles) + block * l.bytes;
  const uint32_t steps = 2 * words_of(h->k), groups = groups_of(h);
  const uint16_t *half_zero = (const uint16_t *)(const void *)(from + l.half_zero);
  return (eq_packed_i4){.codes = from + l.codes,
                        .zero = from + l.zero,
                        .scale = (const uint16_t *)(const void *)(from + l.scale),
                        .half_zero = h->zero_kind == EQ_ZERO_F16 ? half_zero : (const uint16_t *)0,
                        .steps = steps,
                        .groups = groups,
                        .group_steps = groups == 1 ? steps : h->group / EQ_STEP,
                        .eights = h->zero_kind == EQ_ZERO_EIGHT,
                        .finite = h->finite,
                        .bytes = l.bytes};
}

static uint8_t zero_of(const eq_weights_i4 *w, uint32_t groups, size_t row, uint32_t g) {
  if (w->zero_kind == EQ_ZERO_EIGHT) return 8;
  if (w->zero_kind == EQ_ZERO_F16) return 0;
  return ((const uint8_t *)w->zero)[row * (groups / 2 + groups % 2) + g / 2] >> (4 * (g % 2)) & 15;
}

/* Outputs past the last one stay 0. */
static void pack_block(const eq_tiles_i4_header *h, const layout *l, const eq_weights_i4 *w, uint32_t first,
                       uint8_t *to) {
  const uint32_t words = words_of(h->k), groups = groups_of(h), outputs = h->o - first;
  const size_t row_bytes = eq_row_bytes(4 * h->k), used = row_bytes < 4 * (size_t)words ? row_bytes : 4 * (size_t)words;
  uint16_t *scale = (uint16_t *)(void *)(to + l->scale), *half_zero = (uint16_t *)(void *)(to + l->half_zero);
  __builtin_memset(to, 0, l->bytes);
  for (uint32_t i = 0; i < EQ_BLOCK && i < outputs; i++) {
    const size_t row = (size_t)first + i;
    const uint32_t panel = i / EQ_LANES, nibble = panel % 2 * 4;
    uint8_t *lane = to + (panel / 2) * STEP_BYTES + i % EQ_LANES * EQ_STEP;
    for (size_t j = 0; j < used; j++) { /* inputs 2 j and 2 j + 1, which belong to two steps */
      uint8_t *even = lane + j / EQ_STEP * 2 * EQ_I4_STEP + j % EQ_STEP, *odd = even + EQ_I4_STEP;
      const uint8_t both = w->codes[row * row_bytes + j];
      *even = (uint8_t)(*even | (both & 15) << nibble);
      *odd = (uint8_t)(*odd | (both >> 4) << nibble);
    }
    for (uint32_t g = 0; g < groups; g++) {
      const size_t at = (size_t)g * EQ_BLOCK + i;
      scale[at] = w->scale[row * groups + g];
      to[l->zero + at] = zero_of(w, groups, row, g);
      if (w->zero_kind == EQ_ZERO_F16) half_zero[at] = ((const uint16_t *)w->zero)[row * groups + g];
    }
  }
}

static bool described(uint32_t o, uint32_t k, const eq_weights_i4 *w) {
  return w && (unsigned)w->zero_kind <= EQ_ZERO_F16 && w->group && (w->group % 32 == 0 || w->group == k) &&
         k <= INT32_MAX / 4 && eq_extent_ok(o, k, 1, 1);
}

static bool all_finite(const uint16_t *half, size_t count) {
  enum { EXPONENT = 0x7c00 };
  bool finite = true;
  for (size_t i = 0; i < count; i++) finite &= (half[i] & EXPONENT) != EXPONENT;
  return finite;
}

static eq_tiles_i4_header header_for(uint32_t o, uint32_t k, const eq_weights_i4 *w) {
  return (eq_tiles_i4_header){(uint32_t)eq_isa_current(), o, k, w->group, w->zero_kind, 0};
}

size_t eq_tiles_i4_bytes(uint32_t o, uint32_t k, const eq_weights_i4 *w) {
  if (!described(o, k, w)) return 0;
  const eq_tiles_i4_header h = header_for(o, k, w);
  const uint64_t blocks = h.isa == EQ_ISA_REF ? 1 : (o - 1) / EQ_BLOCK + 1;
  const uint64_t bytes = EQ_ALIGN + blocks * layout_of(&h).bytes;
  return bytes > SIZE_MAX ? 0 : (size_t)bytes;
}

eq_status eq_tiles_i4(uint32_t o, uint32_t k, const eq_weights_i4 *w, void *tiles) {
  if (!w || !w->codes || !w->scale || (w->zero_kind != EQ_ZERO_EIGHT) != (w->zero != (const void *)0) || !tiles ||
      (uintptr_t)tiles % EQ_ALIGN)
    return EQ_BAD_ARGUMENT;
  if (!described(o, k, w)) return EQ_BAD_SHAPE;
  eq_tiles_i4_header h = header_for(o, k, w);
  const size_t groups = groups_of(&h);
  h.finite = all_finite(w->scale, o * groups);
  const layout l = layout_of(&h);
  uint8_t *to = (uint8_t *)tiles + EQ_ALIGN;
  __builtin_memset(tiles, 0, EQ_ALIGN);
  __builtin_memcpy(tiles, &h, sizeof h);
  if (h.isa != EQ_ISA_REF) {
    for (uint32_t first = 0; first < o; first += EQ_BLOCK, to += l.bytes) pack_block(&h, &l, w, first, to);
    return EQ_OK;
  }
  __builtin_memcpy(to + l.codes, w->codes, o * eq_row_bytes(4 * k));
  __builtin_memcpy(to + l.scale, w->scale, o * groups * sizeof(uint16_t));
  if (h.zero_kind == EQ_ZERO_U4) __builtin_memcpy(to + l.zero, w->zero, o * (groups / 2 + groups % 2));
  if (h.zero_kind == EQ_ZERO_F16) __builtin_memcpy(to + l.half_zero, w->zero, o * groups * sizeof(uint16_t));
  return EQ_OK;
}
