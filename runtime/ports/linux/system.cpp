#include "system.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <chrono>
#include <fstream>

namespace edgeq {
namespace {

// The value of a "key : value" line of a file in /proc, empty if there is none.
std::string proc_value(const char *path, const std::string &key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const size_t colon = line.find(':');
    const size_t start = colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
    if (start != std::string::npos) return line.substr(start);
  }
  return {};
}

uint64_t status_bytes(const char *key) {
  const std::string value = proc_value("/proc/self/status", key);
  return value.empty() ? 0 : std::strtoull(value.c_str(), nullptr, 10) * 1024;
}

utsname system_name() {
  utsname name{};
  ::uname(&name);
  return name;
}

} // namespace

std::string machine_name() { return system_name().nodename; }
std::string architecture() { return system_name().machine; }

std::string cpu_name() {
  for (const char *key : {"model name", "Model", "Hardware"})
    if (std::string name = proc_value("/proc/cpuinfo", key); !name.empty()) return name;
  return architecture();
}

uint64_t memory_bytes() {
  struct sysinfo info{};
  return ::sysinfo(&info) == 0 ? static_cast<uint64_t>(info.totalram) * info.mem_unit : 0;
}

uint64_t resident_bytes() { return status_bytes("VmRSS"); }
uint64_t peak_bytes() { return status_bytes("VmHWM"); }

void restart_peak() { std::ofstream("/proc/self/clear_refs") << '5'; }

uint64_t monotonic_ns() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

} // namespace edgeq
