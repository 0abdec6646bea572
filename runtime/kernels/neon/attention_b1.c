#include "v16.h"

#include "kernels/simd/attention_b1.h"
