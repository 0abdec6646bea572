/* Sixteen floats in four registers: the vocabulary of kernels/simd for AArch64. */
#ifndef EQ_NEON_V16_H
#define EQ_NEON_V16_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define EQ_NAME(name) name##_neon
enum { V16_PIXELS = 2, V16_ROWS = 4 }; /* pixels an epilogue, and a float product, hold in registers */

#define INLINE static inline __attribute__((always_inline))

typedef struct {
  float32x4_t q[4];
} v16;

#define V16_EACH(expression)                                                                                           \
  v16 r;                                                                                                               \
  for (int i = 0; i < 4; i++) r.q[i] = (expression);                                                                   \
  return r

INLINE v16 v16_load(const float *p) { V16_EACH(vld1q_f32(p + 4 * i)); }
INLINE v16 v16_load_n(const float *p, uint32_t n) {
  float part[16] = {0.0f};
  for (uint32_t i = 0; i < n; i++) part[i] = p[i];
  return v16_load(part);
}
INLINE v16 v16_of_half(const uint16_t *p) { V16_EACH(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)))); }
INLINE v16 v16_of_i32(const int32_t *p) { V16_EACH(vcvtq_f32_s32(vld1q_s32(p + 4 * i))); }
INLINE v16 v16_of_i32_n(const int32_t *p, uint32_t n) {
  int32_t part[16] = {0};
  for (uint32_t i = 0; i < n; i++) part[i] = p[i];
  return v16_of_i32(part);
}
INLINE v16 v16_of_bytes(int8x16_t b) {
  const int16x8_t half[2] = {vmovl_s8(vget_low_s8(b)), vmovl_high_s8(b)};
  V16_EACH(vcvtq_f32_s32(i % 2 ? vmovl_high_s16(half[i / 2]) : vmovl_s16(vget_low_s16(half[i / 2]))));
}
INLINE v16 v16_of_i8(const int8_t *p) { return v16_of_bytes(vld1q_s8(p)); }
/* Sixteen codes of four bits, low nibble first, meaning code - 8. */
INLINE v16 v16_of_i4(const uint8_t *p) {
  const uint8x8_t bytes = vld1_u8(p), even = vand_u8(bytes, vdup_n_u8(15)), odd = vshr_n_u8(bytes, 4);
  const uint8x16_t codes = vcombine_u8(vzip1_u8(even, odd), vzip2_u8(even, odd));
  return v16_of_bytes(vsubq_s8(vreinterpretq_s8_u8(codes), vdupq_n_s8(8)));
}
INLINE void v16_store(float *p, v16 a) {
  for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, a.q[i]);
}
INLINE void v16_store_n(float *p, v16 a, uint32_t n) {
  float part[16];
  v16_store(part, a);
  for (uint32_t i = 0; i < n; i++) p[i] = part[i];
}
/* Whole values after rounding half to even, each within an int8. */
INLINE void v16_store_i8(int8_t *p, v16 a) {
  int16x4_t words[4];
  for (int i = 0; i < 4; i++) words[i] = vmovn_s32(vcvtnq_s32_f32(a.q[i]));
  vst1q_s8(p, vcombine_s8(vmovn_s16(vcombine_s16(words[0], words[1])), vmovn_s16(vcombine_s16(words[2], words[3]))));
}
INLINE void v16_store_i8_n(int8_t *p, v16 a, uint32_t n) {
  int8_t part[16];
  v16_store_i8(part, a);
  for (uint32_t i = 0; i < n; i++) p[i] = part[i];
}
INLINE v16 v16_set(float x) { V16_EACH(vdupq_n_f32(x)); }
INLINE v16 v16_add(v16 a, v16 b) { V16_EACH(vaddq_f32(a.q[i], b.q[i])); }
INLINE v16 v16_sub(v16 a, v16 b) { V16_EACH(vsubq_f32(a.q[i], b.q[i])); }
INLINE v16 v16_mul(v16 a, v16 b) { V16_EACH(vmulq_f32(a.q[i], b.q[i])); }
INLINE v16 v16_div(v16 a, v16 b) { V16_EACH(vdivq_f32(a.q[i], b.q[i])); }
/* Half to even. */
INLINE v16 v16_round_even(v16 a) { V16_EACH(vrndnq_f32(a.q[i])); }
/* y * 2^n, shifted being EQ_ROUND + n: n is added to the exponent. The product is a normal number. */
INLINE v16 v16_times_power(v16 y, v16 shifted) {
  V16_EACH(vreinterpretq_f32_s32(
      vaddq_s32(vreinterpretq_s32_f32(y.q[i]), vshlq_n_s32(vreinterpretq_s32_f32(shifted.q[i]), 23))));
}
INLINE v16 v16_sqrt(v16 a) { V16_EACH(vsqrtq_f32(a.q[i])); }
INLINE v16 v16_floor(v16 a) { V16_EACH(vrndmq_f32(a.q[i])); }
/* a > b ? a : b and a < b ? a : b, so that NaN in a gives b */
INLINE v16 v16_max(v16 a, v16 b) { V16_EACH(vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), a.q[i], b.q[i])); }
INLINE v16 v16_min(v16 a, v16 b) { V16_EACH(vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i])); }
INLINE uint32_t v16_bits(uint32x4_t a, uint32x4_t b, uint32x4_t c, uint32x4_t d) {
  static const uint8_t weight[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint16x8_t ab = vcombine_u16(vmovn_u32(a), vmovn_u32(b)), cd = vcombine_u16(vmovn_u32(c), vmovn_u32(d));
  const uint8x16_t bits = vandq_u8(vcombine_u8(vmovn_u16(ab), vmovn_u16(cd)), vld1q_u8(weight));
  return (uint32_t)vaddv_u8(vget_low_u8(bits)) | (uint32_t)vaddv_u8(vget_high_u8(bits)) << 8;
}
#define V16_COMPARE(of) v16_bits(of(a.q[0], b.q[0]), of(a.q[1], b.q[1]), of(a.q[2], b.q[2]), of(a.q[3], b.q[3]))
INLINE uint32x4_t v16_unequal(float32x4_t a, float32x4_t b) { return vmvnq_u32(vceqq_f32(a, b)); }
INLINE uint32_t v16_ge(v16 a, v16 b) { return V16_COMPARE(vcgeq_f32); }
INLINE uint32_t v16_gt(v16 a, v16 b) { return V16_COMPARE(vcgtq_f32); }
INLINE uint32_t v16_ne(v16 a, v16 b) { return V16_COMPARE(v16_unequal); }
/* Two bytes: bit i = (a[i] >= 0). */
INLINE void v16_store_signs(uint8_t *to, v16 a) {
  const uint16_t bits = (uint16_t)v16_ge(a, v16_set(0.0f));
  __builtin_memcpy(to, &bits, sizeof bits);
}
/* test >= 0 ? a : b */
INLINE v16 v16_choose(v16 test, v16 a, v16 b) { V16_EACH(vbslq_f32(vcgezq_f32(test.q[i]), a.q[i], b.q[i])); }
/* a >= b ? yes : no */
INLINE v16 v16_choose_ge(v16 a, v16 b, v16 yes, v16 no) {
  V16_EACH(vbslq_f32(vcgeq_f32(a.q[i], b.q[i]), yes.q[i], no.q[i]));
}
INLINE v16 v16_abs(v16 a) { V16_EACH(vabsq_f32(a.q[i])); }
/* a, which is not negative, with the sign of s */
INLINE v16 v16_with_sign(v16 a, v16 s) { V16_EACH(vbslq_f32(vdupq_n_u32(1u << 31), s.q[i], a.q[i])); }

/* p[lane[i]], lanes rising from 0 by at most 1 each: every quarter then reads within four floats. */
typedef struct {
  uint8x16_t bytes[4];
  uint32_t base[4];
} v16_lanes;
INLINE v16_lanes v16_lanes_of(const uint32_t lane[16]) {
  v16_lanes r;
  for (int i = 0; i < 4; i++) {
    uint8_t bytes[16];
    r.base[i] = lane[4 * i];
    for (int j = 0; j < 16; j++) bytes[j] = (uint8_t)((lane[4 * i + j / 4] - r.base[i]) * 4 + (uint32_t)j % 4);
    r.bytes[i] = vld1q_u8(bytes);
  }
  return r;
}
INLINE float32x4_t v16_pick_quarter(const float *p, uint8x16_t bytes) {
  return vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(vld1q_f32(p)), bytes));
}
INLINE v16 v16_pick(const float *p, v16_lanes lanes) { V16_EACH(v16_pick_quarter(p + lanes.base[i], lanes.bytes[i])); }

/* Lane i: ((p[4i] + p[4i+1]) + p[4i+2]) + p[4i+3]; p[2i] + p[2i+1]. */
INLINE float32x4_t v16_sum_quarter_fours(const float *p) {
  const float32x4x4_t r = vld4q_f32(p);
  return vaddq_f32(vaddq_f32(vaddq_f32(r.val[0], r.val[1]), r.val[2]), r.val[3]);
}
INLINE v16 v16_sum_fours(const float *p) { V16_EACH(v16_sum_quarter_fours(p + 16 * i)); }
INLINE float32x4_t v16_sum_quarter_twos(const float *p) {
  const float32x4x2_t r = vld2q_f32(p);
  return vaddq_f32(r.val[0], r.val[1]);
}
INLINE v16 v16_sum_twos(const float *p) { V16_EACH(v16_sum_quarter_twos(p + 8 * i)); }

/* The sums of four vectors, their lanes folded in halves: 8 + 8, 4 + 4, 2 + 2, 1 + 1. */
INLINE void v16_fold_four(const v16 a[4], float *to) {
  for (int i = 0; i < 4; i++) {
    const float32x4_t quarter = vaddq_f32(vaddq_f32(a[i].q[0], a[i].q[2]), vaddq_f32(a[i].q[1], a[i].q[3]));
    const float32x2_t pair = vadd_f32(vget_low_f32(quarter), vget_high_f32(quarter));
    to[i] = vget_lane_f32(pair, 0) + vget_lane_f32(pair, 1);
  }
}

#endif
