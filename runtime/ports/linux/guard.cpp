#include "guard.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace edgeq {
namespace {

constexpr size_t kSide = 64; // data stay on cache lines
constexpr uint8_t kPaint = 0xa5;
std::string report;

bool painted(uint8_t byte) { return byte == kPaint; }

} // namespace

void guard_into(const std::string &file) { report = file; }

size_t guard_bytes() { return report.empty() ? 0 : kSide; }

void guard_paint(uint8_t *memory, size_t size) {
  if (guard_bytes() > 0) std::memset(memory, kPaint, size + 2 * kSide);
}

void guard_tell(const char *what, const uint8_t *memory, size_t size) {
  if (guard_bytes() == 0) return;
  const uint8_t *const data = memory + kSide, *const end = data + size;
  const bool intact = std::all_of(memory, data, painted) && std::all_of(end, end + kSide, painted);
  size_t used = size;
  while (used > 0 && painted(data[used - 1])) used--;
  if (std::FILE *file = std::fopen(report.c_str(), "a")) {
    std::fprintf(file, "%s %zu %zu %s\n", what, size, used, intact ? "intact" : "broken");
    std::fclose(file);
  }
}

} // namespace edgeq
