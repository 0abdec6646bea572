/* exp, erf and what is made of them, in single precision and operation by operation, so that every instruction set
 * gives the same bits: no library function, no fused multiply-add. kernels/simd/functions.h is the same for sixteen at
 * once.
 *
 * exp  relative error below 2.1e-7; the argument is clipped to [-87, 88] first, NaN counts as -87
 * erf  error below 1.3e-7; exactly +-1 from 3.9 on and nowhere before */
#ifndef EQ_CORE_FUNCTIONS_H
#define EQ_CORE_FUNCTIONS_H

#include <stdint.h>

#define EQ_EXP_LEAST (-87.0f)
#define EQ_EXP_MOST 88.0f
#define EQ_LOG2_E 1.44269504f
#define EQ_LN2_HIGH 0.693359375f /* with nine bits: n times it is exact */
#define EQ_LN2_LOW (-2.12194440e-4f)
#define EQ_ERF_ONE 3.9f
#define EQ_ERF_LIMIT 0.99999994f /* the float below 1 */

/* Polynomials, lowest power first: (exp(r) - 1 - r) / r^2 for |r| <= ln 2 / 2; erf(x) / x in x^2 below 1; the logarithm
 * of 1 - erf(x) from 1 on. Minimax fits. */
static const float eq_exp_poly[6] = {5.0000001201e-1f, 1.6666665459e-1f, 4.1665795894e-2f,
                                     8.3334519073e-3f, 1.3981999507e-3f, 1.9875691500e-4f};
static const float eq_erf_near[6] = {1.1283791f,    -0.37612355f,  0.112804115f,
                                     -0.026717706f, 0.0049247877f, -0.0005660147f};
static const float eq_erf_far[6] = {-0.0026715093f, -1.1174392f,  -0.65448815f,
                                    -0.0886347f,    0.014778282f, -0.0011504416f};

/* Half to even, for |x| <= 2^22. */
#define EQ_ROUND 12582912.0f /* 1.5 * 2^23: x + EQ_ROUND has the bits of EQ_ROUND + those of x rounded */
static inline float eq_round_even(float x) { return (x + EQ_ROUND) - EQ_ROUND; }

static inline float eq_poly(const float c[6], float x) {
  return ((((c[5] * x + c[4]) * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0];
}

static inline float eq_exp(float x) {
  x = x > EQ_EXP_LEAST ? x : EQ_EXP_LEAST;
  x = x < EQ_EXP_MOST ? x : EQ_EXP_MOST;
  const float n = eq_round_even(x * EQ_LOG2_E);
  const float r = (x - n * EQ_LN2_HIGH) - n * EQ_LN2_LOW;
  const int32_t bits = ((int32_t)n + 127) * (1 << 23);
  float power;
  __builtin_memcpy(&power, &bits, sizeof power);
  return ((eq_poly(eq_exp_poly, r) * (r * r) + r) + 1.0f) * power;
}

/* The same bits for |x| < EQ_EXP_NEAR, where n is 0, in half the operations. */
#define EQ_EXP_NEAR 0.34375f
static inline float eq_exp_near(float x) { return (eq_poly(eq_exp_poly, x) * (x * x) + x) + 1.0f; }

static inline float eq_erf(float x) {
  const float size = x >= 0.0f ? x : 0.0f - x;
  if (!(size >= 1.0f)) return x * eq_poly(eq_erf_near, x * x);
  float far = 1.0f - eq_exp(eq_poly(eq_erf_far, size));
  far = size >= EQ_ERF_ONE ? 1.0f : far < EQ_ERF_LIMIT ? far : EQ_ERF_LIMIT;
  return x >= 0.0f ? far : 0.0f - far;
}

/* x / 2 * (1 + erf(x / sqrt 2)): exactly -0 from about -5.515 down, as PyTorch has it, and not before. */
static inline float eq_gelu(float x) { return (0.5f * x) * (1.0f + eq_erf(x * 0.70710678f)); }

#endif
