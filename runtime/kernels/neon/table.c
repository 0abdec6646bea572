#include "v16.h"

#include "kernels/simd/table.h"

const eq_kernels eq_kernels_neon =
    EQ_TABLE(eq_accumulate_b1_neon, eq_accumulate_t2_neon, .fold_tile = eq_fold_tile_neon,
             .fold_patches = eq_fold_patches_neon, .fold = {1, 1, 1, 64, 4088});
