/* The operators of the core. Every operator exists in a readable _ref version and in versions per instruction set that
 * give the same bits; the plain name dispatches. Scratch is 64-byte aligned memory of at least the asked size; a size
 * of 0 means that the operator will refuse these arguments. */
#ifndef EDGEQ_OPS_H
#define EDGEQ_OPS_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* ---- instruction sets
 * ------------------------------------------------------------------------------------------------ */
typedef enum { EQ_ISA_REF = 0, EQ_ISA_AVX2, EQ_ISA_AVX512, EQ_ISA_NEON, EQ_ISA_NEON_DOTPROD, EQ_ISA_COUNT } eq_isa;
/* Name as used by EDGEQ_ISA: ref avx2 avx512 neon neon-dotprod. */
const char *eq_isa_name(eq_isa isa);
/* Can this machine execute it (and was it built in)? */
bool eq_isa_usable(eq_isa isa);
/* The set in use: the best usable one, until eq_isa_select() says otherwise. */
eq_isa eq_isa_current(void);
/* EQ_BAD_ARGUMENT when not usable. The ports read EDGEQ_ISA and call this; the core reads no environment. */
eq_status eq_isa_select(eq_isa isa);
/* On AArch64 only the operating system knows the optional sets (Linux: getauxval(AT_HWCAP) & HWCAP_ASIMDDP for
 * EQ_ISA_NEON_DOTPROD): a port that knows says so here, before the first operator runs. No effect elsewhere. */
void eq_isa_allow(eq_isa isa);

/* ---- packing
 * ---------------------------------------------------------------------------------------------------------- x
 * [rows][k] -> bits [rows][eq_row_bytes(k)], bit = (x >= threshold[k]), 1 = +1; threshold NULL = 0; pad bits 0. -0.0
 * counts as +1, NaN as -1. */
eq_status eq_pack_b1(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);
/* The rule sign(0) = 0: two planes [2][rows][row]: plane 0 = (x > threshold), plane 1 = (x != threshold). NaN: 0 and 1.
 */
eq_status eq_pack_t2(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);

/* ---- binary weights, binary activations
 * ------------------------------------------------------------------------------ acc = n - 2 * popcount(a ^ w) over the
 * n bits inside the image. x [n][h][w][row(c)] (groups: row of c channels, each group its c / groups consecutive bits;
 * c / groups must be a multiple of 8 when groups > 1, or groups == c), w [o][kh][kw][row(c / groups)]. */
size_t eq_conv2d_b1b1_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_conv2d_b1b1(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* x [m][row(k)], w [o][row(k)]. The epilogue sees n = m images of one pixel. */
size_t eq_linear_b1b1_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_linear_b1b1(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                         const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* ---- 8- and 4-bit weights, fake-quantised float activations
 * ----------------------------------------------------------- conv2d_i8f32: acc[o] = sum over (ky, kx, ci) in this
 * order, from 0, of value(x) * (float)w; taps outside the image left out. x [n][h][w][c] float, w [o][kh][kw][c /
 * groups] int8. linear_i8f32, linear_i4f32: sixteen partial sums p[j], p[j] = sum over k = j mod 16 in rising order
 * from 0; then p[j] += p[j + 8] (j < 8), p[j] += p[j + 4] (j < 4), p[j] += p[j + 2], p[0] += p[1]. x [m][k] float; i8:
 * w [o][k] int8; i4: w [o][row], codes 0..15 meaning code - 8, two a byte, even k in the low nibble, row =
 * eq_row_bytes(4 * k). The weight's scale belongs into e->scale. */
size_t eq_conv2d_i8f32_scratch(const eq_conv2d *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_conv2d_i8f32(const eq_conv2d *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                          const eq_threads *threads, void *scratch, size_t scratch_bytes);
size_t eq_linear_i8f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_linear_i8f32(const eq_linear *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                          const eq_threads *threads, void *scratch, size_t scratch_bytes);
size_t eq_linear_i4f32_scratch(const eq_linear *op, const eq_epilogue *e, const eq_threads *threads);
eq_status eq_linear_i4f32(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w,
                          const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes);

/* ---- glue
 * --------------------------------------------------------------------------------------------------------------- The
 * epilogue alone, over an accumulator that an earlier call stored: the unfused twin of the fused operators. acc
 * [n][h][w][o] int32. */
size_t eq_epilogue_i32_scratch(uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e);
eq_status eq_epilogue_i32(const int32_t *acc, uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e,
                          void *scratch, size_t scratch_bytes);
/* out[n][c] = mean over the image in the order that eq_epilogue.out_mean states. */
size_t eq_mean_hw_scratch(uint32_t n, uint32_t h, uint32_t w, uint32_t c);
eq_status eq_mean_hw(const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c, float *out, void *scratch,
                     size_t scratch_bytes);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
