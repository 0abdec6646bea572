// Instruction set and threads of the operators in this library.
#pragma once

#include <cstdint>

#include "edgeq/ops.h"

namespace edgeq {

// Threads for a call of this many multiply-adds: NULL (the calling thread alone) when the work is small or one thread
// is set.
const eq_threads *threads_for(uint64_t multiply_adds);

} // namespace edgeq
