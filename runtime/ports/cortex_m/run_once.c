/* Firmware without a conversation: runs the built-in program once and prints what came out.
 *
 *   flash CODE MODEL                    bytes
 *   memory ARENAS WORKSPACE SCRATCH     bytes
 *   ticks STARTUP RUN                   of board.h
 *   stack BYTES                         deepest use, start-up included
 *   output HEX                          one line each
 *
 * or "failed WHERE: WHY". Exit code: the eqm_status. */
#include "board.h"
#include "micro/micro.h"

extern const uint8_t model_start[], model_end[], input_start[]; /* model.S */
extern uint8_t free_start[], stack_limit[];                     /* link.ld */

enum { PAINT = 0xa5 };

static void put_text(const char *text) {
  while (*text) board_put(*text++);
}

static void put_number(uint32_t number) {
  char digits[11];
  char *at = digits + sizeof digits;
  *--at = 0;
  do *--at = (char)('0' + number % 10);
  while (number /= 10);
  board_put(' ');
  put_text(at);
}

static void put_bytes(const uint8_t *bytes, uint32_t count) {
  static const char hex[] = "0123456789abcdef";
  for (uint32_t i = 0; i < count; i++) {
    board_put(hex[bytes[i] >> 4]);
    board_put(hex[bytes[i] & 15]);
  }
}

/* ---- memory: everything between data and stack, handed out once */
static uint8_t *free_at = free_start;

static void *take(uint32_t bytes) {
  const uint32_t rounded = (bytes + EQM_ALIGNMENT - 1) / EQM_ALIGNMENT * EQM_ALIGNMENT;
  if (rounded > (uint32_t)(stack_limit - free_at)) return NULL;
  uint8_t *memory = free_at;
  free_at += rounded;
  return memory;
}

static void paint_stack(void) {
  const uint8_t *here = __builtin_frame_address(0);
  for (volatile uint8_t *p = stack_limit; p < here - 64; p++) *p = PAINT;
}

static uint32_t stack_used(void) {
  extern uint8_t stack_top[];
  const uint8_t *p = stack_limit;
  while (p < stack_top && *p == PAINT) p++;
  return (uint32_t)(stack_top - p);
}

/* ---- the program */
static eqm_program program;
static eqm_method method;
static uint32_t arena_bytes;
static void *scratch;

static eqm_status load(void) {
  eqm_status status =
      eqm_open(&program, model_start, (size_t)(model_end - model_start), eqm_operators, eqm_operator_count);
  if (status == EQM_OK) status = eqm_find(&method, &program, "forward");
  if (status != EQM_OK) return status;
  void *arenas[EQM_ARENAS] = {NULL};
  for (int i = 0; i < EQM_ARENAS; i++) {
    arena_bytes += method.arena_bytes[i];
    if (method.arena_bytes[i]) arenas[i] = take(method.arena_bytes[i]);
  }
  status = eqm_prepare(&method, arenas, take(method.workspace_bytes), method.workspace_bytes);
  if (status != EQM_OK) return status;
  scratch = take(method.scratch_bytes);
  return scratch ? eqm_reset(&method) : EQM_NO_MEMORY;
}

static void fill_inputs(void) {
  const eqm_value *v;
  const uint8_t *from = input_start;
  for (uint32_t i = 0; (v = eqm_input(&method, i)) != NULL; i++)
    for (uint32_t k = 0; k < v->count * eqm_type_bytes(v->type); k++) v->data[k] = *from++;
}

static int fail(const char *where, eqm_status status) {
  put_text("failed ");
  put_text(where);
  put_text(": ");
  put_text(eqm_status_text(status));
  board_put('\n');
  return (int)status;
}

int main(void) {
  paint_stack();
  const uint32_t start = board_ticks();
  eqm_status status = load();
  const uint32_t loaded = board_ticks();
  if (status != EQM_OK) return fail("load", status);
  fill_inputs();
  const uint32_t ready = board_ticks();
  status = eqm_run(&method, scratch, method.scratch_bytes);
  const uint32_t done = board_ticks();
  if (status != EQM_OK) return fail("run", status);

  put_text("flash");
  put_number((uint32_t)(uintptr_t)model_start);
  put_number((uint32_t)(model_end - model_start));
  put_text("\nmemory");
  put_number(arena_bytes);
  put_number(method.workspace_bytes);
  put_number(method.scratch_bytes);
  put_text("\nticks");
  put_number(loaded - start);
  put_number(done - ready);
  put_text("\nstack");
  put_number(stack_used());
  const eqm_value *v;
  for (uint32_t i = 0; (v = eqm_output(&method, i)) != NULL; i++) {
    put_text("\noutput ");
    put_bytes(v->data, v->count * eqm_type_bytes(v->type));
  }
  board_put('\n');
  return EQM_OK;
}
