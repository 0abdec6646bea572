/* Products of bit-planes other than signs against signs. */
#ifndef EQ_KERNELS_REF_BITS_H
#define EQ_KERNELS_REF_BITS_H

#include "ref.h"

/* Sum of the products of signs where `nonzero` is set, over whole rows. */
int32_t eq_masked_dot(const uint8_t *sign, const uint8_t *nonzero, const uint8_t *w, size_t bytes);

/* row: o floats of scratch */
void eq_conv2d_b1t2_ref(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row);
void eq_conv2d_b1u1_ref(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row);
void eq_conv2d_t2b1_ref(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row);
void eq_linear_b1t2_ref(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row);
void eq_linear_b1u1_ref(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row);
void eq_linear_t2b1_ref(const eq_linear *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, float *row);

#endif
