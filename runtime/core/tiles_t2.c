#include "tiles_t2.h"
#include "arena.h"
#include "check.h"
#include "isa.h"

enum { MOST_INPUTS = (1 << 19) - 1, STEP_BYTES = EQ_LANES * EQ_STEP };

/* In front of the sums [blocks][EQ_BLOCK] of each output's weights, which are in front of the codes. */
typedef struct {
  uint32_t isa, o, k;
} header;

static uint32_t words_of(uint32_t k) { return (k - 1) / EQ_T2_WORD + 1; }
static size_t blocks_of(uint32_t o) { return (o - 1) / EQ_BLOCK + 1; }
static size_t block_bytes(uint32_t k) { return (size_t)words_of(k) * EQ_BLOCK * sizeof(uint32_t); }

bool eq_tiles_t2_fit(const void *tiles, const eq_linear *op) {
  const header *h = tiles;
  return h->isa == (uint32_t)eq_isa_current() && h->o == op->o && h->k == op->k;
}

eq_weights eq_tiles_t2_weights(const void *tiles) {
  const header *h = tiles;
  const size_t row = eq_row_bytes(h->k);
  return (eq_weights){EQ_T2, (const uint8_t *)tiles + EQ_ALIGN, row, h->o * row};
}

eq_packed_t2 eq_tiles_t2_block(const void *tiles, uint32_t block) {
  const header *h = tiles;
  const int32_t *sums = (const int32_t *)(const void *)((const uint8_t *)tiles + EQ_ALIGN);
  const uint8_t *codes = (const uint8_t *)(sums + blocks_of(h->o) * EQ_BLOCK);
  return (eq_packed_t2){codes + block * block_bytes(h->k), sums + (size_t)block * EQ_BLOCK, words_of(h->k)};
}

static bool described(uint32_t o, uint32_t k) { return k <= MOST_INPUTS && eq_extent_ok(o, k, 1, 1); }

size_t eq_tiles_t2_bytes(uint32_t o, uint32_t k) {
  if (!described(o, k)) return 0;
  const uint64_t bytes = eq_isa_current() == EQ_ISA_REF
                             ? 2 * (uint64_t)o * eq_row_bytes(k)
                             : (uint64_t)blocks_of(o) * (block_bytes(k) + EQ_BLOCK * sizeof(int32_t));
  return bytes > SIZE_MAX - EQ_ALIGN ? 0 : (size_t)bytes + EQ_ALIGN;
}

/* Output `output` of a block; returns the sum of its weights. */
static int32_t pack_row(const uint8_t *sign, const uint8_t *nonzero, uint32_t k, uint32_t output, uint8_t *block) {
  const uint32_t at = output / EQ_LANES * 2;
  int32_t sum = 0;
  for (uint32_t i = 0; i < k; i++) {
    const uint32_t set = nonzero[i / 8] >> i % 8 & 1, up = set & (uint32_t)(sign[i / 8] >> i % 8);
    uint8_t *byte = block + (size_t)(i / EQ_STEP) * STEP_BYTES + output % EQ_LANES * EQ_STEP + i % EQ_STEP;
    const uint32_t code = 1 - set + 2 * up;
    *byte = (uint8_t)((*byte & ~(3u << at)) | code << at);
    sum += (int32_t)code - 1;
  }
  return sum;
}

eq_status eq_tiles_t2(uint32_t o, uint32_t k, const void *w, void *tiles) {
  if (!w || !tiles || (uintptr_t)tiles % EQ_ALIGN) return EQ_BAD_ARGUMENT;
  if (!described(o, k)) return EQ_BAD_SHAPE;
  const header h = {(uint32_t)eq_isa_current(), o, k};
  const size_t row = eq_row_bytes(k), plane = o * row;
  __builtin_memset(tiles, 0, EQ_ALIGN);
  __builtin_memcpy(tiles, &h, sizeof h);
  if (h.isa == EQ_ISA_REF) {
    __builtin_memcpy((uint8_t *)tiles + EQ_ALIGN, w, 2 * plane);
    return EQ_OK;
  }
  enum { ZEROS = 0x55 };
  int32_t *sums = (int32_t *)(void *)((uint8_t *)tiles + EQ_ALIGN);
  uint8_t *codes = (uint8_t *)(sums + blocks_of(o) * EQ_BLOCK);
  __builtin_memset(sums, 0, blocks_of(o) * EQ_BLOCK * sizeof *sums);
  __builtin_memset(codes, ZEROS, blocks_of(o) * block_bytes(k));
  for (size_t i = 0; i < o; i++)
    sums[i] = pack_row((const uint8_t *)w + i * row, (const uint8_t *)w + plane + i * row, k, i % EQ_BLOCK,
                       codes + i / EQ_BLOCK * block_bytes(k));
  return EQ_OK;
}
