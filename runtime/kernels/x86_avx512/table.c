#include "v16.h"

#include "kernels/simd/table.h"

const eq_kernels eq_kernels_avx512 =
    EQ_TABLE(eq_accumulate_b1_avx512, eq_accumulate_t2_avx512, .output_b1 = eq_output_b1_avx512,
             .output_t2 = eq_output_t2_avx512, .fold_tile = eq_fold_tile_avx512, .fold_patches = eq_fold_patches_avx512,
             .fold = {1, 1, 1, 128, UINT32_MAX});
