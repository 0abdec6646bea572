/* What every operator verifies before it touches memory. */
#ifndef EQ_CORE_CHECK_H
#define EQ_CORE_CHECK_H

#include "edgeq/integer.h"

/* 1 <= a * b * c * d <= 2^31 - 1, without overflow on the way. */
bool eq_extent_ok(uint32_t a, uint32_t b, uint32_t c, uint32_t d);

eq_status eq_check_conv2d(const eq_conv2d *op);
eq_status eq_check_linear(const eq_linear *op);
/* e against an output of n images of h x w pixels with o channels; integer: is there an int32 accumulator to store? */
eq_status eq_check_epilogue(const eq_epilogue *e, uint32_t n, uint32_t h, uint32_t w, uint32_t o, bool integer);
/* Convolutions of bits: op, groups of whole bytes unless depthwise; and e. */
eq_status eq_check_bit_shape(const eq_conv2d *op);
eq_status eq_check_bit_conv2d(const eq_conv2d *op, const eq_epilogue *e);
/* What describes k inputs of an output: the group and the kind of zeros. */
eq_status eq_check_weights_i4(const eq_weights_i4 *w, uint32_t k);
/* Are the arrays there that go with the description? */
bool eq_weights_i4_given(const eq_weights_i4 *w);
/* -128 <= low <= high <= 127 */
bool eq_grid_ok(const eq_grid *grid);
bool eq_threads_ok(const eq_threads *threads);
eq_status eq_check_quant(const eq_quant *q);

/* Does r have to be averaged 3x3, stride 2, to become h x w? (Checked residuals only: otherwise it has that size.) */
static inline bool eq_residual_pools(const eq_residual *r, uint32_t h, uint32_t w) { return r->h != h || r->w != w; }

#endif
