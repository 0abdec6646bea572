/* Kernels for 32-bit cores without vector unit: Armv6-M to Armv8-M, RV32, any other. C that compilers turn into few
 * instructions; the DSP extension of Armv7E-M and the bit counting of RV32 Zbb where the compiler says that they are
 * there. Weights are read in place, in canonical form. Same bits as kernels/ref.
 *
 * Arguments have been checked by the caller (core/check.h). Of an epilogue they honour what the operators of the micro
 * runtime can ask for: out_acc, out, out_bits, out_mean, every activation but GELU, float residuals. A result may lie
 * where a residual of its own shape lies. Scratch is 4-byte aligned; its sizes are mirrored by edgeq/compile/micro.py.
 */
#ifndef EQ_KERNELS_MCU_H
#define EQ_KERNELS_MCU_H

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

uint64_t eq_epilogue_mcu_scratch(const eq_epilogue *e, uint32_t o);
void eq_epilogue_i32_mcu(const int32_t *acc, uint32_t n, uint32_t h, uint32_t w, uint32_t o, const eq_epilogue *e,
                         void *scratch);
/* scratch: c floats */
void eq_mean_hw_mcu(const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c, float *out, float *row);
void eq_pack_b1_mcu(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);

#endif
