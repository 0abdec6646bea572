// One call of an operator: its arguments, taken one after the other and checked. A program is hostile: a wrong kind of
// value, a wrong element type, a wrong extent or a missing buffer ends the call with an error and touches nothing.
//
// Kernels are registered in ExecuTorch's boxed form, because the unboxed one aborts the process on a value of the wrong
// kind and allows a single output.
#pragma once

#include <executorch/runtime/core/event_tracer_hooks.h>
#include <executorch/runtime/kernel/kernel_includes.h>
#include <executorch/runtime/kernel/operator_registry.h>

#include <initializer_list>
#include <iterator>

#include "edgeq/ops.h"
#include "settings.h"

namespace edgeq {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::runtime::EValue;
using executorch::runtime::KernelRuntimeContext;
using executorch::runtime::Span;

// Up to eight extents, outermost first.
struct Extents {
  uint64_t at[8];
  size_t rank = 0;

  Extents() = default;
  // Those of t from dimension `from` on, but for the last one.
  Extents(const Tensor &t, ssize_t from) {
    for (ssize_t d = from; d + 1 < t.dim(); d++) *this = then(static_cast<uint64_t>(t.size(d)));
  }
  Extents then(uint64_t extent) const {
    Extents longer = *this;
    if (rank < std::size(at)) longer.at[longer.rank++] = extent;
    return longer;
  }
  Extents behind(uint64_t extent) const {
    Extents longer = Extents().then(extent);
    for (size_t d = 0; d < rank; d++) longer = longer.then(at[d]);
    return longer;
  }
};

// Weights of one place in a program, tiled for the instruction set in use when it first runs. Programs keep them by
// calling an operator through EdgeQ's backend (backend.cpp), which knows when the program goes.
class Tiles {
public:
  Tiles() = default;
  Tiles(const Tiles &) = delete;
  Tiles &operator=(const Tiles &) = delete;
  ~Tiles();

  // make(memory) -> eq_status; bytes 0: cannot be tiled. nullptr: do without.
  template <class Make>
  const void *get(size_t bytes, const Make &make) {
    const eq_isa isa = eq_isa_current();
    if (memory_ && isa_ == isa) return memory_;
    if (allocate(bytes) && make(memory_) != EQ_OK) allocate(0);
    isa_ = isa;
    return memory_;
  }

  // Whose turn it is: what the next call of an operator on this thread will use.
  static void lend(Tiles *tiles);
  static Tiles *borrow();

private:
  bool allocate(size_t bytes);
  void *memory_ = nullptr;
  eq_isa isa_ = EQ_ISA_REF;
};

class Call {
public:
  // outs: outputs at the end of the argument list. ExecuTorch appends the result, or the list of results.
  Call(KernelRuntimeContext &context, Span<EValue *> stack, const char *name, size_t arguments, size_t outs);

  bool good() const { return good_; }
  // Records the first fault; always false.
  bool fail(const char *why);
  bool require(bool condition, const char *why) { return good_ && (condition || fail(why)); }

  // The next argument. After a fault they give nullptr or 0.
  const Tensor *tensor(ScalarType type, const char *what);
  const Tensor *optional_tensor(ScalarType type, const char *what);
  const Tensor *optional_tensor(const char *what); // of any element type
  uint32_t integer(uint32_t most, const char *what);
  double number(const char *what);
  // The next output, resized.
  void *out(ScalarType type, std::initializer_list<uint64_t> sizes, const char *what);
  void *out(ScalarType type, const Extents &extents, const char *what);
  // The same with the extents of x, but for the last one.
  void *out_like(ScalarType type, const Tensor &x, uint64_t last, const char *what);

  // The same as bytes, behind a further first extent.
  void *planes_like(uint64_t planes, const Tensor &x, uint64_t last, const char *what);

  // The next output is not wanted.
  void skip() { next(); }

  // 64-byte aligned memory until the call ends; nullptr and a fault when there is none.
  void *scratch(size_t bytes);
  // Tiles that outlive the call, as Tiles::get(); nullptr where the program does not keep them.
  template <class Make>
  const void *tiles(size_t bytes, const Make &make) {
    return good_ && tiles_ ? tiles_->get(bytes, make) : nullptr;
  }
  // Ends the call with the core's verdict.
  void finish(eq_status status);

private:
  EValue *next();
  bool usable(const Tensor &tensor, ScalarType type, const char *what);
  void *resize(Tensor &tensor, const executorch::aten::SizesType *sizes, size_t rank, const char *what);

  KernelRuntimeContext &context_;
  executorch::runtime::internal::EventTracerProfileOpScope traced_; // the operator's name in a profile
  Span<EValue *> stack_;
  const char *name_;
  Tiles *tiles_;
  size_t at_ = 0;
  bool good_ = true;
};

// The most that an extent or a product of extents may be; the core counts in 32 bits.
constexpr uint32_t kMost = INT32_MAX;

inline uint32_t extent(const Tensor &t, ssize_t d) { return static_cast<uint32_t>(t.size(d)); }
// Product of all extents but the last.
uint64_t rows(const Tensor &t);

template <class T>
const T *data(const Tensor *t) {
  return t ? static_cast<const T *>(t->const_data_ptr()) : nullptr;
}

// For a static initialiser of each file of operators. Names are literals.
struct Operator {
  const char *name;
  executorch::runtime::OpFunction function;
};
bool register_operators(std::initializer_list<Operator> operators);

} // namespace edgeq
