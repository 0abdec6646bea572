/* Eight floats side by side, v0 to v7 and t0 to t7, u0 to u7 for choosing between: EQ_LANES declares them. Where the
 * core has single-precision registers, eight are loaded or stored by one instruction, which compilers do not find. */
#ifndef EQ_KERNELS_MCU_LANES_H
#define EQ_KERNELS_MCU_LANES_H

#include "inline.h"
#include "pixel.h"

typedef struct {
  float lane[8];
} eq_eight;

#if defined(__ARM_FP) && defined(__thumb2__) && defined(__GNUC__) && !defined(__clang__)

#define EQ_LANES                                                                                                       \
  register float v0 __asm__("s0"), v1 __asm__("s1"), v2 __asm__("s2"), v3 __asm__("s3"), v4 __asm__("s4"),             \
      v5 __asm__("s5"), v6 __asm__("s6"), v7 __asm__("s7"), t0 __asm__("s8"), t1 __asm__("s9"), t2 __asm__("s10"),     \
      t3 __asm__("s11"), t4 __asm__("s12"), t5 __asm__("s13"), t6 __asm__("s14"), t7 __asm__("s15")
#define EQ_LANES_U                                                                                                     \
  register float u0 __asm__("s16"), u1 __asm__("s17"), u2 __asm__("s18"), u3 __asm__("s19"), u4 __asm__("s20"),        \
      u5 __asm__("s21"), u6 __asm__("s22"), u7 __asm__("s23")
#define EQ_LOAD(first, last, x, p)                                                                                     \
  __asm__("vldmia %8, {s" #first "-s" #last "}"                                                                        \
          : "=t"(x##0), "=t"(x##1), "=t"(x##2), "=t"(x##3), "=t"(x##4), "=t"(x##5), "=t"(x##6), "=t"(x##7)             \
          : "r"(p), "m"(*(const eq_eight *)(const void *)(p)))
#define EQ_LOAD_V(p) EQ_LOAD(0, 7, v, p)
#define EQ_LOAD_T(p) EQ_LOAD(8, 15, t, p)
#define EQ_LOAD_U(p) EQ_LOAD(16, 23, u, p)
#define EQ_STORE(first, last, x, p)                                                                                    \
  __asm__("vstmia %1, {s" #first "-s" #last "}"                                                                        \
          : "=m"(*(eq_eight *)(void *)(p))                                                                             \
          : "r"(p), "t"(x##0), "t"(x##1), "t"(x##2), "t"(x##3), "t"(x##4), "t"(x##5), "t"(x##6), "t"(x##7))
#define EQ_STORE_V(p) EQ_STORE(0, 7, v, p)
#define EQ_STORE_T(p) EQ_STORE(8, 15, t, p)
#define EQ_LOAD_INTEGERS(p)                                                                                            \
  do {                                                                                                                 \
    EQ_LOAD_V(p);                                                                                                      \
    EQ_EIGHT(EQ_TO_FLOAT)                                                                                              \
  } while (0)
#define EQ_TO_FLOAT(j) __asm__("vcvt.f32.s32 %0, %1" : "=t"(v##j) : "t"(v##j));

#else

#define EQ_LANES float v0, v1, v2, v3, v4, v5, v6, v7, t0, t1, t2, t3, t4, t5, t6, t7
#define EQ_LANES_U float u0, u1, u2, u3, u4, u5, u6, u7
#define EQ_LOAD(x, p)                                                                                                  \
  (x##0 = (p)[0], x##1 = (p)[1], x##2 = (p)[2], x##3 = (p)[3], x##4 = (p)[4], x##5 = (p)[5], x##6 = (p)[6],            \
   x##7 = (p)[7])
#define EQ_LOAD_V(p) EQ_LOAD(v, p)
#define EQ_LOAD_T(p) EQ_LOAD(t, p)
#define EQ_LOAD_U(p) EQ_LOAD(u, p)
#define EQ_STORE(x, p)                                                                                                 \
  ((p)[0] = x##0, (p)[1] = x##1, (p)[2] = x##2, (p)[3] = x##3, (p)[4] = x##4, (p)[5] = x##5, (p)[6] = x##6,            \
   (p)[7] = x##7)
#define EQ_STORE_V(p) EQ_STORE(v, p)
#define EQ_STORE_T(p) EQ_STORE(t, p)
#define EQ_TO_FLOAT(j) v##j = (float)from[j].i;
#define EQ_LOAD_INTEGERS(p)                                                                                            \
  do {                                                                                                                 \
    const eq_cell *const from = (p);                                                                                   \
    EQ_EIGHT(EQ_TO_FLOAT)                                                                                              \
  } while (0)

#endif

/* v >= 0. Where a comparison of floats is a call, as an integer: all up to infinity, and -0. */
#if defined(__SOFTFP__) || (defined(__riscv) && !defined(__riscv_flen))
#define EQ_SOFT_FLOAT
#endif
static inline bool eq_not_negative(float v) {
#ifdef EQ_SOFT_FLOAT
  uint32_t bits;
  __builtin_memcpy(&bits, &v, sizeof bits);
  return bits <= 0x7f800000u || bits == 0x80000000u;
#else
  return v >= 0.0f;
#endif
}

/* v0 = v0 op t0 and so on */
#define EQ_ADD(j) v##j += t##j;
#define EQ_MULTIPLY(j) v##j *= t##j;

#endif
