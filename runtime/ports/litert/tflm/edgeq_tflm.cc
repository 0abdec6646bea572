#include "edgeq_tflm.h"

#include <cstdint>
#include <new>
#include <utility>

#include "tensorflow/lite/micro/kernels/kernel_util.h"
#include "tensorflow/lite/micro/micro_context.h"
#include "tensorflow/lite/micro/micro_log.h"

extern "C" {
#include "../operators.h"
}

namespace edgeq {
namespace {

constexpr size_t kMostOperators = 96; // room for more than there are
constexpr size_t kLine = 64;
constexpr int32_t kCustom = 32; // BuiltinOperator_CUSTOM

// What is kept of a node: which operator it is, and its scratch.
struct Node {
  const eql_entry *op;
  int scratch; // number of the arena's buffer; negative: none
  size_t scratch_bytes;
};

TfLiteStatus Refuse(const Node *node, const char *why) {
  MicroPrintf("%s: %s", node->op->name, why);
  return kTfLiteError;
}

// The arena's tensor as the operators see it. Before the first run only constants have data.
bool Take(const TfLiteEvalTensor *from, bool compute, eql_tensor *to) {
  if (!from || !from->dims || !eql_shape(to, from->type, from->dims->data, from->dims->size)) return false;
  to->known = compute || from->data.data != nullptr;
  if (!to->known) return true;
  to->data = from->data.data;
  return eql_is_placed(to);
}

// Params, inputs and outputs of a call.
bool TakeAll(TfLiteContext *context, TfLiteNode *node, bool compute, eql_call *call) {
  const int inputs = node->inputs->size, outputs = node->outputs->size;
  if (inputs < 1 || inputs > EQL_INPUTS + 1 || outputs < 1 || outputs > EQL_OUTPUTS)
    return eql_fail(call, "too many inputs or outputs, or none");
  eql_tensor params;
  if (!Take(tflite::micro::GetEvalInput(context, node, inputs - 1), compute, &params) || !params.known ||
      params.type != EQL_I32)
    return eql_fail(call, "the last input must be params, constant int32");
  if (!eql_take_params(call, static_cast<const int32_t *>(params.data), static_cast<size_t>(params.count)))
    return false;
  call->input_count = static_cast<uint32_t>(inputs - 1);
  call->output_count = static_cast<uint32_t>(outputs);
  for (int i = 0; i < inputs - 1; i++)
    if (!Take(tflite::micro::GetEvalInput(context, node, i), compute, &call->inputs[i]))
      return eql_fail(call, "an input is missing, or of a type or shape that no operator takes");
  for (int i = 0; i < outputs; i++)
    if (!Take(tflite::micro::GetEvalOutput(context, node, i), compute, &call->outputs[i]))
      return eql_fail(call, "an output is missing, or of a type or shape that no operator gives");
  return true;
}

template <size_t kIndex>
void *Init(TfLiteContext *context, const char *, size_t) {
  void *memory = tflite::GetMicroContext(context)->AllocatePersistentBuffer(sizeof(Node));
  return memory ? new (memory) Node{eql_entry_at(kIndex), -1, 0} : nullptr;
}

TfLiteStatus Prepare(TfLiteContext *context, TfLiteNode *given) {
  Node *node = static_cast<Node *>(given->user_data);
  if (!node) return kTfLiteError;
  eql_call call = {};
  if (!TakeAll(context, given, false, &call)) return Refuse(node, call.fault);
  const eql_call planned = call;
  node->op->run(&call);
  if (call.fault) return Refuse(node, call.fault);
  for (uint32_t i = 0; i < call.output_count; i++) // what the file says is what the arena is planned by
    if (planned.outputs[i].count != call.outputs[i].count)
      return Refuse(node, "an output has another shape than the operator gives");
  node->scratch_bytes = call.scratch_bytes;
  if (call.scratch_bytes == 0) return kTfLiteOk;
  return tflite::GetMicroContext(context)->RequestScratchBufferInArena(call.scratch_bytes + kLine, &node->scratch);
}

TfLiteStatus Invoke(TfLiteContext *context, TfLiteNode *given) {
  const Node *node = static_cast<const Node *>(given->user_data);
  eql_call call = {};
  if (!TakeAll(context, given, true, &call)) return Refuse(node, call.fault);
  if (node->scratch >= 0) {
    const auto arena = reinterpret_cast<uintptr_t>(tflite::GetMicroContext(context)->GetScratchBuffer(node->scratch));
    call.scratch = reinterpret_cast<void *>((arena + kLine - 1) / kLine * kLine);
  }
  call.scratch_bytes = node->scratch_bytes;
  call.compute = true;
  node->op->run(&call);
  return call.fault ? Refuse(node, call.fault) : kTfLiteOk;
}

template <size_t... kIndices>
const TFLMRegistration *At(size_t index, std::index_sequence<kIndices...>) {
  static const TFLMRegistration registrations[] = {
      {Init<kIndices>, nullptr, Prepare, Invoke, nullptr, kCustom, nullptr}...};
  return index < sizeof...(kIndices) ? &registrations[index] : nullptr;
}

} // namespace

const TFLMRegistration *TflmOperator(const char *custom_code) {
  const eql_entry *wanted = eql_find(custom_code);
  for (size_t i = 0; wanted && eql_entry_at(i); i++)
    if (eql_entry_at(i) == wanted) return At(i, std::make_index_sequence<kMostOperators>());
  return nullptr;
}

} // namespace edgeq
