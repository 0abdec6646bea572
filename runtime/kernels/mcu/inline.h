#ifndef EQ_KERNELS_MCU_INLINE_H
#define EQ_KERNELS_MCU_INLINE_H

/* For functions that are called with constants, and made for them. */
#define EQ_INLINE __attribute__((always_inline))
/* Eight variables or statements, so that they stay in registers without a compiler's goodwill. */
#define EQ_EIGHT(step) step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7)

#endif
