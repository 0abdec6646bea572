#include "v16.h"

#include "kernels/simd/table.h"

const eq_kernels eq_kernels_avx2 = EQ_TABLE(eq_accumulate_b1_avx2, eq_accumulate_t2_avx2, .fold_words = 0);
