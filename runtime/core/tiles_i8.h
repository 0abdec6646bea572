/* int8 weights made ready once for all calls: the tiles that the products of the instruction set take. */
#ifndef EQ_CORE_TILES_I8_H
#define EQ_CORE_TILES_I8_H

#include "integer.h"

/* EQ_BLOCK outputs: one tile, or two of halves that add up; each is followed by its starts. */
typedef struct {
  const int8_t *tile;
  uint32_t steps, halves;
} eq_packed_i8;

static inline size_t eq_tile_i8_bytes(uint32_t steps) { return EQ_BLOCK * ((size_t)steps * EQ_STEP + sizeof(int32_t)); }

/* Are these tiles for the instruction set in use and this shape? */
bool eq_tiles_i8_fit(const void *tiles, const eq_linear *op);
/* Outputs from block * EQ_BLOCK on. */
eq_packed_i8 eq_tiles_i8_block(const void *tiles, uint32_t block);
/* The canonical weights that the reference's tiles are. */
eq_weights eq_tiles_i8_weights(const void *tiles);

#endif
