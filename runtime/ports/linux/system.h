// What Linux tells about the machine and this process.
#pragma once

#include <cstdint>
#include <string>

namespace edgeq {

std::string machine_name(); // host name
std::string cpu_name();     // model name of the processor, or its architecture
std::string architecture(); // as uname -m
uint64_t memory_bytes();    // installed
uint64_t resident_bytes();  // of this process, now
uint64_t peak_bytes();      // of this process, since restart_peak() or its start
void restart_peak();
uint64_t monotonic_ns();
// Keeps this process on cores like "4-7" or "0,2"; cores that there are not, and refusals, are passed over.
void pin_to_cores(const std::string &list);

} // namespace edgeq
