#include "v16.h"

#include "kernels/simd/table.h"

const eq_kernels eq_kernels_avx2 = EQ_TABLE(
    eq_accumulate_b1_avx2, eq_accumulate_t2_avx2, .output_b1 = eq_output_b1_avx2, .output_t2 = eq_output_t2_avx2,
    .output_steps = 8, .fold_patches = eq_fold_patches_avx2, .fold = {2, 3, 2, 32, 2047});
