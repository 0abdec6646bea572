// Memory for one kernel call at a time. Grows to what the hungriest call wanted and then never asks the system again.
#pragma once

#include <executorch/runtime/core/memory_allocator.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace edgeq {

class Scratch : public executorch::runtime::MemoryAllocator {
public:
  Scratch() : MemoryAllocator(0, nullptr) {}
  ~Scratch() override {
    reset();
    std::free(block_);
  }

  void *allocate(size_t size, size_t alignment = kDefaultAlignment) override {
    if (!isPowerOf2(alignment) || size > kMost) return nullptr;
    const size_t start = (used_ + alignment - 1) & ~(alignment - 1);
    wanted_ += size + alignment;
    if (alignment <= kLine && start <= size_ && size <= size_ - start) {
      used_ = start + size;
      return block_ + start;
    }
    void *extra = nullptr;
    if (posix_memalign(&extra, std::max(alignment, kLine), std::max<size_t>(size, 1)) != 0) return nullptr;
    extras_.push_back(extra);
    return extra;
  }

  void reset() override {
    for (void *extra : extras_) std::free(extra);
    if (!extras_.empty()) {
      std::free(block_);
      void *block = nullptr;
      size_ = posix_memalign(&block, kLine, wanted_) == 0 ? wanted_ : 0;
      block_ = static_cast<uint8_t *>(block);
    }
    extras_.clear();
    used_ = wanted_ = 0;
  }

private:
  static constexpr size_t kLine = 64, kMost = size_t{1} << 40;
  uint8_t *block_ = nullptr;
  size_t size_ = 0, used_ = 0, wanted_ = 0;
  std::vector<void *> extras_;
};

} // namespace edgeq
