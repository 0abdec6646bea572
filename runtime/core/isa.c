#include "isa.h"
#include "integer.h"

static bool allowed[EQ_ISA_COUNT]; /* by a port, which has asked the operating system */
static inline bool is_allowed(eq_isa isa) { return __atomic_load_n(&allowed[isa], __ATOMIC_RELAXED); }

#if defined(__x86_64__)
#include <cpuid.h>

enum { XMM_YMM = 0x06, OPMASK_ZMM = 0xe0, AVX_VNNI_BIT = 4 /* of eax, leaf 7, subleaf 1 */ };

/* The register states that the operating system saves; none where halves cannot be converted, as every AVX2 core can.
 */
static uint32_t saved_state(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_F16C)) return 0;
  __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return a;
}

static bool cpu_has(eq_isa isa) {
  uint32_t a, b, c, d;
  const uint32_t state = saved_state();
  if ((state & XMM_YMM) != XMM_YMM || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  if (isa == EQ_ISA_AVX2) return b & bit_AVX2;
  if (isa == EQ_ISA_AVX_VNNI)
    return (b & bit_AVX2) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << AVX_VNNI_BIT);
  const uint32_t wide = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  const bool has_wide = (b & wide) == wide && (c & bit_AVX512VPOPCNTDQ) && (c & bit_AVX512VNNI) &&
                        (c & bit_AVX512VBMI) && (state & OPMASK_ZMM) == OPMASK_ZMM;
  return has_wide && (isa == EQ_ISA_AVX512 || (isa == EQ_ISA_AMX && is_allowed(isa)));
}

static const eq_kernels *built_in(eq_isa isa) {
  switch (isa) {
  case EQ_ISA_AMX: /* differs in products of bytes only */
  case EQ_ISA_AVX512: return &eq_kernels_avx512;
  case EQ_ISA_AVX_VNNI: /* differs from AVX2 in products of bytes only */
  case EQ_ISA_AVX2: return &eq_kernels_avx2;
  default: return (const eq_kernels *)0;
  }
}
#elif defined(__aarch64__)
static bool cpu_has(eq_isa isa) { return isa == EQ_ISA_NEON || is_allowed(isa); }

static const eq_kernels *built_in(eq_isa isa) {
  switch (isa) {
  case EQ_ISA_NEON_I8MM: /* differs in products of bytes only */
  case EQ_ISA_NEON_DOTPROD: return &eq_kernels_neon_dotprod;
  case EQ_ISA_NEON: return &eq_kernels_neon;
  default: return (const eq_kernels *)0;
  }
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
  static const char *const names[EQ_ISA_COUNT] = {"ref", "avx2", "avx-vnni",     "avx512",
                                                  "amx", "neon", "neon-dotprod", "neon-i8mm"};
  return (unsigned)isa < EQ_ISA_COUNT ? names[isa] : "unknown";
}

bool eq_isa_usable(eq_isa isa) {
  return isa == EQ_ISA_REF || ((unsigned)isa < EQ_ISA_COUNT && built_in(isa) && cpu_has(isa));
}

void eq_isa_allow(eq_isa isa) {
  if ((unsigned)isa < EQ_ISA_COUNT && built_in(isa)) __atomic_store_n(&allowed[isa], true, __ATOMIC_RELAXED);
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
  case EQ_ISA_AMX: return &eq_integer_amx;
  case EQ_ISA_AVX512: return &eq_integer_avx512;
  case EQ_ISA_AVX_VNNI: return &eq_integer_avx_vnni;
  case EQ_ISA_AVX2: return &eq_integer_avx2;
#elif defined(__aarch64__)
  case EQ_ISA_NEON_I8MM: return &eq_integer_neon_i8mm;
  case EQ_ISA_NEON_DOTPROD: return &eq_integer_neon_dotprod;
  case EQ_ISA_NEON: return &eq_integer_neon;
#endif
  default: return (const eq_integer_kernels *)0;
  }
}
