/* The delegate, for those who are linked with it. */
#ifndef EDGEQ_LITERT_DELEGATE_H
#define EDGEQ_LITERT_DELEGATE_H

#include "tflite_abi.h"

/* Options: threads, 1 to 256; without it EDGEQ_THREADS, and without that what the runtime recommends. NULL with a
 * report for an option or an environment that cannot be obeyed. */
tf_delegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values, size_t count,
                                           void (*report_error)(const char *));
void tflite_plugin_destroy_delegate(tf_delegate *face);

/* Why a node was refused last in this thread, once; NULL: none was. */
const char *eql_delegate_fault(void);

#endif
