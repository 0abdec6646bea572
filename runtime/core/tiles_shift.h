/* Powers of two made ready once for all calls: half a byte a weight, S and above it the sign (1: positive).
 *
 * Codes lie as those of 4-bit weights do (tiles_i4.h), two panels in a byte, the first in its lowest bits, so that a
 * product looks their values up sixteen outputs at a time. There is no code of 0: activations past the last one are 0
 * instead.
 *
 * +128, of s4, is no int8. Either weights come in two halves; or it counts 127, and for each output the inputs are
 * named that count once more: four bytes of a register hold places in a chunk of 63 inputs, and a block has as many
 * registers of a chunk and panel, `rounds`, as its output with most of them needs. EQ_SHIFT_NONE, for which x is to be
 * 0, fills up. Halves are for weights of which too many are +128. */
#ifndef EQ_CORE_TILES_SHIFT_H
#define EQ_CORE_TILES_SHIFT_H

#include "integer.h"

enum { EQ_SHIFT_STEPS = 2, EQ_SHIFT_WORD = EQ_SHIFT_STEPS * EQ_STEP }; /* steps come in pairs */

enum { EQ_SHIFT_CHUNK = 63, EQ_SHIFT_NONE = EQ_SHIFT_CHUNK, EQ_SHIFT_ROUNDS = 4 /* at most */ };
static inline uint32_t eq_shift_chunks(uint32_t steps) { return (steps * EQ_STEP - 1) / EQ_SHIFT_CHUNK + 1; }

/* Bits of a code; the second panel's are above the first one's. */
static inline unsigned eq_shift_bits(eq_weight_type type) { return type == EQ_S4 ? 4 : 3; }

/* The weight of a code, whose higher bits do not count: half 0, of +128 only 127, or its halves 1 and 2, which add up
 * to it and are within +-64. */
static inline int32_t eq_shift_weight(uint32_t code, eq_weight_type type, unsigned half) {
  const uint32_t positive = 1u << (eq_shift_bits(type) - 1);
  const int32_t size = 1 << code % positive, lesser = size / 2;
  const int32_t part = half == 0 ? size - (size == 128 && code & positive) : half == 1 ? size - lesser : lesser;
  return code & positive ? part : -part;
}

/* Are these tiles of such weights for the instruction set in use and this shape? */
bool eq_tiles_shift_fit(const void *tiles, eq_weight_type type, const eq_linear *op);
/* Outputs from block * EQ_BLOCK on. */
eq_packed_shift eq_tiles_shift_block(const void *tiles, uint32_t block);
/* The canonical weights that the reference's tiles are. */
eq_weights eq_tiles_shift_weights(const void *tiles);

#endif
