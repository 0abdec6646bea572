/* Sums of floats in place, four at a time where a processor has no vectors but loads several registers at once. The
 * same operations as in the plain loops, and so the same bits. */
#ifndef EQ_TUNE_FOUR_H
#define EQ_TUNE_FOUR_H

#include <stdint.h>

#if defined(__thumb2__) && defined(__ARM_FP) && (__ARM_FP & 4)
#define EQ_FOUR_REGISTERS "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "memory"

/* *to++ = *from++ + *x++, four times; `to` may be `from` */
static inline void eq_add_four(float **to, const float **from, const float *x) {
  __asm__ volatile("vldmia %1!, {s8-s11}\n\t"
                   "vldmia %2, {s12-s15}\n\t"
                   "vadd.f32 s8, s8, s12\n\t"
                   "vadd.f32 s9, s9, s13\n\t"
                   "vadd.f32 s10, s10, s14\n\t"
                   "vadd.f32 s11, s11, s15\n\t"
                   "vstmia %0!, {s8-s11}"
                   : "+r"(*to), "+r"(*from)
                   : "r"(x)
                   : EQ_FOUR_REGISTERS);
}

/* *sum++ += x * *v++, four times */
static inline void eq_add_four_times(float **sum, float x, const float **v) {
  __asm__ volatile("vldmia %1!, {s12-s15}\n\t"
                   "vldmia %0, {s8-s11}\n\t"
                   "vmul.f32 s12, s12, %2\n\t"
                   "vmul.f32 s13, s13, %2\n\t"
                   "vmul.f32 s14, s14, %2\n\t"
                   "vmul.f32 s15, s15, %2\n\t"
                   "vadd.f32 s8, s8, s12\n\t"
                   "vadd.f32 s9, s9, s13\n\t"
                   "vadd.f32 s10, s10, s14\n\t"
                   "vadd.f32 s11, s11, s15\n\t"
                   "vstmia %0!, {s8-s11}"
                   : "+r"(*sum), "+r"(*v)
                   : "t"(x)
                   : EQ_FOUR_REGISTERS);
}

/* sum[k] += x * v[k] */
static inline void eq_add_product(float *sum, float x, const float *v, uint32_t count) {
#pragma GCC unroll 4
  for (; count >= 4; count -= 4) eq_add_four_times(&sum, x, &v);
  for (; count; count--) *sum++ += x * *v++;
}
#else
static inline void eq_add_four(float **to, const float **from, const float *x) {
  for (uint32_t k = 0; k < 4; k++) *(*to)++ = *(*from)++ + x[k];
}

static inline void eq_add_product(float *sum, float x, const float *v, uint32_t count) {
  for (uint32_t k = 0; k < count; k++) sum[k] += x * v[k];
}
#endif

#endif
