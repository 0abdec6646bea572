/* 4-bit weights made ready once for all calls. */
#ifndef EQ_CORE_TILES_I4_H
#define EQ_CORE_TILES_I4_H

#include "integer.h"

/* In front of the blocks; for the reference a copy of the canonical weights follows instead. */
typedef struct {
  uint32_t isa, o, k, group;
  eq_zero_kind zero_kind;
  uint32_t finite; /* all scales are */
} eq_tiles_i4_header;

/* Are these tiles for the instruction set in use? */
bool eq_tiles_i4_fit(const void *tiles, const eq_linear *op);
/* What they were made of; of the reference's tiles with the weights themselves. */
eq_weights_i4 eq_tiles_i4_weights(const void *tiles);
/* Outputs from block * EQ_BLOCK on. */
eq_packed_i4 eq_tiles_i4_block(const void *tiles, uint32_t block);

#endif
