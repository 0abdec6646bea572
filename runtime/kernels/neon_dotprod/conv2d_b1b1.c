/* NEON with the dot product extension: SDOT adds four counted bytes, times a factor, to a 32-bit lane. */
#include "kernels/neon/v16.h"

enum { SAFE = 0 }; /* 32-bit lanes never overflow: a patch has fewer than 2^31 bits */

typedef struct {
  int32x4_t total;
} SUMS;

INLINE int32x4_t sums_start(int32x4_t total, uint32_t complements) {
  return vsubq_s32(total, vdupq_n_s32((int32_t)(4 * 32 * complements)));
}
INLINE void sums_begin(SUMS (*sum)[4], int pixels, uint32_t complements) { (void)sum, (void)pixels, (void)complements; }
INLINE void sums_add(SUMS *s, int times, uint8x16_t counts) {
  const int8x16_t factors = {-2, -2, -2, -2, -4, -4, -4, -4, 4, 4, 4, 4};
  const int8x16_t c = vreinterpretq_s8_u8(counts);
  switch (times) {
  case -2: s->total = vdotq_laneq_s32(s->total, c, factors, 0); break;
  case -4: s->total = vdotq_laneq_s32(s->total, c, factors, 1); break;
  default: s->total = vdotq_laneq_s32(s->total, c, factors, 2); break;
  }
}
INLINE void sums_end(SUMS (*sum)[4], int pixels, int times) { (void)sum, (void)pixels, (void)times; }

#include "kernels/neon/conv2d_b1b1.h"

static void accumulate_b1_dotprod(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                                  int32_t *acc, size_t pitch) {
  accumulate_signs(p, pixels, tile, outputs, acc, pitch);
}

static void accumulate_t2_dotprod(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                                  int32_t *acc, size_t pitch) {
  accumulate_ternary(p, pixels, tile, outputs, acc, pitch);
}

#include "kernels/simd/table.h"

const eq_kernels eq_kernels_neon_dotprod =
    EQ_TABLE(accumulate_b1_dotprod, accumulate_t2_dotprod, .fold_tile = eq_fold_tile_neon,
             .fold_patches = eq_fold_patches_neon, .fold = {1, 1, 1, 32, UINT32_MAX});
