#include "v16.h"

#include "kernels/simd/conv2d_f32.h"
