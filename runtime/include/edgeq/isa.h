/* Instruction sets: which kernels run. */
#ifndef EDGEQ_ISA_H
#define EDGEQ_ISA_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef enum {
  EQ_ISA_REF = 0,
  EQ_ISA_AVX2,
  EQ_ISA_AVX_VNNI,
  EQ_ISA_AVX512,
  EQ_ISA_NEON,
  EQ_ISA_NEON_DOTPROD,
  EQ_ISA_NEON_I8MM,
  EQ_ISA_COUNT
} eq_isa;
/* Name as used by EDGEQ_ISA: ref avx2 avx-vnni avx512 neon neon-dotprod neon-i8mm. */
const char *eq_isa_name(eq_isa isa);
/* Can this machine execute it (and was it built in)? */
bool eq_isa_usable(eq_isa isa);
/* The set in use: the best usable one, until eq_isa_select() says otherwise. */
eq_isa eq_isa_current(void);
/* EQ_BAD_ARGUMENT when not usable. The ports read EDGEQ_ISA and call this; the core reads no environment. */
eq_status eq_isa_select(eq_isa isa);
/* On AArch64 only the operating system knows the optional sets (Linux: getauxval(AT_HWCAP) & HWCAP_ASIMDDP for
 * EQ_ISA_NEON_DOTPROD; that and getauxval(AT_HWCAP2) & HWCAP2_I8MM for EQ_ISA_NEON_I8MM): a port that knows says so
 * here, before the first operator runs. No effect elsewhere. */
void eq_isa_allow(eq_isa isa);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
