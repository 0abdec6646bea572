// One method of a program, ready to run, whatever its format.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../../proto/agent.h"

namespace edgeq {

class Loaded {
public:
  virtual ~Loaded() = default;
  virtual const std::vector<eq_tensor> &inputs() const = 0;
  virtual const std::vector<eq_tensor> &outputs() const = 0;
  virtual uint64_t planned_bytes() const = 0; // of arenas; 0: the format does not tell
  virtual uint64_t program_bytes() const = 0;
  virtual uint8_t *input(size_t index) const = 0;
  // Valid after run().
  virtual const uint8_t *output(size_t index) const = 0;
  virtual bool run(eq_failure *failure) = 0;

  // Loads and checks a .pte or .tflite; nullptr with *failure set when it cannot run here.
  //   limit_bytes   refuse a program that plans more memory than this
  //   sibling       a loaded method of the same file, or nullptr: what the file's methods keep between runs is shared
  static std::unique_ptr<Loaded> load(const std::string &path, const char *method, uint64_t limit_bytes,
                                      const Loaded *sibling, eq_failure *failure);
};

} // namespace edgeq
