/* The few C structures of TFLite that an external delegate needs, declared anew because no runtime package carries
 * headers. Checked by running against ai-edge-litert 2.3.0, tflite-runtime 2.14.0 and TensorFlow 2.21 (64-bit). */
#ifndef EDGEQ_TFLITE_ABI_H
#define EDGEQ_TFLITE_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int tf_status; /* 0: done */

enum { TF_BUILTIN_CUSTOM = 32, TF_BUILTIN_DELEGATE = 51 };
enum { TF_MMAP_RO = 1 }; /* allocation_type of a constant */
enum {
  TF_ALLOW_DYNAMIC = 1
}; /* a delegate's flag; without it the runtime resolves custom operators before asking us */

/* Arrays that the runtime is given are released by it with free(). */
typedef struct {
  int size;
  int data[];
} tf_ints;

typedef struct tf_context tf_context;
typedef struct tf_delegate tf_delegate;

/* The runtime has an array of these: the size matters. */
typedef struct {
  int type;
  void *data;
  tf_ints *dims;
  struct {
    float scale;
    int32_t zero_point;
  } params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  tf_delegate *delegate;
  int buffer_handle;
  bool data_is_stale, is_variable;
  struct {
    int type;
    void *params;
  } quantization;
  void *sparsity;
  const tf_ints *dims_signature;
} tf_tensor;

typedef struct {
  tf_ints *inputs, *outputs, *intermediates, *temporaries; /* numbers of tensors */
  void *user_data;                                         /* what init gave */
  void *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
  tf_delegate *delegate;
  bool might_have_side_effect;
} tf_node;

typedef struct {
  void *(*init)(tf_context *, const char *, size_t);
  void (*free)(tf_context *, void *);
  tf_status (*prepare)(tf_context *, tf_node *);
  tf_status (*invoke)(tf_context *, tf_node *);
  const char *(*profiling_string)(const tf_context *, const tf_node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *registration_external, *async_kernel;
  uint64_t inplace_operator; /* not in 2.14, where it is not read */
} tf_registration;

/* What the init of a delegate's kernel gets as its buffer. */
typedef struct {
  tf_delegate *delegate;
  tf_ints *nodes_to_replace, *input_tensors, *output_tensors;
} tf_delegate_params;

/* More members follow: never ask for the size. */
struct tf_context {
  size_t tensors_size;
  tf_status (*get_execution_plan)(tf_context *, tf_ints **);
  tf_tensor *tensors; /* may move between calls */
  void *impl;
  tf_status (*resize_tensor)(tf_context *, tf_tensor *, tf_ints *); /* takes the dims */
  void (*report_error)(tf_context *, const char *, ...);
  tf_status (*add_tensors)(tf_context *, int, int *);
  tf_status (*get_node_and_registration)(tf_context *, int, tf_node **, tf_registration **);
  tf_status (*replace_nodes)(tf_context *, tf_registration, const tf_ints *, tf_delegate *);
  int recommended_num_threads;
};

struct tf_delegate {
  void *data;
  tf_status (*prepare)(tf_context *, tf_delegate *);
  void *copy_from_buffer_handle, *copy_to_buffer_handle, *free_buffer_handle;
  int64_t flags;
  void *opaque_delegate_builder;
};

#ifdef __LP64__
_Static_assert(sizeof(tf_tensor) == 112 && sizeof(tf_registration) == 88 && sizeof(tf_delegate) == 56, "TFLite's ABI");
#endif

#endif
