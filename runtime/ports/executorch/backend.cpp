// EdgeQ's backend for ExecuTorch: calls an operator with the arguments it has anyway, and keeps between the calls what
// the operator makes of its weights. Weights stay in the program in their canonical form; tiles are this place's own
// and go with the method. `edgeq.compile` turns calls with constant weights into calls of this backend.
#include <executorch/runtime/backend/interface.h>

#include <cstring>
#include <new>

#include "call.h"

namespace edgeq {
namespace {

using executorch::runtime::ArrayRef;
using executorch::runtime::BackendExecutionContext;
using executorch::runtime::BackendInitContext;
using executorch::runtime::BackendInterface;
using executorch::runtime::CompileSpec;
using executorch::runtime::DelegateHandle;
using executorch::runtime::Error;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::OpFunction;
using executorch::runtime::Result;

constexpr char kPrefix[] = "edgeq::";
constexpr size_t kLongestName = 63;

struct Place {
  OpFunction run;
  Tiles tiles;
};

class Backend final : public BackendInterface {
public:
  bool is_available() const override { return true; }

  // processed: the operator's name
  Result<DelegateHandle *> init(BackendInitContext &context, FreeableBuffer *processed,
                                ArrayRef<CompileSpec>) const override {
    char name[kLongestName + 1] = {};
    if (processed->size() > kLongestName || processed->size() < sizeof kPrefix) return unknown();
    std::memcpy(name, processed->data(), processed->size());
    if (std::strncmp(name, kPrefix, sizeof kPrefix - 1) != 0 || !plain(name)) return unknown();
    auto run = executorch::runtime::get_op_function_from_registry(name);
    if (!run.ok()) return unknown();
    processed->Free();
    auto *place = context.get_runtime_allocator()->allocateInstance<Place>();
    if (!place) return Error::MemoryAllocationFailed;
    return new (place) Place{run.get(), {}};
  }

  Error execute(BackendExecutionContext &context, DelegateHandle *handle, Span<EValue *> args) const override {
    auto *place = static_cast<Place *>(handle);
    KernelRuntimeContext kernel(context.event_tracer(), context.get_temp_allocator());
    Tiles::lend(&place->tiles);
    place->run(kernel, args);
    Tiles::lend(nullptr);
    return kernel.failure_state();
  }

  void destroy(DelegateHandle *handle) const override {
    if (handle) static_cast<Place *>(handle)->~Place();
  }

private:
  // ASCII: the registry logs names that it does not know, and Python's logger stops the process at any other byte.
  static bool plain(const char *name) {
    while (*name > ' ' && *name < 0x7f) name++;
    return *name == 0;
  }

  static Error unknown() { // without the name: it may be anything
    ET_LOG(Error, "EdgeqBackend: a program calls what is no operator of EdgeQ");
    return Error::DelegateInvalidCompatibility;
  }
};

Backend backend;
const auto registered = executorch::runtime::register_backend({"EdgeqBackend", &backend});

} // namespace
} // namespace edgeq
