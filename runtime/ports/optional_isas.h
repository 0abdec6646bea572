/* What hosts with Linux do when they start: tell the core which optional instruction sets it may use. */
#ifndef EDGEQ_PORTS_OPTIONAL_ISAS_H
#define EDGEQ_PORTS_OPTIONAL_ISAS_H

#include "edgeq/isa.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

static inline void eq_allow_optional_isas(void) {
  const bool dotprod = getauxval(AT_HWCAP) & HWCAP_ASIMDDP, i8mm = getauxval(AT_HWCAP2) & HWCAP2_I8MM;
  if (dotprod) eq_isa_allow(EQ_ISA_NEON_DOTPROD);
  if (dotprod && i8mm) eq_isa_allow(EQ_ISA_NEON_I8MM);
}
#elif defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>

/* A process asks for the 8 KiB of AMX's registers; sandboxes may refuse. */
static inline void eq_allow_optional_isas(void) {
  enum { AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25, ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & AMX_TILE) || !(d & AMX_INT8)) return;
  long result = SYS_arch_prctl; /* strict C has no declaration of syscall() */
  __asm__ volatile("syscall"
                   : "+a"(result)
                   : "D"((long)ARCH_REQ_XCOMP_PERM), "S"((long)XTILEDATA)
                   : "rcx", "r11", "memory");
  if (result == 0) eq_isa_allow(EQ_ISA_AMX);
}
#else
static inline void eq_allow_optional_isas(void) {}
#endif

#endif
