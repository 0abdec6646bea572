/* Ternary weights made ready once for all calls: two bits a weight, w + 1.
 *
 * A step is laid out like that of an int8 tile, sixteen outputs of four inputs in 64 bytes; a byte holds one weight of
 * each of a block's four panels, the first in its lowest bits. Inputs and outputs past the last one are zeros. */
#ifndef EQ_CORE_TILES_T2_H
#define EQ_CORE_TILES_T2_H

#include "integer.h"

enum { EQ_T2_WORD_STEPS = 4, EQ_T2_WORD = EQ_T2_WORD_STEPS * EQ_STEP }; /* rows are padded to whole words */
enum { EQ_T2_MOST_DOTS = (1 << 17) - 1 }; /* inputs of dot_packed_t2: 64 * code * x sums up below 2^31 */

/* Are these tiles for the instruction set in use and this shape? */
bool eq_tiles_t2_fit(const void *tiles, const eq_linear *op);
/* Outputs from block * EQ_BLOCK on. */
eq_packed_t2 eq_tiles_t2_block(const void *tiles, uint32_t block);
/* The canonical weights that the reference's tiles are. */
eq_weights eq_tiles_t2_weights(const void *tiles);

#endif
