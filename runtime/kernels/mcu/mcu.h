/* Kernels for 32-bit cores without vector unit: Armv6-M to Armv8-M, RV32, any other. C that compilers turn into few
 * instructions; the DSP extension of Armv7E-M and the bit counting of RV32 Zbb where the compiler says that they are
 * there. Weights are read in place, in canonical form. Same bits as kernels/ref.
 *
 * Arguments have been checked by the caller (core/check.h). Of an epilogue they honour what the operators of the micro
 * runtime can ask for: out_acc, out, out_bits, out_mean, every activation but GELU, float residuals. A result may lie
 * where a residual of its own shape lies. Scratch is 4-byte aligned; its sizes are mirrored by edgeq/compile/micro.py.
 * Compiled with EQ_MOMENTS they give the moments of e->tuning too; its corrections are the caller's. */
#ifndef EQ_KERNELS_MCU_H
#define EQ_KERNELS_MCU_H

#include "core/weights.h"
#include "edgeq/ops.h"

uint64_t eq_conv2d_b1b1_mcu_scratch(const eq_conv2d *op, const eq_epilogue *e);
void eq_conv2d_b1b1_mcu(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, void *scratch);

/* x [m][row], w [o][row] -> e->out_acc [m][o], nothing else of e is honoured; scratch: one row, rounded up to words */
uint64_t eq_linear_b1b1_mcu_scratch(const eq_linear *op);
void eq_linear_b1b1_mcu(const eq_linear *op, const uint8_t *x, const uint8_t *w, int32_t *out, void *scratch);

uint64_t eq_conv2d_i8f32_mcu_scratch(const eq_conv2d *op, const eq_epilogue *e);
void eq_conv2d_i8f32_mcu(const eq_conv2d *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                         void *scratch);

uint64_t eq_linear_f32_mcu_scratch(const eq_linear *op, const eq_epilogue *e);
void eq_linear_i8f32_mcu(const eq_linear *op, const float *x, const eq_quant *q, const int8_t *w, const eq_epilogue *e,
                         void *scratch);
void eq_linear_i4f32_mcu(const eq_linear *op, const float *x, const eq_quant *q, const uint8_t *w, const eq_epilogue *e,
                         void *scratch);

/* Weights s2 s3 s4 i8, no depthwise bits. Of e: scale, bias, one residual of the output's own shape (float or codes),
 * NONE or RELU; out, out_i8, out_mean. row: o floats for out_mean, 2 o floats for moments */
void eq_conv2d_i8_mcu(const eq_conv2d *op, const int8_t *x, const eq_weights *w, const eq_epilogue *e, float *row);
void eq_quantise_i8_mcu(const float *x, size_t count, const eq_grid *grid, int8_t *codes);

uint64_t eq_epilogue_mcu_scratch(const eq_epilogue *e, uint32_t o);
void eq_epilogue_i32_mcu(const int32_t *acc, uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e,
                         void *scratch);
/* scratch: c floats */
void eq_mean_hw_mcu(const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c, float *out, float *row);
void eq_pack_b1_mcu(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);

#endif
