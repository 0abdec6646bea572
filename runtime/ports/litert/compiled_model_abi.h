/* What EdgeQ needs of LiteRT's C API for compiled models (ai-edge-litert 2.3.0), declared anew because the package
 * carries no headers. Functions are looked up in libLiteRt.so when they are first wanted: a TFLite runtime, which has
 * none of them, can load this library too. */
#ifndef EDGEQ_COMPILED_MODEL_ABI_H
#define EDGEQ_COMPILED_MODEL_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef int lrt_status; /* 0: done */
enum { LRT_INVALID_ARGUMENT = 1, LRT_RUNTIME_FAILURE = 3, LRT_UNSUPPORTED = 7 };
enum { LRT_READ = 0, LRT_WRITE = 1 };

typedef struct lrt_buffer_t *lrt_buffer;
typedef struct lrt_options_t *lrt_options;

typedef struct {
  uint32_t rank : 7, has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
} lrt_layout;

typedef struct {
  int element_type; /* numbered as TFLite's C API does */
  lrt_layout layout;
} lrt_tensor_type;

/* One for all nodes of a name. The status of run and get_output_layouts is not looked at. */
typedef struct {
  lrt_status (*init)(void *user, const void *options, size_t size);
  lrt_status (*get_output_layouts)(void *user, size_t inputs, const lrt_layout *in, size_t outputs, lrt_layout *out);
  lrt_status (*run)(void *user, size_t inputs, const lrt_buffer *in, size_t outputs, lrt_buffer *out);
  lrt_status (*destroy)(void *user);
} lrt_kernel;

#endif
