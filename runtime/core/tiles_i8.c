#include "tiles_i8.h"
#include "arena.h"
#include "check.h"
#include "isa.h"

enum { MOST_INPUTS = (1 << 17) - 1, BEHIND = 64 }; /* a sum fits 31 bits; what decode() may overwrite behind a row */

/* In front of the blocks; for the reference a copy of the weights follows instead. */
typedef struct {
  uint32_t isa, o, k;
} header;

static uint32_t steps_of(uint32_t k) { return (k - 1) / EQ_STEP + 1; }
static size_t blocks_of(uint32_t o) { return (o - 1) / EQ_BLOCK + 1; }
static uint32_t halves_of(void) { return eq_integer_current()->narrow ? 2 : 1; }
static size_t block_bytes(uint32_t k) { return halves_of() * eq_tile_i8_bytes(steps_of(k)); }

bool eq_tiles_i8_fit(const void *tiles, const eq_linear *op) {
  const header *h = tiles;
  return h->isa == (uint32_t)eq_isa_current() && h->o == op->o && h->k == op->k;
}

eq_weights eq_tiles_i8_weights(const void *tiles) {
  const header *h = tiles;
  return (eq_weights){EQ_I8, (const uint8_t *)tiles + EQ_ALIGN, h->k, (size_t)h->o * h->k};
}

eq_packed_i8 eq_tiles_i8_block(const void *tiles, uint32_t block) {
  const header *h = tiles;
  const uint8_t *at = (const uint8_t *)tiles + EQ_ALIGN + block * block_bytes(h->k);
  return (eq_packed_i8){(const int8_t *)at, steps_of(h->k), halves_of()};
}

static bool described(uint32_t o, uint32_t k) { return k <= MOST_INPUTS && eq_extent_ok(o, k, 1, 1); }

/* Behind the blocks there is room for the rows of one, which are padded or halved before they are tiled. */
static size_t rows_bytes(uint32_t k) { return EQ_BLOCK * (size_t)steps_of(k) * EQ_STEP + BEHIND; }

size_t eq_tiles_i8_bytes(uint32_t o, uint32_t k) {
  if (!described(o, k)) return 0;
  const uint64_t bytes =
      eq_isa_current() == EQ_ISA_REF ? (uint64_t)o * k : (uint64_t)blocks_of(o) * block_bytes(k) + rows_bytes(k);
  return bytes > SIZE_MAX - EQ_ALIGN ? 0 : (size_t)bytes + EQ_ALIGN;
}

eq_status eq_tiles_i8(uint32_t o, uint32_t k, const void *w, void *tiles) {
  if (!w || !tiles || (uintptr_t)tiles % EQ_ALIGN) return EQ_BAD_ARGUMENT;
  if (!described(o, k)) return EQ_BAD_SHAPE;
  const header h = {(uint32_t)eq_isa_current(), o, k};
  uint8_t *to = (uint8_t *)tiles + EQ_ALIGN;
  __builtin_memset(tiles, 0, EQ_ALIGN);
  __builtin_memcpy(tiles, &h, sizeof h);
  if (h.isa == EQ_ISA_REF) {
    __builtin_memcpy(to, w, (size_t)o * k);
    return EQ_OK;
  }
  const eq_integer_kernels *kernels = eq_integer_current();
  const eq_weights weights = {EQ_I8, w, k, (size_t)o * k};
  const size_t pitch = (size_t)steps_of(k) * EQ_STEP, half_bytes = eq_tile_i8_bytes(steps_of(k));
  int8_t *rows = (int8_t *)(to + blocks_of(o) * block_bytes(k));
  for (uint32_t first = 0; first < o; first += EQ_BLOCK)
    for (uint32_t half = 0; half < halves_of(); half++, to += half_bytes) {
      const uint32_t outputs = o - first < EQ_BLOCK ? o - first : EQ_BLOCK;
      for (uint32_t i = 0; i < outputs; i++) {
        int8_t *row = rows + i * pitch;
        kernels->decode(&weights, (size_t)first + i, k, halves_of() == 1 ? 0 : half + 1, row);
        __builtin_memset(row + k, 0, pitch - k);
      }
      kernels->tile(rows, outputs, steps_of(k), (int8_t *)to, (int32_t *)(void *)(to + half_bytes) - EQ_BLOCK);
    }
  return EQ_OK;
}
