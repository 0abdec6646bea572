#pragma once
#include "tensorflow/lite/micro/micro_common.h"

namespace tflite::micro {
const TfLiteEvalTensor *GetEvalInput(const TfLiteContext *, const TfLiteNode *, int);
TfLiteEvalTensor *GetEvalOutput(const TfLiteContext *, const TfLiteNode *, int);
} // namespace tflite::micro
