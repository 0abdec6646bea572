#include "v16.h"

#include "kernels/simd/embedding.h"
