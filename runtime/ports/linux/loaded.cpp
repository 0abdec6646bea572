#include "loaded.h"

#include <cstring>
#include <fstream>

#include "litert_program.h"
#include "program.h"

namespace edgeq {

static bool is_tflite(const std::string &path) {
  char head[8] = {};
  std::ifstream(path, std::ios::binary).read(head, sizeof head);
  return std::memcmp(head + 4, "TFL3", 4) == 0;
}

std::unique_ptr<Loaded> Loaded::load(const std::string &path, const char *method, uint64_t limit_bytes,
                                     const Loaded *sibling, eq_failure *failure) {
  if (is_tflite(path))
    return LitertProgram::load(path, method, limit_bytes, dynamic_cast<const LitertProgram *>(sibling), failure);
  return Program::load(path, method, limit_bytes, dynamic_cast<const Program *>(sibling), nullptr, failure);
}

} // namespace edgeq
