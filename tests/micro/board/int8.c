/* Activations are widened once per window, in the order in which SXTB16 leaves weights: even bytes, odd bytes. Two
 * windows, side by side in memory, meet two outputs: a weight is loaded and widened once for two products. */
#include "int8.h"

#if defined(__ARM_FEATURE_DSP) || defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#define TESTS_MICRO_DSP
typedef uint32_t pair; /* two int16 */
static inline pair even(uint32_t x) { return (pair)__sxtb16((int8x4_t)x); }
static inline pair odd(uint32_t x) {
  pair out;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(out) : "r"(x));
  return out;
}
static inline int32_t meet(pair a, pair b, int32_t sum) { return __smlad((int32_t)a, (int32_t)b, sum); }
#else
typedef struct {
  int16_t low, high;
} pair;
static inline pair even(uint32_t x) { return (pair){(int8_t)x, (int8_t)(x >> 16)}; }
static inline pair odd(uint32_t x) { return (pair){(int8_t)(x >> 8), (int8_t)(x >> 24)}; }
static inline int32_t meet(pair a, pair b, int32_t sum) { return sum + a.low * b.low + a.high * b.high; }
#endif

static inline uint32_t load(const int8_t *p) {
  uint32_t v;
  __builtin_memcpy(&v, __builtin_assume_aligned(p, 4), 4);
  return v;
}

static inline void widen(const int8_t *x, uint32_t count, pair *to, uint32_t step) {
  for (; count; count -= 4, x += 4, to += step) {
    const uint32_t word = load(x);
    to[0] = even(word);
    to[1] = odd(word);
  }
}

/* Sums of two windows, whose pairs alternate by twos in p, with outputs v and w. */
static inline void four(const pair *p, const int8_t *v, const int8_t *w, uint32_t k, int32_t sums[4]) {
  int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#ifdef TESTS_MICRO_DSP /* compilers run out of registers here */
  uint32_t a, b, c, d, x;
  __asm__ volatile("1: ldr %[a], [%[v]], #4\n ldr %[b], [%[w]], #4\n ldr %[x], [%[p]], #4\n"
                   "sxtb16 %[c], %[a], ror #8\n sxtb16 %[a], %[a]\n"
                   "sxtb16 %[d], %[b], ror #8\n sxtb16 %[b], %[b]\n"
                   "smlad %[s0], %[x], %[a], %[s0]\n smlad %[s1], %[x], %[b], %[s1]\n ldr %[x], [%[p]], #4\n"
                   "smlad %[s0], %[x], %[c], %[s0]\n smlad %[s1], %[x], %[d], %[s1]\n ldr %[x], [%[p]], #4\n"
                   "smlad %[s2], %[x], %[a], %[s2]\n smlad %[s3], %[x], %[b], %[s3]\n ldr %[x], [%[p]], #4\n"
                   "smlad %[s2], %[x], %[c], %[s2]\n smlad %[s3], %[x], %[d], %[s3]\n"
                   "subs %[k], %[k], #4\n bne 1b\n"
                   : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [x] "=&r"(x), [p] "+r"(p), [v] "+r"(v),
                     [w] "+r"(w), [k] "+r"(k), [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3)
                   :
                   : "cc", "memory");
#else
  for (; k; k -= 4, p += 4, v += 4, w += 4) {
    const uint32_t a = load(v), b = load(w);
    const pair ae = even(a), ao = odd(a), be = even(b), bo = odd(b);
    s0 = meet(p[1], ao, meet(p[0], ae, s0));
    s1 = meet(p[1], bo, meet(p[0], be, s1));
    s2 = meet(p[3], ao, meet(p[2], ae, s2));
    s3 = meet(p[3], bo, meet(p[2], be, s3));
  }
#endif
  sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

void int8_matrix(const int8_t *x, const int8_t *w, uint32_t rows, uint32_t k, int32_t *out, void *scratch) {
  pair *const p = scratch;
  widen(x, k, p, 2);
  for (uint32_t row = 0; row < rows; row += 2, w += 2 * k) {
    int32_t s0 = 0, s1 = 0;
    const int8_t *v = w, *u = w + k;
    _Pragma("GCC unroll 4") for (uint32_t i = 0; i < k; i += 4, v += 4, u += 4) {
      const uint32_t a = load(v), b = load(u);
      const pair e = p[i / 2], o = p[i / 2 + 1];
      s0 = meet(o, odd(a), meet(e, even(a), s0));
      s1 = meet(o, odd(b), meet(e, even(b), s1));
    }
    out[row] = s0;
    out[row + 1] = s1;
  }
}

static int8_t narrow(int32_t sum, int32_t multiplier) {
  const int32_t v = (int32_t)((int64_t)sum * multiplier >> 31);
  return (int8_t)(v < 0 ? 0 : v > 127 ? 127 : v);
}

static uint32_t outputs(uint32_t extent, uint32_t stride) { return (extent + stride - 1) / stride; }
static uint32_t before(uint32_t extent, const int8_conv *op) { /* taps in front of the image */
  const uint32_t seen = (outputs(extent, op->stride) - 1) * op->stride + op->k;
  return seen > extent ? (seen - extent) / 2 : 0;
}

static void look(const int8_conv *op, const int8_t *x, uint32_t y, uint32_t px, pair *to) {
  const uint32_t top = y * op->stride - before(op->h, op), left = px * op->stride - before(op->w, op);
  for (uint32_t ky = 0; ky < op->k; ky++)
    for (uint32_t kx = 0; kx < op->k; kx++, to += op->c) {
      const uint32_t iy = top + ky, ix = left + kx; /* -1 wraps far past the end */
      if (iy < op->h && ix < op->w)
        widen(x + ((size_t)iy * op->w + ix) * op->c, op->c, to, 4);
      else
        for (uint32_t i = 0; i < op->c; i += 4) to[i] = to[i + 1] = (pair){0};
    }
}

/* Calls what is done with the sums of outputs o and o + 1 at pixels i and next. */
#define EACH(then)                                                                                                     \
  const uint32_t size = op->k * op->k * op->c, out_w = outputs(op->w, op->stride),                                     \
                 pixels = outputs(op->h, op->stride) * out_w;                                                          \
  pair *const p = scratch;                                                                                             \
  for (uint32_t i = 0; i < pixels; i += 2, out += 2 * op->o) {                                                         \
    const uint32_t next = i + 1 < pixels ? i + 1 : i; /* an odd last one is done twice */                              \
    look(op, x, i / out_w, i % out_w, p);                                                                              \
    look(op, x, next / out_w, next % out_w, p + 2);                                                                    \
    for (uint32_t o = 0; o < op->o; o += 2) {                                                                          \
      int32_t sums[4];                                                                                                 \
      const int8_t *weights = w + (size_t)o * size;                                                                    \
      four(p, weights, weights + size, size, sums);                                                                    \
      const size_t other = (next - i) * op->o + o;                                                                     \
      then                                                                                                             \
    }                                                                                                                  \
  }

void int8_conv_sums(const int8_conv *op, const int8_t *x, const int8_t *w, int32_t *out, void *scratch) {
  EACH(out[o] = sums[0]; out[o + 1] = sums[1]; out[other] = sums[2]; out[other + 1] = sums[3];)
}

void int8_conv_run(const int8_conv *op, const int8_t *x, const int8_t *w, const int32_t *bias,
                   const int32_t *multiplier, int8_t *out, void *scratch) {
  EACH(out[o] = narrow(sums[0] + bias[o], multiplier[o]); out[o + 1] = narrow(sums[1] + bias[o + 1], multiplier[o + 1]);
       out[other] = narrow(sums[2] + bias[o], multiplier[o]);
       out[other + 1] = narrow(sums[3] + bias[o + 1], multiplier[o + 1]);)
}
