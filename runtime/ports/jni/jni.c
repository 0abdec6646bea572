/* What ai.edgeq.Model calls. Memory is Java's: direct buffers, whose addresses and sizes are checked here. */
#include <jni.h>

#include "edgeq/edgeq.h"

/* A part of a direct buffer; NULL for a buffer on the heap, or a part outside of it. */
static void *address(JNIEnv *env, jobject buffer, jlong offset, jlong bytes) {
  uint8_t *const at = buffer ? (*env)->GetDirectBufferAddress(env, buffer) : NULL;
  const jlong capacity = at ? (*env)->GetDirectBufferCapacity(env, buffer) : -1;
  return offset >= 0 && bytes >= 0 && offset <= capacity && bytes <= capacity - offset ? at + offset : NULL;
}

static eq_model *handle(jlong model) { return (eq_model *)(uintptr_t)model; }

/* How far into the buffer the first address of this alignment lies; -1 for a buffer on the heap. */
JNIEXPORT jlong JNICALL Java_ai_edgeq_Model_alignedAt(JNIEnv *env, jclass type, jobject buffer, jint alignment) {
  (void)type;
  const uintptr_t at = (uintptr_t)address(env, buffer, 0, 0), a = (uintptr_t)alignment;
  return at && alignment > 0 ? (jlong)((a - at % a) % a) : -1;
}

/* answer [2]: status; bytes of memory to try next. The handle, 0 unless the status is EQ_MODEL_OK. */
JNIEXPORT jlong JNICALL Java_ai_edgeq_Model_open(JNIEnv *env, jclass type, jobject program, jlong program_at,
                                                 jlong program_bytes, jobject memory, jlong memory_at,
                                                 jlong memory_bytes, jlongArray answer) {
  (void)type;
  eq_model *model = NULL;
  size_t bytes = (size_t)memory_bytes;
  const void *const pte = address(env, program, program_at, program_bytes);
  void *const room = memory ? address(env, memory, memory_at, memory_bytes) : NULL;
  const eq_model_status status = (memory && !room) || memory_bytes < 0
                                     ? EQ_MODEL_BAD_CALL
                                     : eq_model_open(&model, pte, (size_t)program_bytes, room, &bytes);
  const jlong told[2] = {(jlong)status, (jlong)bytes};
  (*env)->SetLongArrayRegion(env, answer, 0, 2, told);
  return (jlong)(uintptr_t)model;
}

JNIEXPORT void JNICALL Java_ai_edgeq_Model_close(JNIEnv *env, jclass type, jlong model) {
  (void)env, (void)type;
  eq_model_close(handle(model));
}

JNIEXPORT jint JNICALL Java_ai_edgeq_Model_run(JNIEnv *env, jclass type, jlong model) {
  (void)env, (void)type;
  return (jint)eq_model_run(handle(model));
}

JNIEXPORT jint JNICALL Java_ai_edgeq_Model_count(JNIEnv *env, jclass type, jlong model, jboolean output) {
  (void)env, (void)type;
  return (jint)(output ? eq_model_outputs(handle(model)) : eq_model_inputs(handle(model)));
}

/* shape [EDGEQ_MOST_DIMS + 2]: type, rank, extents. The tensor's memory as a direct buffer, null when there is none. */
JNIEXPORT jobject JNICALL Java_ai_edgeq_Model_tensor(JNIEnv *env, jclass type, jlong model, jboolean output, jint index,
                                                     jintArray shape) {
  (void)type;
  eq_tensor_view view;
  const eq_model_status status = output ? eq_model_output(handle(model), (uint32_t)index, &view)
                                        : eq_model_input(handle(model), (uint32_t)index, &view);
  if (status != EQ_MODEL_OK || !view.data) return NULL;
  const jint told[2] = {view.type, view.rank};
  (*env)->SetIntArrayRegion(env, shape, 0, 2, told);
  (*env)->SetIntArrayRegion(env, shape, 2, EDGEQ_MOST_DIMS, view.shape);
  return (*env)->NewDirectByteBuffer(env, view.data, (jlong)view.bytes);
}

JNIEXPORT jstring JNICALL Java_ai_edgeq_Model_statusText(JNIEnv *env, jclass type, jint status) {
  (void)type;
  return (*env)->NewStringUTF(env, eq_model_status_text((eq_model_status)status));
}

JNIEXPORT jstring JNICALL Java_ai_edgeq_Model_isaName(JNIEnv *env, jclass type) {
  (void)type;
  return (*env)->NewStringUTF(env, eq_model_isa());
}

JNIEXPORT jint JNICALL Java_ai_edgeq_Model_version(JNIEnv *env, jclass type) {
  (void)env, (void)type;
  return (jint)eq_version();
}

JNIEXPORT void JNICALL Java_ai_edgeq_Model_allowDotprod(JNIEnv *env, jclass type) {
  (void)env, (void)type;
  eq_model_allow_dotprod();
}

JNIEXPORT void JNICALL Java_ai_edgeq_Model_allowI8mm(JNIEnv *env, jclass type) {
  (void)env, (void)type;
  eq_model_allow_i8mm();
}
