#include "litert_program.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "../litert/compiled_model_abi.h"

namespace edgeq {
namespace {

constexpr int kHostMemory = 1, kCpu = 1;
constexpr char kState[] = "state.", kInput[] = "input_", kOutput[] = "output_";

// The functions of both libraries that are used here.
struct Litert {
  int (*CreateEnvironment)(int, const void *, void **);
  int (*CreateModelFromFile)(void *, const char *, void **);
  void (*DestroyModel)(void *);
  int (*CreateOptions)(void **);
  void (*DestroyOptions)(void *);
  int (*SetOptionsHardwareAccelerators)(void *, int);
  int (*CreateCompiledModel)(void *, void *, void *, void **);
  void (*DestroyCompiledModel)(void *);
  int (*GetNumModelSignatures)(void *, size_t *);
  int (*GetModelSignature)(void *, size_t, void **);
  int (*GetSignatureKey)(void *, const char **);
  int (*GetNumSignatureInputs)(void *, size_t *);
  int (*GetNumSignatureOutputs)(void *, size_t *);
  int (*GetSignatureInputName)(void *, size_t, const char **);
  int (*GetSignatureOutputName)(void *, size_t, const char **);
  int (*GetSignatureInputTensorByIndex)(void *, size_t, void **);
  int (*GetSignatureOutputTensorByIndex)(void *, size_t, void **);
  int (*GetRankedTensorType)(void *, lrt_tensor_type *);
  int (*CreateManagedTensorBuffer)(void *, int, const lrt_tensor_type *, size_t, void **);
  void (*DestroyTensorBuffer)(void *);
  int (*LockTensorBuffer)(void *, void **, int);
  int (*UnlockTensorBuffer)(void *);
  int (*RunCompiledModel)(void *, size_t, size_t, void **, size_t, void **);

  void *(*open)(unsigned);
  int (*add)(void *, void *);
  void (*close)(void *);
  const char *(*why)(void *);
  int (*enlist)(void *, unsigned);

  void *environment = nullptr;
  unsigned threads = 1;
  std::string library, fault = "this agent was started without --litert";
  bool tried = false;

  bool load();

private:
  template <class F>
  bool find(void *from, const char *name, F *function) {
    void *symbol = ::dlsym(from, name);
    std::memcpy(function, &symbol, sizeof symbol);
    if (!symbol) fault = std::string("no function ") + name;
    return symbol != nullptr;
  }
};

// The operators lie beside the agent.
std::string operators_path() {
  if (const char *chosen = std::getenv("EDGEQ_LITERT")) return chosen;
  std::string self(4096, '\0');
  const ssize_t size = ::readlink("/proc/self/exe", self.data(), self.size());
  self.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return self.substr(0, self.rfind('/') + 1) + "libedgeq_litert.so";
}

bool Litert::load() {
  if (tried || library.empty()) return environment != nullptr;
  tried = true;
  void *runtime = ::dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL); // the operators look for its functions
  void *operators = runtime ? ::dlopen(operators_path().c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (!operators) {
    fault = ::dlerror();
    return false;
  }
#define FIND(name) find(runtime, "LiteRt" #name, &name)
  const bool found = FIND(CreateEnvironment) && FIND(CreateModelFromFile) && FIND(DestroyModel) &&
                     FIND(CreateOptions) && FIND(DestroyOptions) && FIND(SetOptionsHardwareAccelerators) &&
                     FIND(CreateCompiledModel) && FIND(DestroyCompiledModel) && FIND(GetNumModelSignatures) &&
                     FIND(GetModelSignature) && FIND(GetSignatureKey) && FIND(GetNumSignatureInputs) &&
                     FIND(GetNumSignatureOutputs) && FIND(GetSignatureInputName) && FIND(GetSignatureOutputName) &&
                     FIND(GetSignatureInputTensorByIndex) && FIND(GetSignatureOutputTensorByIndex) &&
                     FIND(GetRankedTensorType) && FIND(CreateManagedTensorBuffer) && FIND(DestroyTensorBuffer) &&
                     FIND(LockTensorBuffer) && FIND(UnlockTensorBuffer) && FIND(RunCompiledModel) &&
                     find(operators, "edgeq_litert_open", &open) && find(operators, "edgeq_litert_add", &add) &&
                     find(operators, "edgeq_litert_close", &close) && find(operators, "edgeq_litert_why", &why) &&
                     find(operators, "edgeq_litert_register", &enlist);
#undef FIND
  if (found && CreateEnvironment(0, nullptr, &environment) != 0) fault = "no environment";
  if (environment) enlist(environment, threads);
  return environment != nullptr;
}

Litert &litert() {
  static Litert instance;
  return instance;
}

// ExecuTorch's number of an element type, which the protocol speaks; 255: none.
uint8_t dtype_of(int element_type) {
  switch (element_type) {
  case 1: return 6;
  case 2: return 3;
  case 3: return 0;
  case 4: return 4;
  case 6: return 11;
  case 7: return 2;
  case 9: return 1;
  case 10: return 5;
  default: return 255;
  }
}

bool describe(const lrt_tensor_type &type, eq_tensor *out) {
  *out = {};
  out->dtype = dtype_of(type.element_type);
  out->rank = type.layout.rank;
  size_t bytes = out->dtype == 255 || out->rank > EQ_RANK_MAX ? 0 : eq_dtype_bytes(out->dtype);
  for (unsigned d = 0; d < out->rank && bytes > 0; d++) {
    if (type.layout.dimensions[d] <= 0) return false;
    out->shape[d] = static_cast<uint32_t>(type.layout.dimensions[d]);
    if (__builtin_mul_overflow(bytes, size_t{out->shape[d]}, &bytes) || bytes > UINT32_MAX) return false;
  }
  out->bytes = bytes;
  return bytes > 0;
}

bool starts_with(const std::string &text, const char *start) { return text.rfind(start, 0) == 0; }

// The number behind `start`; `count` or more: it is no such name.
size_t number_of(const std::string &name, const char *start, size_t count) {
  const std::string digits = starts_with(name, start) ? name.substr(std::strlen(start)) : "";
  if (digits.empty() || digits.size() > 3 || digits.find_first_not_of("0123456789") != std::string::npos) return count;
  return static_cast<size_t>(std::stoul(digits));
}

} // namespace

void use_litert(const std::string &library, unsigned threads) {
  litert().library = library;
  litert().threads = threads;
}

bool LitertProgram::why(eq_failure *failure, const char *what, int status) const {
  eq_fail(failure, EQ_CODE_BAD_PROGRAM, what);
  if (const char *text = operators_ ? litert().why(operators_) : nullptr) {
    eq_fail_more(failure, ": ");
    return eq_fail_more(failure, text);
  }
  eq_fail_more(failure, ": LiteRT's status ");
  return eq_fail_number(failure, static_cast<size_t>(status));
}

std::unique_ptr<LitertProgram> LitertProgram::load(const std::string &path, const char *method, uint64_t limit_bytes,
                                                   const LitertProgram *sibling, eq_failure *failure) {
  if (!litert().load()) {
    eq_fail(failure, EQ_CODE_UNSUPPORTED, "no .tflite can run here: ");
    eq_fail_more(failure, litert().fault.c_str());
    return nullptr;
  }
  std::unique_ptr<LitertProgram> p(new LitertProgram);
  p->states_ = sibling ? sibling->states_ : std::make_shared<std::map<std::string, Bytes>>();
  const bool good =
      p->open(path, method, failure) && p->bind(false, limit_bytes, failure) && p->bind(true, limit_bytes, failure);
  return good ? std::move(p) : nullptr;
}

bool LitertProgram::open(const std::string &path, const char *method, eq_failure *failure) {
  Litert &l = litert();
  struct stat file{};
  if (::stat(path.c_str(), &file) == 0) program_bytes_ = static_cast<uint64_t>(file.st_size);
  if (const int status = l.CreateModelFromFile(l.environment, path.c_str(), &model_))
    return why(failure, "LiteRT cannot read the program", status);
  if (!find_method(method, failure)) return false;
  operators_ = l.open(l.threads);
  if (!operators_) {
    eq_fail(failure, EQ_CODE_UNSUPPORTED, "EdgeQ's operators for LiteRT: ");
    return eq_fail_more(failure, l.why(nullptr));
  }
  int status = l.CreateOptions(&options_);
  if (status == 0) status = l.SetOptionsHardwareAccelerators(options_, kCpu);
  if (status == 0) status = l.add(operators_, options_);
  if (status == 0) status = l.CreateCompiledModel(l.environment, model_, options_, &compiled_);
  const char *refused = l.why(operators_);
  if (status == 0 && !refused) return true;
  eq_fail(failure, EQ_CODE_BAD_PROGRAM, "LiteRT cannot prepare the program: ");
  return refused ? eq_fail_more(failure, refused) : eq_fail_number(failure, static_cast<size_t>(status));
}

bool LitertProgram::find_method(const char *method, eq_failure *failure) {
  Litert &l = litert();
  size_t count = 0;
  std::string known;
  if (const int status = l.GetNumModelSignatures(model_, &count)) return why(failure, "no signatures", status);
  for (size_t i = 0; i < count; i++) {
    const char *key = nullptr;
    void *signature = nullptr;
    if (l.GetModelSignature(model_, i, &signature) != 0 || l.GetSignatureKey(signature, &key) != 0) continue;
    if (std::strcmp(key, method) == 0) {
      signature_ = signature;
      signature_index_ = i;
      return true;
    }
    known += std::string(known.empty() ? " " : ", ") + key;
  }
  eq_fail(failure, EQ_CODE_NOT_FOUND, "the program has no method ");
  eq_fail_more(failure, method);
  eq_fail_more(failure, "; it has");
  return eq_fail_more(failure, known.c_str());
}

bool LitertProgram::bind(bool output, uint64_t limit_bytes, eq_failure *failure) {
  Litert &l = litert();
  size_t count = 0, visible = 0;
  if (const int status = (output ? l.GetNumSignatureOutputs : l.GetNumSignatureInputs)(signature_, &count))
    return why(failure, "a signature without tensors", status);
  if (count > 255) return eq_fail(failure, EQ_CODE_UNSUPPORTED, "more than 255 inputs or outputs");
  std::vector<std::string> names(count);
  std::vector<lrt_tensor_type> types(count);
  for (size_t i = 0; i < count; i++) {
    const char *name = nullptr;
    void *tensor = nullptr;
    int status = (output ? l.GetSignatureOutputName : l.GetSignatureInputName)(signature_, i, &name);
    if (status == 0)
      status = (output ? l.GetSignatureOutputTensorByIndex : l.GetSignatureInputTensorByIndex)(signature_, i, &tensor);
    if (status == 0) status = l.GetRankedTensorType(tensor, &types[i]);
    if (status != 0) return why(failure, "a tensor without a fixed shape", status);
    names[i] = name;
    visible += !starts_with(names[i], kState);
  }
  auto &tensors = output ? outputs_ : inputs_;
  auto &bytes = output ? output_bytes_ : input_bytes_;
  tensors.resize(visible);
  bytes.resize(visible);
  for (size_t i = 0; i < count; i++) {
    eq_tensor tensor;
    if (!describe(types[i], &tensor)) return eq_fail(failure, EQ_CODE_UNSUPPORTED, "a tensor of an unknown type");
    taken_bytes_ += tensor.bytes;
    if (taken_bytes_ > limit_bytes) return eq_fail(failure, EQ_CODE_NO_MEMORY, "inputs and outputs exceed the limit");
    Bytes *exchange = nullptr;
    if (starts_with(names[i], kState)) {
      exchange = &(*states_)[names[i]];
    } else {
      const size_t number = number_of(names[i], output ? kOutput : kInput, visible);
      if (number >= visible || !bytes[number].empty())
        return eq_fail(failure, EQ_CODE_BAD_PROGRAM, "a signature must name its tensors input_0, output_0 and so on");
      tensors[number] = tensor;
      exchange = &bytes[number];
    }
    if (exchange->empty()) exchange->resize(tensor.bytes);
    if (exchange->size() != tensor.bytes)
      return eq_fail(failure, EQ_CODE_BAD_PROGRAM, "two methods keep a tensor of one name and different sizes");
    void *buffer = nullptr;
    const int status = l.CreateManagedTensorBuffer(l.environment, kHostMemory, &types[i], tensor.bytes, &buffer);
    if (status != 0) return why(failure, "no memory for a tensor", status);
    (output ? out_ : in_).push_back({buffer, exchange});
    (output ? out_buffers_ : in_buffers_).push_back(buffer);
  }
  return true;
}

bool LitertProgram::run(eq_failure *failure) {
  Litert &l = litert();
  void *memory = nullptr;
  for (const Port &port : in_) {
    if (l.LockTensorBuffer(port.buffer, &memory, LRT_WRITE) != 0) return why(failure, "an input is locked", 0);
    std::memcpy(memory, port.bytes->data(), port.bytes->size());
    l.UnlockTensorBuffer(port.buffer);
  }
  const int status = l.RunCompiledModel(compiled_, signature_index_, in_buffers_.size(), in_buffers_.data(),
                                        out_buffers_.size(), out_buffers_.data());
  const char *refused = l.why(operators_);
  if (status != 0 || refused) {
    eq_fail(failure, EQ_CODE_RUN_FAILED, "the program stopped: ");
    return refused ? eq_fail_more(failure, refused) : eq_fail_number(failure, static_cast<size_t>(status));
  }
  for (const Port &port : out_) {
    if (l.LockTensorBuffer(port.buffer, &memory, LRT_READ) != 0) return why(failure, "an output is locked", 0);
    std::memcpy(port.bytes->data(), memory, port.bytes->size());
    l.UnlockTensorBuffer(port.buffer);
  }
  return true;
}

LitertProgram::~LitertProgram() {
  Litert &l = litert();
  if (!l.environment) return;
  for (void *buffer : in_buffers_) l.DestroyTensorBuffer(buffer);
  for (void *buffer : out_buffers_) l.DestroyTensorBuffer(buffer);
  if (compiled_) l.DestroyCompiledModel(compiled_);
  if (options_) l.DestroyOptions(options_);
  if (operators_) l.close(operators_);
  if (model_) l.DestroyModel(model_);
}

} // namespace edgeq
