#include "v16.h"

#include "kernels/simd/layer_norm.h"
