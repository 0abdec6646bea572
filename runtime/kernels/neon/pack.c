#include "v16.h"

#include "kernels/simd/pack.h"
