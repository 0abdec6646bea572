/* core/functions.h for sixteen floats at once: the same operations in the same order. */
#ifndef EQ_SIMD_FUNCTIONS_H
#define EQ_SIMD_FUNCTIONS_H

#include "core/functions.h"

INLINE v16 v16_poly(const float c[6], v16 x) {
  v16 y = v16_set(c[5]);
  for (int i = 4; i >= 0; i--) y = v16_add(v16_mul(y, x), v16_set(c[i]));
  return y;
}

/* For x in [EQ_EXP_LEAST, EQ_EXP_MOST]; elsewhere anything. */
INLINE v16 v16_exp_within(v16 x) {
  const v16 shift = v16_set(EQ_ROUND), shifted = v16_add(v16_mul(x, v16_set(EQ_LOG2_E)), shift);
  const v16 n = v16_sub(shifted, shift);
  const v16 r = v16_sub(v16_sub(x, v16_mul(n, v16_set(EQ_LN2_HIGH))), v16_mul(n, v16_set(EQ_LN2_LOW)));
  const v16 y = v16_add(v16_add(v16_mul(v16_poly(eq_exp_poly, r), v16_mul(r, r)), r), v16_set(1.0f));
  return v16_times_power(y, shifted);
}

/* For x up to EQ_EXP_MOST, or NaN. */
INLINE v16 v16_exp_below(v16 x) { return v16_exp_within(v16_max(x, v16_set(EQ_EXP_LEAST))); }

INLINE v16 v16_exp(v16 x) { return v16_exp_within(v16_min(v16_max(x, v16_set(EQ_EXP_LEAST)), v16_set(EQ_EXP_MOST))); }

/* Both ways for all lanes: `far` is anything where it is not chosen. */
INLINE v16 v16_erf(v16 x) {
  const v16 one = v16_set(1.0f), size = v16_abs(x), near = v16_mul(x, v16_poly(eq_erf_near, v16_mul(x, x)));
  const v16 far = v16_min(v16_sub(one, v16_exp_within(v16_poly(eq_erf_far, size))), v16_set(EQ_ERF_LIMIT));
  const v16 whole = v16_choose_ge(size, v16_set(EQ_ERF_ONE), one, far);
  return v16_choose_ge(size, one, v16_with_sign(whole, x), near);
}

INLINE v16 v16_gelu(v16 x) {
  const v16 erf = v16_erf(v16_mul(x, v16_set(0.70710678f)));
  return v16_mul(v16_mul(v16_set(0.5f), x), v16_add(v16_set(1.0f), erf));
}

#endif
