/* The table of all operators. Firmware that needs fewer defines its own in place of this file. */
#include "operators.h"

const eqm_operator eqm_operators[] = {
    {"edgeq::pack_sign.out", eqm_pack_sign},
    {"edgeq::conv2d_b1b1.out", eqm_conv2d_b1b1},
    {"edgeq::conv2d_b1b1_fused.out", eqm_conv2d_b1b1_fused},
    {"edgeq::linear_b1b1.out", eqm_linear_b1b1},
    {"edgeq::conv2d_i8f32.out", eqm_conv2d_i8f32},
    {"edgeq::conv2d_i8f32_fused.out", eqm_conv2d_i8f32_fused},
    {"edgeq::linear_i8f32.out", eqm_linear_i8f32},
    {"edgeq::linear_i4f32.out", eqm_linear_i4f32},
    {"edgeq::squeeze_excite_i4f32.out", eqm_squeeze_excite_i4f32},
    {"edgeq::quantise_i8.out", eqm_quantise_i8},
    {"edgeq::conv2d_s2i8.out", eqm_conv2d_s2i8},
    {"edgeq::conv2d_s3i8.out", eqm_conv2d_s3i8},
    {"edgeq::conv2d_s4i8.out", eqm_conv2d_s4i8},
    {"edgeq::conv2d_i8i8.out", eqm_conv2d_i8i8},
    {"edgeq::epilogue.out", eqm_epilogue},
    {"edgeq::mean_hw.out", eqm_mean_hw},
};
const uint32_t eqm_operator_count = sizeof eqm_operators / sizeof *eqm_operators;
