/* The EdgeQ operators, and what several of them have in common. Schemas: edgeq/ops. Kernels are those of kernels/mcu,
 * which read the weights in place, where the tiled ones would copy them all to RAM. */
#ifndef EQM_OPERATORS_H
#define EQM_OPERATORS_H

#include "call.h"
#include "core/check.h"
#include "edgeq/ops.h"
#include "kernels/mcu/mcu.h"

void eqm_pack_sign(eqm_call *c);
void eqm_conv2d_b1b1(eqm_call *c);
void eqm_conv2d_b1b1_fused(eqm_call *c);
void eqm_linear_b1b1(eqm_call *c);
void eqm_conv2d_i8f32(eqm_call *c);
void eqm_conv2d_i8f32_fused(eqm_call *c);
void eqm_linear_i8f32(eqm_call *c);
void eqm_linear_i4f32(eqm_call *c);
void eqm_squeeze_excite_i4f32(eqm_call *c);
void eqm_quantise_i8(eqm_call *c);
void eqm_conv2d_s2i8(eqm_call *c);
void eqm_conv2d_s3i8(eqm_call *c);
void eqm_conv2d_s4i8(eqm_call *c);
void eqm_conv2d_i8i8(eqm_call *c);
void eqm_epilogue(eqm_call *c);
void eqm_mean_hw(eqm_call *c);

/* No extent, product or parameter is larger. */
enum { EQM_MOST = INT32_MAX, EQM_MOST_STRIDE = 1 << 16 };

/* NULL for None. */
static inline const float *eqm_floats(const eqm_value *v) { return v ? (const float *)(const void *)v->data : NULL; }

/* act and params: float [2, 4 or with dprelu 5, 7][channels]. */
void eqm_take_activation(eqm_call *c, uint32_t channels, eq_epilogue *e);
/* local, block, gain: float or None. */
void eqm_take_residuals(eqm_call *c, uint32_t images, uint32_t channels, eq_epilogue *e);
/* want, then map, bits and mean. */
void eqm_take_outs(eqm_call *c, const eq_conv2d *op, eq_epilogue *e);

/* Fits a convolution over SAME or VALID windows to x [n][h][w][..] and w [o][kh][kw][..]; false: they do not fit. */
bool eqm_conv2d_geometry(eqm_call *c, const eqm_value *x, const eqm_value *w, uint32_t channels, uint32_t stride,
                         bool same, uint32_t groups, eq_conv2d *op);
/* Quantisers as the operators number them: 0 none, 1 signed 4 bit, 2 unsigned 4 bit, 3 signed 8 bit. */
enum { EQM_QUANTS = 4 };
eq_quant eqm_quant(uint32_t number, const float *steps, uint32_t channels);
/* steps (float [2][channels] or None) and the quantiser's number. */
eq_quant eqm_take_quant(eqm_call *c, uint32_t channels);

/* Convolutions of tunable programs are made of the same files, compiled once more (tuned/). Here this is nothing. */
#ifdef EQM_TUNED
#include "tuned/tuned.h"
#else
#define EQM_TUNING(c)
#define EQM_TAKE_MOMENTS(c, op, want, e)
#define EQM_NAME(name) name
enum { EQM_MORE = 0 };
#define EQM_SUMS(mean, want, o) (mean ? (uint64_t)o * sizeof(float) : 0)
#define EQM_READY(c, e, bytes) eqm_ready(c, bytes)
#endif

#endif
