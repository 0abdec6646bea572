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
  EQ_ISA_AMX, /* and AVX-512 */
  EQ_ISA_NEON,
  EQ_ISA_NEON_DOTPROD,
  EQ_ISA_NEON_I8MM,
  EQ_ISA_COUNT
} eq_isa;
/* Name as used by EDGEQ_ISA: ref avx2 avx-vnni avx512 amx neon neon-dotprod neon-i8mm. */
const char *eq_isa_name(eq_isa isa);
/* Can this machine execute it (and was it built in)? */
bool eq_isa_usable(eq_isa isa);
/* The set in use: the best usable one, until eq_isa_select() says otherwise. */
eq_isa eq_isa_current(void);
/* EQ_BAD_ARGUMENT when not usable. The ports read EDGEQ_ISA and call this; the core reads no environment. */
eq_status eq_isa_select(eq_isa isa);
/* The optional sets that only the operating system knows (AArch64) or grants (x86): a port that has asked says so here,
 * before the first operator runs; ports/optional_isas.h does so on Linux. No effect where a set is not built in.
 *   EQ_ISA_NEON_DOTPROD, EQ_ISA_NEON_I8MM   the processor has the extension; of the latter, the former too
 *   EQ_ISA_AMX                              the processor has AMX-INT8, and the process may use its registers */
void eq_isa_allow(eq_isa isa);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
