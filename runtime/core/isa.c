#include "isa.h"
#include "integer.h"

#if defined(__x86_64__)
#include <cpuid.h>

enum { XMM_YMM = 0x06, OPMASK_ZMM = 0xe0 };

/* The register states that the operating system saves. */
static uint32_t saved_state(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
  __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return a;
}

static bool cpu_has(eq_isa isa) {
  uint32_t a, b, c, d;
  const uint32_t state = saved_state();
  if ((state & XMM_YMM) != XMM_YMM || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  if (isa == EQ_ISA_AVX2) return b & bit_AVX2;
  const uint32_t wide = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  return isa == EQ_ISA_AVX512 && (b & wide) == wide && (c & bit_AVX512VPOPCNTDQ) && (c & bit_AVX512VNNI) &&
         (state & OPMASK_ZMM) == OPMASK_ZMM;
}

static const eq_kernels *built_in(eq_isa isa) {
  return isa == EQ_ISA_AVX512 ? &eq_kernels_avx512 : isa == EQ_ISA_AVX2 ? &eq_kernels_avx2 : (const eq_kernels *)0;
}
#elif defined(__aarch64__)
static bool allowed_dotprod; /* optional before Armv8.4, and only the operating system can tell */

static bool cpu_has(eq_isa isa) {
  return isa == EQ_ISA_NEON || (isa == EQ_ISA_NEON_DOTPROD && __atomic_load_n(&allowed_dotprod, __ATOMIC_RELAXED));
}

static const eq_kernels *built_in(eq_isa isa) {
  return isa == EQ_ISA_NEON_DOTPROD ? &eq_kernels_neon_dotprod
         : isa == EQ_ISA_NEON       ? &eq_kernels_neon
                                    : (const eq_kernels *)0;
}
#else
static bool cpu_has(eq_isa isa) { return isa == EQ_ISA_REF; }
static const eq_kernels *built_in(eq_isa isa) {
  (void)isa;
  return (const eq_kernels *)0;
}
#endif

enum { UNDECIDED = -1 };
static int selected = UNDECIDED;

const char *eq_isa_name(eq_isa isa) {
  static const char *const names[EQ_ISA_COUNT] = {"ref", "avx2", "avx512", "neon", "neon-dotprod"};
  return (unsigned)isa < EQ_ISA_COUNT ? names[isa] : "unknown";
}

bool eq_isa_usable(eq_isa isa) {
  return isa == EQ_ISA_REF || ((unsigned)isa < EQ_ISA_COUNT && built_in(isa) && cpu_has(isa));
}

void eq_isa_allow(eq_isa isa) {
#if defined(__aarch64__)
  if (isa == EQ_ISA_NEON_DOTPROD) __atomic_store_n(&allowed_dotprod, true, __ATOMIC_RELAXED);
#else
  (void)isa;
#endif
}

eq_isa eq_isa_current(void) {
  const int now = __atomic_load_n(&selected, __ATOMIC_RELAXED);
  if (now != UNDECIDED) return (eq_isa)now;
  int best = EQ_ISA_COUNT - 1; /* the enumeration rises with ability within an architecture */
  while (!eq_isa_usable((eq_isa)best)) best--;
  __atomic_store_n(&selected, best, __ATOMIC_RELAXED);
  return (eq_isa)best;
}

eq_status eq_isa_select(eq_isa isa) {
  if (!eq_isa_usable(isa)) return EQ_BAD_ARGUMENT;
  __atomic_store_n(&selected, (int)isa, __ATOMIC_RELAXED);
  return EQ_OK;
}

const eq_kernels *eq_kernels_current(void) { return built_in(eq_isa_current()); }

const eq_integer_kernels *eq_integer_current(void) {
  switch (eq_isa_current()) {
#if defined(__x86_64__)
  case EQ_ISA_AVX512: return &eq_integer_avx512;
  case EQ_ISA_AVX2: return &eq_integer_avx2;
#elif defined(__aarch64__)
  case EQ_ISA_NEON_DOTPROD: return &eq_integer_neon_dotprod;
  case EQ_ISA_NEON: return &eq_integer_neon;
#endif
  default: return (const eq_integer_kernels *)0;
  }
}
