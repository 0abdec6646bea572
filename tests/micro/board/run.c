/* Runs the built-in program once: ticks to start and to run, stack, output. Exit code: the eqm_status. */
#include "board.h"
#include "micro/micro.h"
#include "micro/reader.h"

extern const uint8_t model_start[], model_end[], input_start[]; /* blob.S */

static _Alignas(EQM_ALIGNMENT) uint8_t memory[MEMORY]; /* arena, workspace, scratch */

static int fail(const char *where, eqm_status status) {
  board_put(where);
  board_put(": ");
  board_put(eqm_status_text(status));
  board_put("\n");
  return (int)status;
}

enum { DISPATCH_ROUNDS = 1000 };

static uint32_t taken;
static void *take(uint32_t bytes) {
  void *at = memory + taken;
  taken += (bytes + EQM_ALIGNMENT - 1) / EQM_ALIGNMENT * EQM_ALIGNMENT;
  return taken <= MEMORY ? at : NULL;
}

/* The cost of a call without what its operator does: the same program over operators that do nothing. */
static void nothing(struct eqm_call *call) { (void)call; }
static __attribute__((noinline)) uint32_t dispatch_ticks(eqm_program *program, const eqm_method *method,
                                                         void *scratch) {
  eqm_operator idle[64];
  for (uint32_t i = 0; i < sizeof idle / sizeof *idle; i++) idle[i].execute = nothing;
  program->operators = idle;
  const uint32_t start = board_ticks();
  for (int i = 0; i < DISPATCH_ROUNDS; i++) eqm_run(method, scratch, method->scratch_bytes);
  return board_ticks() - start;
}

int main(void) {
  eqm_program program;
  eqm_method method;
  board_paint_stack();
  const uint32_t start = board_ticks();
  eqm_status status =
      eqm_open(&program, model_start, (size_t)(model_end - model_start), eqm_operators, eqm_operator_count);
  if (status == EQM_OK) status = eqm_find(&method, &program, "forward");
  if (status != EQM_OK) return fail("find", status);
  void *const arenas[EQM_ARENAS] = {take(method.arena_bytes[0])};
  status = eqm_prepare(&method, arenas, take(method.workspace_bytes), method.workspace_bytes);
  if (status != EQM_OK) return fail("prepare", status);
  void *const scratch = take(method.scratch_bytes);
  if (!scratch) return fail("scratch", EQM_NO_MEMORY);
  const uint32_t ready = board_ticks();
  const eqm_value *v;
  const uint8_t *from = input_start;
  for (uint32_t i = 0; (v = eqm_input(&method, i)) != NULL; i++)
    for (uint32_t k = 0; k < v->count * eqm_type_bytes(v->type); k++) v->data[k] = *from++;
  const uint32_t before = board_ticks();
  status = eqm_run(&method, scratch, method.scratch_bytes);
  const uint32_t after = board_ticks();
  if (status != EQM_OK) return fail("run", status);
  board_put("memory");
  board_put_number(taken);
  board_put("\nticks");
  board_put_number(ready - start);
  board_put_number(after - before);
  board_put("\nstack");
  board_put_number(board_stack_used());
  for (uint32_t i = 0; (v = eqm_output(&method, i)) != NULL; i++) {
    board_put("\noutput ");
    board_put_hex(v->data, v->count * eqm_type_bytes(v->type));
  }
  board_put("\ndispatch");
  board_put_number(dispatch_ticks(&program, &method, scratch));
  board_put_number(DISPATCH_ROUNDS * eqm_count(&method.reader, method.instructions));
  board_put("\n");
  return EQM_OK;
}
