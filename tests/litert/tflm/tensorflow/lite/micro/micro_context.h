#pragma once
#include "tensorflow/lite/micro/micro_common.h"

namespace tflite {

class MicroContext { // the wheel's own object; its functions begin as TFLM's do
public:
  virtual ~MicroContext() = default;
  virtual void *AllocatePersistentBuffer(size_t bytes) = 0;
  virtual TfLiteStatus RequestScratchBufferInArena(size_t bytes, int *index) = 0;
  virtual void *GetScratchBuffer(int index) = 0;
};
inline MicroContext *GetMicroContext(const TfLiteContext *context) {
  return static_cast<MicroContext *>(context->impl_);
}

} // namespace tflite
