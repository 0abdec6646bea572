// One loaded method of one .pte, with the memory it needs.
#pragma once

#include <executorch/extension/data_loader/mmap_data_loader.h>
#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/executor/method.h>
#include <executorch/runtime/executor/program.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../../proto/agent.h"
#include "loaded.h"
#include "scratch.h"

namespace edgeq {

// Bytes that start on a cache line, zero at first and touched only when used.
class Buffer {
public:
  Buffer() = default;
  // Empty (size 0) when there is no memory. arena: between guards, if there are any (guard.h)
  explicit Buffer(size_t size, bool arena = false);
  uint8_t *data() const { return bytes_.get(); }
  size_t size() const { return size_; }

private:
  struct Free {
    size_t length; // with its guards
    bool guarded;
    void operator()(uint8_t *bytes) const;
  };
  std::unique_ptr<uint8_t, Free> bytes_{nullptr, Free{0, false}};
  size_t size_ = 0;
};

class Program : public Loaded {
public:
  // Loads and checks; nullptr with *failure set when the file is not a program that can run here.
  //   limit_bytes   refuse a program that plans more memory than this
  //   sibling       a loaded method of the same file, or nullptr: what the file's methods keep between runs (planned
  //                 buffers past the first, of equal size) is shared with it
  //   tracer        receives events while the method runs, or nullptr
  static std::unique_ptr<Program> load(const std::string &path, const char *method, uint64_t limit_bytes,
                                       const Program *sibling, executorch::runtime::EventTracer *tracer,
                                       eq_failure *failure);
  Program(const Program &) = delete;
  Program &operator=(const Program &) = delete;

  const std::vector<eq_tensor> &inputs() const override { return inputs_; }
  const std::vector<eq_tensor> &outputs() const override { return outputs_; }
  uint64_t planned_bytes() const override { return planned_bytes_; }
  uint64_t program_bytes() const override { return program_bytes_; }
  uint8_t *input(size_t index) const override { return input_buffers_[index].data(); }
  const uint8_t *output(size_t index) const override;
  // Hands the inputs to the method (the planner reuses their memory, so each time) and executes it.
  bool run(eq_failure *failure) override;

private:
  Program() = default;
  bool open(const std::string &path, eq_failure *failure);
  bool plan(const char *method, uint64_t limit_bytes, const Program *sibling, eq_failure *failure);
  bool bind(eq_failure *failure);

  std::optional<executorch::extension::MmapDataLoader> loader_;
  std::optional<executorch::runtime::Program> program_;
  std::vector<std::shared_ptr<Buffer>> planned_;
  std::vector<executorch::runtime::Span<uint8_t>> spans_;
  std::optional<executorch::runtime::HierarchicalAllocator> planner_;
  executorch::extension::MallocMemoryAllocator runtime_memory_;
  Scratch scratch_;
  std::optional<executorch::runtime::MemoryManager> memory_;
  std::optional<executorch::runtime::Method> method_;
  std::vector<eq_tensor> inputs_, outputs_;
  std::vector<Buffer> input_buffers_, output_buffers_;
  std::vector<executorch::extension::TensorPtr> input_tensors_;
  uint64_t planned_bytes_ = 0, program_bytes_ = 0;
};

} // namespace edgeq
