// Which kernels this machine takes for which shapes, and what is fastest on it (edgeq/choices.h).
#pragma once

#include <cstdint>
#include <string>

namespace edgeq {

// A line for each instruction set in use and choice: ISA CHOICE VALUE BUILT_IN LEAST MOST.
std::string kernel_choices();

// Measures the values of one choice in turns with what is built in, thread CPU time, the least of the turns; a value
// must be better by 3 % to be taken. Throws std::runtime_error for names that there are not, and when two values give
// different bits.
uint32_t fastest_choice(const std::string &isa, const std::string &choice);

} // namespace edgeq
