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
    const TFLMRegistration *found = edgeq::TflmOperator(entry->name);
    if (!found || resolver->count == 200) return false;
    TFLMRegistration &slot = resolver->slots[resolver->count++];
    slot = *found;
    slot.custom_name = entry->name;
  }
  return true;
}
