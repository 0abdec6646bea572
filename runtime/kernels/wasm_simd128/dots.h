/* Inner products for WebAssembly with 128-bit vectors: kernels/mcu takes these where the compiler says they are there.
 * All are exact in integers, so their order does not matter. */
#ifndef EQ_KERNELS_WASM_SIMD128_DOTS_H
#define EQ_KERNELS_WASM_SIMD128_DOTS_H

#include <stddef.h>
#include <stdint.h>
#include <wasm_simd128.h>

static inline int32_t eq_sum_wasm(v128_t v) { /* int32 [4] */
  v = wasm_i32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  return wasm_i32x4_extract_lane(wasm_i32x4_add(v, wasm_i32x4_shuffle(v, v, 1, 0, 3, 2)), 0);
}

/* Ones in x ^ w over `bytes`, a multiple of 16. */
static inline uint32_t eq_differing_wasm(const uint8_t *x, const uint8_t *w, uint32_t bytes) {
  v128_t sum = wasm_i32x4_const_splat(0);
  for (uint32_t i = 0; i < bytes; i += 16) {
    const v128_t ones = wasm_i8x16_popcnt(wasm_v128_xor(wasm_v128_load(x + i), wasm_v128_load(w + i)));
    sum = wasm_i32x4_add(sum, wasm_u32x4_extadd_pairwise_u16x8(wasm_u16x8_extadd_pairwise_u8x16(ones)));
  }
  return (uint32_t)eq_sum_wasm(sum);
}

/* Sum of x * w over k, a multiple of 8. */
static inline int32_t eq_dot_i8_wasm(const int8_t *x, const int8_t *w, uint32_t k) {
  v128_t sum = wasm_i32x4_const_splat(0);
  for (uint32_t i = 0; i < k; i += 8)
    sum = wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(x + i), wasm_i16x8_load8x8(w + i)));
  return eq_sum_wasm(sum);
}

/* -1 in the lanes whose bit of a plane's byte is set. */
static inline v128_t eq_lanes_wasm(uint8_t byte) {
  const v128_t bits = wasm_i16x8_const(1, 2, 4, 8, 16, 32, 64, 128);
  return wasm_i16x8_eq(wasm_v128_and(wasm_i16x8_splat((int16_t)byte), bits), bits);
}

/* Sum of x * +-2^S over k, a multiple of 8; w: sign plane (1 = +), then planes - 1 of S, `plane` bytes apart. */
static inline int32_t eq_dot_shift_wasm(const int8_t *x, const uint8_t *w, size_t plane, unsigned planes, uint32_t k) {
  v128_t sum = wasm_i32x4_const_splat(0);
  for (uint32_t i = 0; i < k; i += 8, w++) {
    const v128_t minus = wasm_v128_not(eq_lanes_wasm(w[0]));
    const v128_t value = wasm_i16x8_sub(wasm_v128_xor(wasm_i16x8_load8x8(x + i), minus), minus);
    v128_t power = wasm_i16x8_sub(wasm_i16x8_const_splat(1), eq_lanes_wasm(w[plane]));
    if (planes > 2) power = wasm_v128_bitselect(wasm_i16x8_shl(power, 2), power, eq_lanes_wasm(w[2 * plane]));
    if (planes > 3) power = wasm_v128_bitselect(wasm_i16x8_shl(power, 4), power, eq_lanes_wasm(w[3 * plane]));
    sum = wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(value, power));
  }
  return eq_sum_wasm(sum);
}

#endif
