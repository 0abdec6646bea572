#include "v16.h"

#include "kernels/simd/epilogue.h"
