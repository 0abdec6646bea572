/* NEON with the dot product extension: UDOT with ones adds four counted bytes to a 32-bit lane, SDOT a multiple. */
#include "kernels/neon/v16.h"

enum { PIXELS = 4, SAFE = INT32_MAX }; /* 32-bit lanes never overflow: a patch has fewer than 2^31 bits */

typedef struct {
  uint32x4_t total;
} SUMS;

INLINE void sums_begin(SUMS (*sum)[4], int pixels) { (void)sum, (void)pixels; }
INLINE void sums_add(SUMS *s, uint8x16_t counts) { s->total = vdotq_u32(s->total, counts, vdupq_n_u8(1)); }
INLINE void sums_end(SUMS (*sum)[4], int pixels) { (void)sum, (void)pixels; }

/* The result itself: a total, from which all counts are taken at once. */
typedef int32x4_t CARRIES;

static const int8x16_t times = {-4, -4, -4, -4, 4, 4, 4, 4, -2, -2, -2, -2}; /* SDOT takes four of them by number */

INLINE CARRIES carries_begin(int32x4_t total) { return total; }
INLINE void carries_add(CARRIES *c, uint8x16_t bits) {
  *c = vdotq_laneq_s32(*c, vreinterpretq_s8_u8(vcntq_u8(bits)), times, 0);
}
INLINE void complements_take(CARRIES *c, uint8x16_t bits) {
  *c = vdotq_laneq_s32(*c, vreinterpretq_s8_u8(vcntq_u8(bits)), times, 1);
}
INLINE int32x4_t carries_result(CARRIES c, int32x4_t total, uint8x16_t parity) {
  (void)total;
  return vdotq_laneq_s32(c, vreinterpretq_s8_u8(vcntq_u8(parity)), times, 2);
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
             .fold_patches = eq_fold_patches_neon, .fold = {1, 1, 1, 64, UINT32_MAX});
