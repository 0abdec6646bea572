/* NEON with the dot product extension: UDOT with ones adds four counted bytes to a 32-bit lane. */
#include "kernels/neon/v16.h"

enum { PIXELS = 4, SAFE = INT32_MAX }; /* 32-bit lanes never overflow: a patch has fewer than 2^31 bits */

typedef struct {
  uint32x4_t total;
} SUMS;

INLINE void sums_begin(SUMS (*sum)[4], int pixels) { (void)sum, (void)pixels; }
INLINE void sums_add(SUMS *s, uint8x16_t counts) { s->total = vdotq_u32(s->total, counts, vdupq_n_u8(1)); }
INLINE void sums_end(SUMS (*sum)[4], int pixels) { (void)sum, (void)pixels; }

typedef int32x4_t CARRIES;

INLINE CARRIES carries_begin(int32x4_t total) { return total; }
/* Lane l of `times` is what a count is multiplied with. */
#define COUNT_TIMES(sum, bits, l) vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vcntq_u8(bits)), times, l)
static const int8x16_t times = {-2, -2, -2, -2, -4, -4, -4, -4, 4, 4, 4, 4};
INLINE void carries_add(CARRIES *c, uint8x16_t bits) { *c = COUNT_TIMES(*c, bits, 1); }
INLINE void complements_take(CARRIES *c, uint8x16_t bits) { *c = COUNT_TIMES(*c, bits, 2); }
INLINE int32x4_t carries_result(CARRIES c, int32x4_t total, uint8x16_t parity) {
  (void)total;
  return COUNT_TIMES(c, parity, 0);
}

#include "kernels/neon/conv2d_b1b1.h"

static void accumulate_dotprod(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                               int32_t *acc, size_t pitch) {
  accumulate(false, p, pixels, tile, outputs, acc, pitch);
}

static void accumulate_ternary_dotprod(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                                       int32_t *acc, size_t pitch) {
  accumulate(true, p, pixels, tile, outputs, acc, pitch);
}

#include "kernels/simd/table.h"

const eq_kernels eq_kernels_neon_dotprod =
    EQ_TABLE(accumulate_dotprod, accumulate_ternary_dotprod, .fold_tile = eq_fold_tile_neon,
             .fold_patches = eq_fold_patches_neon, .fold = {1, 1, 1, 32, UINT32_MAX});
