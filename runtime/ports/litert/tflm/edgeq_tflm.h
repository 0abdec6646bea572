// EdgeQ's operators for TensorFlow Lite for Microcontrollers, as source: put edgeq_tflm.cc, the files beside its folder
// (call.c epilogue.c operators.c ops_*.c) and EdgeQ's core (runtime/core, runtime/kernels/ref) into the firmware.
//
//   tflite::MicroMutableOpResolver<8> resolver;
//   for (const char *name : {"edgeq.pack_sign", "edgeq.linear_b1b1"})
//     resolver.AddCustom(name, edgeq::TflmOperator(name));
//
// TFLM plans memory by the shapes in the file and takes them, and the sizes of constants, on trust: run files that you
// made. Weights are not tiled, since that would hold them a second time.
#pragma once

#include "tensorflow/lite/micro/micro_common.h"

namespace edgeq {

// The registration of an operator by its custom code; nullptr: there is none of that name.
const TFLMRegistration *TflmOperator(const char *custom_code);

} // namespace edgeq
