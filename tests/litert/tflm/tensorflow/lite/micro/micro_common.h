// Stand-in for TFLM's headers, which its Python wheel does not carry: only what edgeq_tflm.cc asks for, declared so
// that it links against the wheel's runtime (0.dev20261023182759), whose types all lie in tflite::micro.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tflite::micro {

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
struct TfLiteContext {
  void *impl_;
};
struct TfLiteIntArray {
  int size;
  int data[1];
};
union TfLitePtrUnion {
  void *data;
};
struct TfLiteEvalTensor {
  TfLitePtrUnion data;
  TfLiteIntArray *dims;
  int type;
};
struct TfLiteNode {
  TfLiteIntArray *inputs, *outputs, *intermediates;
  void *user_data, *builtin_data;
};
struct TFLMRegistration {
  void *(*init)(TfLiteContext *, const char *, size_t);
  void (*free)(TfLiteContext *, void *);
  TfLiteStatus (*prepare)(TfLiteContext *, TfLiteNode *);
  TfLiteStatus (*invoke)(TfLiteContext *, TfLiteNode *);
  void (*reset)(TfLiteContext *, void *);
  int32_t builtin_code;
  const char *custom_name;
};

} // namespace tflite::micro

using namespace tflite::micro;
