#include "v16.h"

#include "kernels/simd/table.h"

const eq_kernels eq_kernels_avx512 = EQ_TABLE(eq_accumulate_b1_avx512, eq_accumulate_t2_avx512);
