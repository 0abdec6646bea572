/* A binary network and its 8-bit twin: the same program, whose binary convolutions are taken over by 8-bit ones of the
 * same shape (linked with --wrap). All else is what it was: residuals, gates, pools, activations, the first two layers
 * and the last. The twin has codes where the binary network has bits; its first codes are not charged to it.
 *   b1b1 TICKS, i8i8 TICKS */
#include "board.h"
#include "int8.h"
#include "kernels/mcu/mcu.h"
#include "micro/micro.h"

extern const uint8_t model_start[], model_end[], input_start[]; /* blob.S */

enum { MOST_WEIGHTS = 128 * 9 * 128, MOST_MAP = 7 * 7 * 64, MOST_WINDOW = 4 * 9 * 128 };
static _Alignas(EQM_ALIGNMENT) uint8_t memory[MEMORY];
static _Alignas(16) int8_t weights[MOST_WEIGHTS], codes[2][MOST_MAP];
static _Alignas(16) uint8_t window[MOST_WINDOW];
static int32_t sums[MOST_MAP];
static bool eight_bits;
static unsigned turn;

static int8_t code_of(float v) {
#if defined(__ARM_FP) && defined(__ARM_FEATURE_SAT)
  int32_t code; /* to nearest, as the FPU is set */
  __asm__("vcvtr.s32.f32 %0, %0\n vmov %1, %0\n ssat %1, #8, %1" : "+t"(v), "=r"(code));
  return (int8_t)code;
#else
  const int32_t code = (int32_t)(v + (v < 0.0f ? -0.5f : 0.5f));
  return (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
#endif
}

void __real_eq_conv2d_b1b1_mcu(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                               void *scratch);
void __wrap_eq_conv2d_b1b1_mcu(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                               void *scratch);
void __wrap_eq_conv2d_b1b1_mcu(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e,
                               void *scratch) {
  if (!eight_bits) {
    __real_eq_conv2d_b1b1_mcu(op, x, w, e, scratch);
    return;
  }
  const size_t count = (size_t)op->out_h * op->out_w * op->o;
  if ((size_t)op->o * op->kh * op->kw * op->c > MOST_WEIGHTS || count > MOST_MAP || op->groups != 1) board_stop(4);
  const int8_conv conv = {op->h, op->w, op->c, op->o, op->kh, op->stride_h};
  int8_conv_sums(&conv, codes[turn], weights, sums, window);
  eq_epilogue all = *e;
  all.out_bits = NULL;
  eq_epilogue_i32_mcu(sums, 1, op->out_h, op->out_w, op->o, &all, scratch);
  turn ^= 1;
  int8_t *to = codes[turn];
  const float *from = e->out;
  for (const float *const end = from + count; e->out && from < end; from += 4, to += 4) {
    to[0] = code_of(from[0] * 16.0f);
    to[1] = code_of(from[1] * 16.0f);
    to[2] = code_of(from[2] * 16.0f);
    to[3] = code_of(from[3] * 16.0f);
  }
}

static uint32_t taken;
static void *take(uint32_t bytes) {
  void *at = memory + taken;
  taken += (bytes + EQM_ALIGNMENT - 1) / EQM_ALIGNMENT * EQM_ALIGNMENT;
  if (taken > MEMORY) board_stop(5);
  return at;
}

static void measure(const char *name, const eqm_method *method, void *scratch) {
  const eqm_value *v;
  const uint8_t *from = input_start;
  for (uint32_t i = 0; (v = eqm_input(method, i)) != NULL; i++)
    for (uint32_t k = 0; k < v->count * eqm_type_bytes(v->type); k++) v->data[k] = *from++;
  const uint32_t start = board_ticks();
  if (eqm_run(method, scratch, method->scratch_bytes) != EQM_OK) board_stop(6);
  const uint32_t ticks = board_ticks() - start;
  board_put(name);
  board_put_number(ticks);
  board_put("\n");
}

int main(void) {
  eqm_program program;
  eqm_method method;
  const size_t bytes = (size_t)(model_end - model_start);
  if (eqm_open(&program, model_start, bytes, eqm_operators, eqm_operator_count) != EQM_OK) return 1;
  if (eqm_find(&method, &program, "forward") != EQM_OK) return 2;
  void *const arenas[EQM_ARENAS] = {take(method.arena_bytes[0])};
  if (eqm_prepare(&method, arenas, take(method.workspace_bytes), method.workspace_bytes) != EQM_OK) return 3;
  void *const scratch = take(method.scratch_bytes);
  uint32_t state = 1;
  for (uint32_t i = 0; i < MOST_WEIGHTS; i++) {
    state = state * 1664525u + 1013904223u;
    weights[i] = (int8_t)(state >> 24);
  }
  measure("b1b1", &method, scratch);
  eight_bits = true;
  measure("i8i8", &method, scratch);
  return 0;
}
