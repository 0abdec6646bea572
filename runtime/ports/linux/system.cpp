#include "system.h"

#include <sched.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <chrono>
#include <fstream>
#include <sstream>

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

// Arm's own cores, by the part number that /proc/cpuinfo gives for implementer 0x41.
struct Part {
  unsigned long number;
  const char *name;
};
const Part kParts[] = {{0xd03, "Cortex-A53"},  {0xd04, "Cortex-A35"},  {0xd05, "Cortex-A55"},  {0xd07, "Cortex-A57"},
                       {0xd08, "Cortex-A72"},  {0xd09, "Cortex-A73"},  {0xd0a, "Cortex-A75"},  {0xd0b, "Cortex-A76"},
                       {0xd0c, "Neoverse-N1"}, {0xd0d, "Cortex-A77"},  {0xd40, "Neoverse-V1"}, {0xd41, "Cortex-A78"},
                       {0xd44, "Cortex-X1"},   {0xd46, "Cortex-A510"}, {0xd47, "Cortex-A710"}, {0xd48, "Cortex-X2"},
                       {0xd49, "Neoverse-N2"}, {0xd4d, "Cortex-A715"}, {0xd4e, "Cortex-X3"},   {0xd4f, "Neoverse-V2"},
                       {0xd80, "Cortex-A520"}, {0xd81, "Cortex-A720"}, {0xd82, "Cortex-X4"}};

// "Cortex-A76, Cortex-A55": each kind of core once; empty when /proc/cpuinfo does not number them.
std::string arm_cores() {
  std::ifstream file("/proc/cpuinfo");
  std::string names;
  bool arm = false;
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const unsigned long value = std::strtoul(line.c_str() + colon + 1, nullptr, 0);
    if (line.compare(0, 15, "CPU implementer") == 0) arm = value == 0x41;
    if (!arm || line.compare(0, 8, "CPU part") != 0) continue;
    for (const Part &part : kParts)
      if (part.number == value && names.find(part.name) == std::string::npos)
        names += (names.empty() ? "" : ", ") + std::string(part.name);
  }
  return names;
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
  if (std::string names = arm_cores(); !names.empty()) return names;
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

void pin_to_cores(const std::string &list) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, ',');) {
    char *end = nullptr;
    const unsigned long first = std::strtoul(part.c_str(), &end, 10);
    const unsigned long last = *end == '-' ? std::strtoul(end + 1, nullptr, 10) : first;
    for (unsigned long core = first; core <= last && core < CPU_SETSIZE; core++) CPU_SET(core, &cores);
  }
  ::sched_setaffinity(0, sizeof cores, &cores);
}

uint64_t monotonic_ns() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

} // namespace edgeq
