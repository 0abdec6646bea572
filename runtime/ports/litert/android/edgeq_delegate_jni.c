/* The native half of EdgeqDelegate.java: the delegate's pointer as a number. */
#include <jni.h>
#include <stdint.h>
#include <stdio.h>

#include "../delegate.h"

JNIEXPORT jlong JNICALL Java_ai_edgeq_EdgeqDelegate_create(JNIEnv *env, jclass type, jint threads) {
  (void)env;
  (void)type;
  char number[16];
  snprintf(number, sizeof number, "%d", (int)threads);
  const char *const keys[] = {"threads"}, *const values[] = {number};
  return (jlong)(intptr_t)tflite_plugin_create_delegate(keys, values, 1, NULL);
}

JNIEXPORT void JNICALL Java_ai_edgeq_EdgeqDelegate_destroy(JNIEnv *env, jclass type, jlong handle) {
  (void)env;
  (void)type;
  tflite_plugin_destroy_delegate((tf_delegate *)(intptr_t)handle);
}
