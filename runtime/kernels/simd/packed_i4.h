/* Scales, and zeros with fractions, of packed 4-bit weights for their int8 tile: those of a group for each of its
 * pieces, as floats. */
#include "core/integer.h"

INLINE void expand_scales(const eq_packed_i4 *from, const eq_tile_i4 *to) {
  for (uint32_t piece = 0; piece < to->pieces; piece++) {
    const size_t group = (size_t)(piece * to->piece_steps / from->group_steps) * EQ_BLOCK;
    const size_t at = (size_t)piece * EQ_BLOCK;
    for (size_t i = 0; i < EQ_BLOCK; i += EQ_LANES) {
      v16_store(to->scale + at + i, v16_of_half(from->scale + group + i));
      if (to->zero) v16_store(to->zero + at + i, v16_of_half(from->half_zero + group + i));
    }
  }
}
