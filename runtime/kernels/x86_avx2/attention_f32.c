#include "v16.h"

#include "kernels/simd/attention_f32.h"
