#include "v16.h"

#include "kernels/simd/residual.h"
