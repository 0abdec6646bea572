#include "words.h"

#include "kernels/simd/attention_b1.h"
