/* EdgeQ's delegate in LiteRT's compiled models. Their own way to custom operators (compiled_model.c) makes a buffer
 * object for every tensor of every call, which costs a microsecond and more a node; a delegate costs nothing. LiteRT
 * takes delegates from the accelerators of an environment, so this is one for the CPU. What it does not take, because a
 * LiteRT has no such call, the kernels of compiled_model.c still compute. */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "compiled_model_abi.h"
#include "delegate.h"
#include "edgeq_litert.h"

#define EXPORT __attribute__((visibility("default")))

enum { CPU = 1 };

static lrt_status (*wrap)(tf_delegate *, void (*)(tf_delegate *), void **);
static unsigned delegate_threads;

static lrt_status get_name(const void *accelerator, const char **name) {
  (void)accelerator;
  *name = "EdgeQ";
  return 0;
}

static lrt_status get_version(const void *accelerator, int32_t *version) {
  (void)accelerator;
  for (int i = 0; i < 3; i++) version[i] = i == 0;
  return 0;
}

static lrt_status get_hardware(const void *accelerator, int *set) {
  (void)accelerator;
  *set = CPU;
  return 0;
}

static lrt_status create(void *context, void *environment, const void *accelerator, void *options, void **wrapper) {
  (void)context, (void)environment, (void)accelerator, (void)options;
  char number[16];
  snprintf(number, sizeof number, "%u", delegate_threads);
  const char *const keys[] = {"threads"}, *const values[] = {number};
  tf_delegate *made = tflite_plugin_create_delegate(keys, values, 1, NULL);
  return made ? wrap(made, tflite_plugin_destroy_delegate, wrapper) : LRT_RUNTIME_FAILURE;
}

EXPORT int edgeq_litert_register(void *environment, unsigned threads) {
  lrt_status (*make)(void **), (*set[4])(void *, void (*)(void)),
      (*enlist)(void *, void *, void *, void (*)(void *)) = NULL;
  const struct {
    const char *name;
    void *into;
  } wanted[] = {{"LiteRtCreateAccelerator", &make},          {"LiteRtSetAcceleratorGetName", &set[0]},
                {"LiteRtSetAcceleratorGetVersion", &set[1]}, {"LiteRtSetAcceleratorGetHardwareSupport", &set[2]},
                {"LiteRtSetDelegateFunction", &set[3]},      {"LiteRtWrapDelegate", &wrap},
                {"LiteRtRegisterAccelerator", &enlist}};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    void *found = dlsym(RTLD_DEFAULT, wanted[i].name);
    if (!found) return LRT_RUNTIME_FAILURE;
    memcpy(wanted[i].into, &found, sizeof found);
  }
  void (*const functions[])(void) = {(void (*)(void))get_name, (void (*)(void))get_version,
                                     (void (*)(void))get_hardware, (void (*)(void))create};
  void *accelerator;
  lrt_status status = make(&accelerator);
  for (size_t i = 0; i < sizeof functions / sizeof *functions && !status; i++)
    status = set[i](accelerator, functions[i]);
  delegate_threads = threads;
  return status ? status : enlist(environment, accelerator, NULL, NULL);
}
