#include "program.h"

#include <sys/mman.h>

#include <cstring>

#include "guard.h"
#include "runtime_log.h"

namespace edgeq {

using executorch::aten::ScalarType;
using executorch::aten::SizesType;
using executorch::extension::MmapDataLoader;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::Result;
using executorch::runtime::TensorInfo;

void Buffer::Free::operator()(uint8_t *bytes) const {
  const size_t side = guarded ? guard_bytes() : 0;
  if (guarded) guard_tell("arena", bytes - side, length - 2 * side);
  ::munmap(bytes - side, length);
}

Buffer::Buffer(size_t size, bool arena) {
  const size_t side = arena ? guard_bytes() : 0, length = (size == 0 ? 1 : size) + 2 * side;
  void *bytes = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (bytes == MAP_FAILED) return;
  bytes_ = {static_cast<uint8_t *>(bytes) + side, Free{length, side > 0}};
  if (side > 0) guard_paint(static_cast<uint8_t *>(bytes), length - 2 * side);
  size_ = size;
}

namespace {

bool refuse(eq_failure *failure, eq_code code, const char *what, Error error) {
  eq_fail(failure, code, what);
  eq_fail_more(failure, ": ");
  eq_fail_more(failure, executorch::runtime::to_string(error));
  if (const std::string &line = last_runtime_error(); !line.empty()) {
    eq_fail_more(failure, ": ");
    eq_fail_more(failure, line.c_str());
  }
  return false;
}

bool refuse_tensor(eq_failure *failure, bool output, size_t index, const char *why) {
  eq_fail(failure, EQ_CODE_UNSUPPORTED, output ? "output " : "input ");
  eq_fail_number(failure, index);
  return eq_fail_more(failure, why);
}

bool describe(const Result<TensorInfo> &info, bool output, size_t index, eq_tensor *out, eq_failure *failure) {
  if (!info.ok()) return refuse_tensor(failure, output, index, " is not a tensor; only tensors can be sent");
  const auto sizes = info->sizes();
  const auto order = info->dim_order();
  if (sizes.size() > EQ_RANK_MAX) return refuse_tensor(failure, output, index, " has more than 8 dimensions");
  for (size_t d = 0; d < order.size(); d++)
    if (order[d] != d) return refuse_tensor(failure, output, index, " is not contiguous; export it in row-major order");
  out->dtype = static_cast<uint8_t>(info->scalar_type());
  if (eq_dtype_bytes(out->dtype) == 0) return refuse_tensor(failure, output, index, " has an unknown element type");
  out->rank = static_cast<uint8_t>(sizes.size());
  for (size_t d = 0; d < sizes.size(); d++) out->shape[d] = static_cast<uint32_t>(sizes[d]);
  out->bytes = info->nbytes();
  return true;
}

} // namespace

std::unique_ptr<Program> Program::load(const std::string &path, const char *method, uint64_t limit_bytes,
                                       const Program *sibling, executorch::runtime::EventTracer *tracer,
                                       eq_failure *failure) {
  clear_runtime_error();
  std::unique_ptr<Program> p(new Program);
  if (!p->open(path, failure) || !p->plan(method, limit_bytes, sibling, failure)) return nullptr;
  Result<executorch::runtime::Method> loaded = p->program_->load_method(method, &*p->memory_, tracer);
  if (!loaded.ok()) {
    const bool missing = loaded.error() == Error::OperatorMissing || loaded.error() == Error::NotFound;
    refuse(failure, missing ? EQ_CODE_UNSUPPORTED : EQ_CODE_BAD_PROGRAM, "cannot load the method", loaded.error());
    return nullptr;
  }
  p->method_.emplace(std::move(*loaded));
  if (!p->bind(failure)) return nullptr;
  return p;
}

bool Program::open(const std::string &path, eq_failure *failure) {
  Result<MmapDataLoader> loader = MmapDataLoader::from(path.c_str(), MmapDataLoader::MlockConfig::NoMlock);
  if (!loader.ok()) return refuse(failure, EQ_CODE_STORE_FAILED, "cannot map the file", loader.error());
  loader_.emplace(std::move(*loader));
  program_bytes_ = loader_->size().get();
  Result<executorch::runtime::Program> program =
      executorch::runtime::Program::load(&*loader_, executorch::runtime::Program::Verification::InternalConsistency);
  if (!program.ok()) return refuse(failure, EQ_CODE_BAD_PROGRAM, "not a sound .pte program", program.error());
  program_.emplace(std::move(*program));
  return true;
}

bool Program::plan(const char *method, uint64_t limit_bytes, const Program *sibling, eq_failure *failure) {
  const auto meta = program_->method_meta(method);
  if (!meta.ok()) {
    eq_fail(failure, EQ_CODE_NOT_FOUND, "the program has no method ");
    eq_fail_more(failure, method);
    eq_fail_more(failure, "; it has");
    for (size_t i = 0; i < program_->num_methods(); i++) {
      eq_fail_more(failure, i == 0 ? " " : ", ");
      eq_fail_more(failure, program_->get_method_name(i).get());
    }
    return false;
  }
  for (size_t i = 0; i < meta->num_memory_planned_buffers(); i++) {
    const auto size = meta->memory_planned_buffer_size(i);
    if (!size.ok() || *size < 0) return eq_fail(failure, EQ_CODE_BAD_PROGRAM, "the program's memory plan is damaged");
    if (static_cast<uint64_t>(*size) > limit_bytes - planned_bytes_) {
      eq_fail(failure, EQ_CODE_NO_MEMORY, "the program plans more than the limit in bytes, ");
      return eq_fail_number(failure, limit_bytes);
    }
    planned_bytes_ += static_cast<uint64_t>(*size);
    if (i > 0 && sibling && i < sibling->planned_.size() && sibling->planned_[i]->size() == static_cast<size_t>(*size))
      planned_.push_back(sibling->planned_[i]);
    else
      planned_.push_back(std::make_shared<Buffer>(static_cast<size_t>(*size), true));
    if (!planned_.back()->data()) return eq_fail(failure, EQ_CODE_NO_MEMORY, "no memory for the program's buffers");
  }
  for (const auto &buffer : planned_) spans_.emplace_back(buffer->data(), buffer->size());
  planner_.emplace(executorch::runtime::Span<executorch::runtime::Span<uint8_t>>(spans_.data(), spans_.size()));
  memory_.emplace(&runtime_memory_, &*planner_, &scratch_);

  if (meta->num_inputs() > 255 || meta->num_outputs() > 255)
    return eq_fail(failure, EQ_CODE_UNSUPPORTED, "more than 255 inputs or outputs");
  inputs_.resize(meta->num_inputs());
  outputs_.resize(meta->num_outputs());
  for (size_t i = 0; i < inputs_.size(); i++)
    if (!describe(meta->input_tensor_meta(i), false, i, &inputs_[i], failure)) return false;
  for (size_t i = 0; i < outputs_.size(); i++)
    if (!describe(meta->output_tensor_meta(i), true, i, &outputs_[i], failure)) return false;
  return true;
}

bool Program::bind(eq_failure *failure) {
  for (const eq_tensor &t : inputs_) {
    if (t.bytes > UINT32_MAX) return eq_fail(failure, EQ_CODE_NO_MEMORY, "an input is larger than 4 GiB");
    input_buffers_.emplace_back(t.bytes);
    if (!input_buffers_.back().data()) return eq_fail(failure, EQ_CODE_NO_MEMORY, "no memory for an input");
    std::vector<SizesType> sizes(t.shape, t.shape + t.rank);
    input_tensors_.push_back(executorch::extension::from_blob(input_buffers_.back().data(), std::move(sizes),
                                                              static_cast<ScalarType>(t.dtype)));
  }
  output_buffers_.resize(outputs_.size());
  for (size_t i = 0; i < outputs_.size(); i++) {
    if (method_->get_output(i).toTensor().const_data_ptr()) continue; // planned, or a constant
    output_buffers_[i] = Buffer(outputs_[i].bytes);
    if (!output_buffers_[i].data()) return eq_fail(failure, EQ_CODE_NO_MEMORY, "no memory for an output");
    const Error error = method_->set_output_data_ptr(output_buffers_[i].data(), output_buffers_[i].size(), i);
    if (error != Error::Ok) return refuse(failure, EQ_CODE_BAD_PROGRAM, "cannot place an output", error);
  }
  return true;
}

const uint8_t *Program::output(size_t index) const {
  return static_cast<const uint8_t *>(method_->get_output(index).toTensor().const_data_ptr());
}

bool Program::run(eq_failure *failure) {
  for (size_t i = 0; i < input_tensors_.size(); i++) {
    const Error error = method_->set_input(EValue(*input_tensors_[i]), i);
    if (error != Error::Ok) return refuse(failure, EQ_CODE_RUN_FAILED, "cannot set an input", error);
  }
  const Error error = method_->execute();
  if (error != Error::Ok) return refuse(failure, EQ_CODE_RUN_FAILED, "the program stopped", error);
  for (size_t i = 0; i < outputs_.size(); i++) {
    const EValue &value = method_->get_output(i);
    if (!value.isTensor() || value.toTensor().nbytes() != outputs_[i].bytes || !output(i))
      return refuse_tensor(failure, true, i, " changed its size; only fixed shapes are supported");
  }
  return true;
}

} // namespace edgeq
