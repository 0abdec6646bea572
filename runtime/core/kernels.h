#ifndef EQ_CORE_KERNELS_H
#define EQ_CORE_KERNELS_H
typedef struct eq_kernels eq_kernels;
extern const eq_kernels eq_kernels_avx2, eq_kernels_avx512, eq_kernels_neon, eq_kernels_neon_dotprod;
#endif
