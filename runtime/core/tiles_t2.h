/* Ternary weights made ready once for all calls: two bits a weight, w + 1.
 *
 * A word of an output is sixteen inputs: byte b holds inputs b, 4 + b, 8 + b and 12 + b from its lowest bits on, so
 * that two bits of all four bytes are a step. Inputs and outputs past the last one are zeros. */
#ifndef EQ_CORE_TILES_T2_H
#define EQ_CORE_TILES_T2_H

#include "integer.h"

enum { EQ_T2_WORD_STEPS = 4, EQ_T2_WORD = EQ_T2_WORD_STEPS * EQ_STEP };

/* Are these tiles for the instruction set in use and this shape? */
bool eq_tiles_t2_fit(const void *tiles, const eq_linear *op);
/* Outputs from block * EQ_BLOCK on. */
eq_packed_t2 eq_tiles_t2_block(const void *tiles, uint32_t block);
/* The canonical weights that the reference's tiles are. */
eq_weights eq_tiles_t2_weights(const void *tiles);

#endif
