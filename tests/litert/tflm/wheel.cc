// Hands every operator to the resolver of the tflite-micro Python wheel. Its AddCustom is inline C++ that the wheel
// does not carry, so the slots are filled here.
#include "../../../runtime/ports/litert/tflm/edgeq_tflm.h"

extern "C" {
#include "../../../runtime/ports/litert/operators.h"
}

namespace {
struct Resolver {
  void *functions;
  TFLMRegistration slots[200];
  unsigned count;
};
} // namespace

extern "C" bool EdgeQRegister(Resolver *resolver) {
  for (size_t i = 0; const eql_entry *entry = eql_entry_at(i); i++) {
    if (resolver->count == 200) return false;
    TFLMRegistration &slot = resolver->slots[resolver->count++];
    slot = *edgeq::TflmOperator(entry->name);
    slot.custom_name = entry->name;
  }
  return true;
}
