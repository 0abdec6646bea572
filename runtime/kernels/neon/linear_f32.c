#include "v16.h"

#include "kernels/simd/linear_f32.h"
