#include "call.h"

#include <cstdlib>
#include <utility>

#include "edgeq_executorch.h"

namespace edgeq {

using executorch::aten::SizesType;
using executorch::runtime::Error;

namespace {

constexpr size_t kLine = 64, kMostRank = 8;

// The way out when the caller installed no allocator for temporaries: a block per thread that only grows.
class ThreadBlock {
public:
  ~ThreadBlock() { std::free(block_); }
  void *get(size_t bytes) {
    if (bytes > size_) {
      std::free(block_);
      size_ = posix_memalign(&block_, kLine, bytes) == 0 ? bytes : 0;
      if (size_ == 0) block_ = nullptr;
    }
    return block_;
  }

private:
  void *block_ = nullptr;
  size_t size_ = 0;
};

thread_local Tiles *lent = nullptr;

} // namespace

void Tiles::lend(Tiles *tiles) { lent = tiles; }
Tiles *Tiles::borrow() { return std::exchange(lent, nullptr); }

Tiles::~Tiles() { std::free(memory_); }

bool Tiles::allocate(size_t bytes) {
  std::free(std::exchange(memory_, nullptr));
  if (bytes == 0 || posix_memalign(&memory_, kLine, bytes) != 0) memory_ = nullptr;
  return memory_ != nullptr;
}

Call::Call(KernelRuntimeContext &context, Span<EValue *> stack, const char *name, size_t arguments, size_t outs)
    : context_(context), traced_(context.internal_event_tracer(), name), stack_(stack), name_(name),
      tiles_(Tiles::borrow()) {
  const size_t expected = arguments + outs;
  require(*edgeq_settings_error() == 0, edgeq_settings_error());
  require(stack.size() == expected || stack.size() == expected + 1, "wrong number of arguments");
}

bool Call::fail(const char *why) {
  if (good_) {
    ET_LOG(Error, "%s: %s", name_, why);
    context_.fail(Error::InvalidArgument);
  }
  return good_ = false;
}

EValue *Call::next() {
  if (good_ && at_ >= stack_.size()) fail("too few arguments");
  return good_ ? stack_[at_++] : nullptr;
}

bool Call::usable(const Tensor &tensor, ScalarType type, const char *what) {
  const void *bytes = tensor.const_data_ptr();
  bool sound = tensor.scalar_type() == type && tensor.dim() <= static_cast<ssize_t>(kMostRank) && bytes &&
               reinterpret_cast<uintptr_t>(bytes) % static_cast<size_t>(tensor.element_size()) == 0;
  const auto order = tensor.dim_order();
  for (size_t d = 0; d < order.size(); d++) sound = sound && order[d] == d;
  return sound || fail(what);
}

const Tensor *Call::tensor(ScalarType type, const char *what) {
  EValue *value = next();
  if (!value || !require(value->isTensor(), what)) return nullptr;
  const Tensor &tensor = value->toTensor();
  return usable(tensor, type, what) && require(tensor.numel() > 0, what) ? &tensor : nullptr;
}

const Tensor *Call::optional_tensor(ScalarType type, const char *what) {
  if (good_ && at_ < stack_.size() && stack_[at_]->isNone()) {
    at_++;
    return nullptr;
  }
  return tensor(type, what);
}

const Tensor *Call::optional_tensor(const char *what) {
  EValue *value = next();
  if (!value || value->isNone() || !require(value->isTensor(), what)) return nullptr;
  const Tensor &tensor = value->toTensor();
  return usable(tensor, tensor.scalar_type(), what) && require(tensor.numel() > 0, what) ? &tensor : nullptr;
}

uint32_t Call::integer(uint32_t most, const char *what) {
  EValue *value = next();
  if (!value || !require(value->isInt(), what)) return 0;
  const int64_t number = value->toInt();
  return require(number >= 0 && number <= most, what) ? static_cast<uint32_t>(number) : 0;
}

double Call::number(const char *what) {
  EValue *value = next();
  return value && require(value->isDouble(), what) ? value->toDouble() : 0;
}

void *Call::resize(Tensor &tensor, const SizesType *sizes, size_t rank, const char *what) {
  if (executorch::runtime::resize_tensor(tensor, {sizes, rank}) != Error::Ok) {
    fail(what);
    return nullptr;
  }
  return tensor.mutable_data_ptr();
}

void *Call::out(ScalarType type, std::initializer_list<uint64_t> extents, const char *what) {
  Extents all;
  for (const uint64_t e : extents) all = all.then(e);
  return out(type, all, what);
}

void *Call::out(ScalarType type, const Extents &extents, const char *what) {
  EValue *value = next();
  if (!value || !require(value->isTensor(), what)) return nullptr;
  Tensor &tensor = value->toTensor();
  if (!usable(tensor, type, what)) return nullptr;
  SizesType sizes[kMostRank];
  for (size_t d = 0; d < extents.rank; d++) {
    if (!require(extents.at[d] <= INT32_MAX, what)) return nullptr;
    sizes[d] = static_cast<SizesType>(extents.at[d]);
  }
  return resize(tensor, sizes, extents.rank, what);
}

void *Call::out_like(ScalarType type, const Tensor &x, uint64_t last, const char *what) {
  EValue *value = next();
  if (!value || !require(value->isTensor() && last <= INT32_MAX, what)) return nullptr;
  Tensor &tensor = value->toTensor();
  if (!usable(tensor, type, what)) return nullptr;
  SizesType sizes[kMostRank];
  const auto rank = static_cast<size_t>(x.dim());
  for (size_t d = 0; d < rank; d++) sizes[d] = x.sizes()[d];
  sizes[rank - 1] = static_cast<SizesType>(last);
  return resize(tensor, sizes, rank, what);
}

void *Call::planes_like(uint64_t planes, const Tensor &x, uint64_t last, const char *what) {
  EValue *value = next();
  const auto rank = static_cast<size_t>(x.dim());
  if (!value || !require(value->isTensor() && last <= INT32_MAX && rank < kMostRank, what)) return nullptr;
  Tensor &tensor = value->toTensor();
  if (!usable(tensor, ScalarType::Byte, what)) return nullptr;
  SizesType sizes[kMostRank] = {static_cast<SizesType>(planes)};
  for (size_t d = 0; d < rank; d++) sizes[d + 1] = x.sizes()[d];
  sizes[rank] = static_cast<SizesType>(last);
  return resize(tensor, sizes, rank + 1, what);
}

void *Call::scratch(size_t bytes) {
  if (!good_ || bytes == 0) return nullptr;
  if (auto memory = context_.allocate_temp(bytes, kLine); memory.ok()) return memory.get();
  static thread_local ThreadBlock block;
  void *memory = block.get(bytes);
  require(memory != nullptr, "no memory for scratch");
  return memory;
}

void Call::finish(eq_status status) {
  if (good_ && status != EQ_OK) fail(eq_status_text(status));
}

bool register_operators(std::initializer_list<Operator> operators) {
  bool good = true;
  for (const Operator &op : operators)
    good &= executorch::runtime::register_kernel(executorch::runtime::Kernel(op.name, op.function)) == Error::Ok;
  return good;
}

uint64_t rows(const Tensor &t) {
  uint64_t count = 1;
  for (ssize_t d = 0; d + 1 < t.dim(); d++) count *= static_cast<uint64_t>(t.size(d));
  return count;
}

} // namespace edgeq
